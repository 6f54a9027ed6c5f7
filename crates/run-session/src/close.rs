//! Closing a run whose process ended before the run did.

use std::time::SystemTime;

use chrono::{DateTime, Utc};
use daglight_bundle_report::{Bundle, Manifest, NodeRecord, NodeStatus, ReadError, RunStatus, WriteError};
use daglight_capture_policy::in_one_line;
use daglight_heartbeat::{Liveness, ProcessEvidence as Beats};
use daglight_otel_bridge::{SignalFiles, end_open_spans, names::Namespace};
use daglight_tracker_client::{NodeProgress, OutboxStatus, Outcome, ProcessEvidence, recorded_outbox};

use crate::finish::milliseconds;

/// Why a run could not be closed in its bundle.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloseError {
    /// The manifest cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The manifest cannot be replaced.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Closes a run in its bundle when its process is gone: open spans end as errors, and the manifest says FAILURE, at the
/// time of the last sign of life. True when that was so; a run that ended by itself, or still runs, is left alone. What
/// of the signal files cannot be read or written is a warning in the manifest, and keeps no run open.
///
/// # Errors
/// When the manifest cannot be read or written.
pub fn close_dead_run(bundle: &Bundle) -> Result<bool, CloseError> {
    let mut manifest = Manifest::read(bundle)?;
    if manifest.status != RunStatus::Running {
        return Ok(false);
    }
    let outbox = recorded_outbox(&bundle.tracker_dir()).ok().flatten();
    let ProcessEvidence::Gone { last_seen } = process_evidence(bundle, outbox.as_ref()) else {
        return Ok(false);
    };
    let ended_at = last_seen.unwrap_or(manifest.started_at);
    let namespace = Namespace::new(&*manifest.namespace);
    if let Err(error) = end_open_spans(&signal_files(bundle), &namespace, SystemTime::from(ended_at)) {
        manifest.warnings.push(format!("the open spans were not ended: {}", in_one_line(&error)));
    }
    manifest.status = RunStatus::Failure;
    manifest.ended_at = Some(ended_at);
    manifest.error = Some(format!("process ended; last seen {}", ended_at.to_rfc3339()));
    let progress = outbox.map(|outbox| outbox.nodes).unwrap_or_default();
    for node in &mut manifest.nodes {
        if let Some(progress) = progress.get(&node.name) {
            show_progress(node, progress);
        }
    }
    manifest.write(bundle)?;
    Ok(true)
}

/// What the manifest of a run that goes on does not say of a node, and its outbox does.
fn show_progress(node: &mut NodeRecord, progress: &NodeProgress) {
    node.status = match progress.outcome {
        None => NodeStatus::Unfinished,
        Some(Outcome::Success) => NodeStatus::Success,
        Some(Outcome::Failure) => NodeStatus::Failure,
    };
    node.started_at = progress.started;
    let elapsed = progress.started.zip(progress.ended).map(|(started, ended)| ended - started);
    node.duration_ms = elapsed.map(milliseconds);
}

/// Whether the process of a run still lives: by its heartbeat, and where that does not tell, by the lock that a process
/// holds on the outbox it writes.
pub(crate) fn process_evidence(bundle: &Bundle, outbox: Option<&OutboxStatus>) -> ProcessEvidence {
    let beats = Beats::read(&bundle.heartbeat()).ok();
    let last_beat = beats.as_ref().map(|beats| beats.last_beat_at);
    let last_event = outbox.and_then(|outbox| outbox.last_event);
    let last_seen: Option<DateTime<Utc>> = last_beat.max(last_event);
    match beats.map_or(Liveness::Unknown, |beats| beats.is_alive()) {
        Liveness::Alive => ProcessEvidence::Alive,
        Liveness::Gone => ProcessEvidence::Gone { last_seen },
        Liveness::Unknown => match outbox.and_then(|outbox| outbox.writer_alive) {
            Some(true) => ProcessEvidence::Alive,
            Some(false) => ProcessEvidence::Gone { last_seen },
            None => ProcessEvidence::Unknown,
        },
    }
}

pub(crate) fn signal_files(bundle: &Bundle) -> SignalFiles {
    SignalFiles { traces: bundle.traces(), metrics: bundle.metrics(), logs: bundle.logs() }
}
