//! Delivering a run after it ended, and closing one whose process was killed.

use std::time::Duration;

use daglight_bundle_report::{Bundle, Ledger, Manifest, NodeStatus, Report, RunStatus};
use daglight_heartbeat::{Liveness, ProcessEvidence as Beats};
use daglight_tracker_client::{
    Connection, Ledger as TrackerLedger, ProcessEvidence, SyncError, SyncOutcome, outbox_status, sync_bundle,
};

use crate::telemetry::in_one_line;

/// What became of one bundle.
#[derive(Debug)]
#[non_exhaustive]
pub struct SyncReport {
    /// What was delivered, and what still waits.
    pub outcome: SyncOutcome,
    /// What could not be brought up to date in the bundle itself.
    pub warnings: Vec<String>,
}

/// Delivers what waits in a bundle. A run whose process is gone is closed as a failure, with the last heartbeat as
/// evidence. Then manifest and report are brought up to date. `None` where the run was never meant for the tracker.
///
/// # Errors
/// When the outbox cannot be read, another process delivers it, or the server refuses. A server that does not answer
/// is no error: the outcome says what waits, and why.
pub fn sync_run(
    bundle: &Bundle,
    connection: &Connection,
    timeout: Duration,
) -> Result<Option<SyncReport>, SyncError> {
    let tracker_dir = bundle.tracker_dir();
    if !tracker_dir.is_dir() {
        return Ok(None);
    }
    let open_nodes = outbox_status(&tracker_dir)?.open_nodes;
    let outcome = sync_bundle(&tracker_dir, connection, evidence(bundle), timeout)?;
    let mut warnings = Vec::new();
    match Manifest::read(bundle) {
        Ok(mut manifest) => {
            update(&mut manifest, &outcome);
            if outcome.closed {
                for node in manifest.nodes.iter_mut().filter(|node| open_nodes.contains(&node.name)) {
                    node.status = NodeStatus::Unfinished;
                }
            }
            let written = manifest.write(bundle).map_err(|error| in_one_line(&error));
            let reported = written.and_then(|()| {
                let report = Report::of_bundle(bundle).map_err(|error| in_one_line(&error))?;
                report.write(bundle).map_err(|error| in_one_line(&error))
            });
            warnings.extend(reported.err());
        }
        Err(error) => warnings.push(in_one_line(&error)),
    }
    Ok(Some(SyncReport { outcome, warnings }))
}

fn evidence(bundle: &Bundle) -> ProcessEvidence {
    match Beats::read(&bundle.heartbeat()) {
        Ok(beats) => match beats.is_alive() {
            Liveness::Alive => ProcessEvidence::Alive,
            Liveness::Gone => ProcessEvidence::Gone { last_seen: Some(beats.last_beat_at) },
            Liveness::Unknown => ProcessEvidence::Unknown,
        },
        Err(_) => ProcessEvidence::Unknown,
    }
}

fn update(manifest: &mut Manifest, outcome: &SyncOutcome) {
    if let Some(link) = &outcome.link {
        manifest.identity.execution_run_id = Some(link.dag_run_id.to_string());
        manifest.identity.project_id = Some(link.project_id.to_string());
        manifest.links.hamilton_run = Some(link.run_url.clone());
    }
    manifest.delivery.tracker = Some(account(outcome.ledger.clone()));
    if outcome.ledger.waiting == 0 {
        manifest.warnings.retain(|warning| !warning.contains("daglight sync"));
    }
    if outcome.closed {
        manifest.status = RunStatus::Failure;
        manifest.error.get_or_insert_with(|| "process ended".to_owned());
    }
}

/// The tracker's account as the bundle keeps it.
pub(crate) fn account(ledger: TrackerLedger) -> Ledger {
    Ledger {
        produced: ledger.produced,
        delivered: ledger.delivered,
        waiting: ledger.waiting,
        dropped: ledger.dropped,
    }
}
