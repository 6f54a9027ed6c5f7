//! Delivering a run after it ended.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use daglight_bundle_report::Report;
use daglight_capture_policy::in_one_line;
use daglight_run_bundle::{
    Bundle, FileEntry, Manifest, NodeRecord, NodeStatus, OUTBOX_FILE, RunStatus, Tracking,
    outbox::{OutboxStatus, recorded_outbox},
};
use daglight_tracker_client::{
    Connection, Liveness, NodeEnd, Outcome, RunEnd, Sighting, SyncError, SyncOutcome, complete_outbox,
    sync_bundle,
};

use crate::{
    bundle_status::damages_of_outbox,
    close::{close_dead_run, sighting},
};

/// Milliseconds that a node can take, a century: more is not a duration that was measured.
const MAX_NODE_MS: f64 = 3.2e12;

/// What became of one bundle.
#[derive(Debug)]
#[non_exhaustive]
pub struct SyncReport {
    /// How the run ended, or that it goes on; `None` where its manifest cannot be read.
    pub status: Option<RunStatus>,
    /// What was delivered, and what still waits. `None` without a server, and where nothing is recorded for one.
    pub outcome: Option<SyncOutcome>,
    /// Whether the run was closed, because its process had ended.
    pub closed: bool,
    /// Whether the outbox lacked the end of the run, or of nodes, and got it from the manifest.
    pub completed: bool,
    /// Records that the tracking server does not have.
    pub waiting: u64,
    /// Whether the run was meant for a tracking server.
    pub tracking: Tracking,
    /// What of the tracker's files is damaged, and what could not be brought up to date in the bundle itself.
    pub warnings: Vec<String>,
}

/// Delivers what waits in a bundle. A run whose process is gone is closed as a failure, with the last heartbeat as
/// process, also where there is no server or nothing is recorded for one. Where a run has ended by its own record, and its
/// disk had no space for that in the outbox, the manifest says how. Then manifest and report are brought up to date.
///
/// # Errors
/// When a newer Daglight has written the bundle, the outbox cannot be read, another process delivers it, or the server
/// refuses. A server that does not answer
/// is not an error: the outcome says what waits, and why.
pub fn sync_run(
    bundle: &Bundle,
    connection: Option<&Connection>,
    timeout: Duration,
) -> Result<SyncReport, SyncError> {
    Manifest::refuse_newer(bundle)?;
    let tracker_dir = bundle.tracker_dir();
    let outbox = recorded_outbox(&tracker_dir)?;
    let process = sighting(bundle, outbox.as_ref());
    let manifest = Manifest::read(bundle).ok();
    let end = manifest.as_ref().zip(outbox.as_ref()).and_then(|(manifest, outbox)| run_end(manifest, outbox));
    let damages = damages_of_outbox(bundle, manifest.as_ref(), outbox.as_ref());
    // The bundle comes first: once the outbox is closed, it does not show any more which nodes were open.
    let mut warnings = damages;
    let closed = close_dead_run(bundle).unwrap_or_else(|error| {
        warnings.push(in_one_line(&error));
        false
    });
    let mut completed = false;
    let process = match (&end, connection) {
        (Some(end), Some(_)) if process.liveness != Liveness::Alive => {
            completed = complete_outbox(&tracker_dir, end).unwrap_or_else(|error| {
                warnings.push(in_one_line(&error));
                false
            });
            // It has ended by itself, whatever its outbox lacks.
            Sighting::UNKNOWN
        }
        _ => process,
    };
    let outcome = match (&outbox, connection) {
        (Some(_), Some(connection)) => sync_bundle(&tracker_dir, connection, process, timeout).map(Some),
        _ => Ok(None),
    };
    // A run that was closed has another report, also where nothing could be delivered.
    let delivered = outcome.as_ref().ok().and_then(Option::as_ref);
    if closed || delivered.is_some() {
        let has_grown = completed || delivered.is_some_and(|delivered| delivered.closed);
        warnings.extend(bring_up_to_date(bundle, delivered, has_grown).err());
    }
    let outcome = outcome?;
    let recorded = outbox.map_or(0, |outbox| outbox.ledger.waiting);
    let manifest = Manifest::read(bundle).ok();
    Ok(SyncReport {
        status: manifest.as_ref().map(|manifest| manifest.status),
        closed: closed || outcome.as_ref().is_some_and(|outcome| outcome.closed),
        completed,
        waiting: outcome.as_ref().map_or(recorded, |outcome| outcome.ledger.waiting),
        outcome,
        tracking: manifest.map_or(Tracking::Unknown, |manifest| manifest.tracking),
        warnings,
    })
}

/// How a run has ended, as its manifest says it. `None` while it runs, and where the outbox is of another one.
fn run_end(manifest: &Manifest, outbox: &OutboxStatus) -> Option<RunEnd> {
    let outcome = match manifest.status {
        RunStatus::Running => return None,
        RunStatus::Success => Outcome::Success,
        RunStatus::Failure | RunStatus::Interrupted => Outcome::Failure,
    };
    let run_id = manifest.identity.run_id;
    // A manifest that was copied beside the outbox of another run must not end that run.
    if outbox.run_id.is_some_and(|recorded| recorded != run_id) {
        return None;
    }
    let ended_at = manifest.ended_at.or(outbox.last_event).unwrap_or(manifest.started_at);
    Some(RunEnd {
        run_id,
        tags: manifest.identity.tags.clone(),
        started_at: manifest.started_at,
        ended_at,
        outcome,
        error: manifest.error.clone(),
        nodes: manifest.nodes.iter().filter_map(|node| node_end(node, manifest, ended_at)).collect(),
    })
}

fn node_end(node: &NodeRecord, manifest: &Manifest, run_ended_at: DateTime<Utc>) -> Option<NodeEnd> {
    let outcome = match node.status {
        NodeStatus::NotRun => return None,
        NodeStatus::Success => Outcome::Success,
        NodeStatus::Failure | NodeStatus::Interrupted | NodeStatus::Running | NodeStatus::Unfinished => {
            Outcome::Failure
        }
    };
    // A manifest can be edited, and a duration out of it must not overflow a date.
    let elapsed = node.duration_ms.filter(|ms| (0.0..MAX_NODE_MS).contains(ms));
    let elapsed = elapsed.map(|ms| TimeDelta::microseconds((ms * 1e3) as i64));
    let ended_at =
        node.started_at.zip(elapsed).and_then(|(started, elapsed)| started.checked_add_signed(elapsed));
    let error = node.error.clone().or_else(|| manifest.error.clone());
    Some(NodeEnd {
        name: node.name.clone(),
        started_at: node.started_at,
        ended_at: ended_at.unwrap_or(run_ended_at),
        outcome,
        error: error.filter(|_| outcome == Outcome::Failure),
    })
}

/// `has_grown`: the outbox got the end of the run.
fn bring_up_to_date(bundle: &Bundle, outcome: Option<&SyncOutcome>, has_grown: bool) -> Result<(), String> {
    if let Some(outcome) = outcome {
        let status = Manifest::update(bundle, |manifest| {
            update(manifest, outcome);
            let outbox = |entry: &&mut FileEntry| entry.path == OUTBOX_FILE && has_grown;
            manifest.files.iter_mut().filter(outbox).for_each(|entry| entry.refresh(bundle));
            manifest.status
        });
        if status.map_err(|error| in_one_line(&error))? == RunStatus::Running {
            // It writes its report itself.
            return Ok(());
        }
    }
    let report = Report::from_bundle(bundle).map_err(|error| in_one_line(&error))?;
    report.write(bundle).map_err(|error| in_one_line(&error))
}

fn update(manifest: &mut Manifest, outcome: &SyncOutcome) {
    if let Some(link) = &outcome.link {
        manifest.identity.execution_run_id = Some(link.dag_run_id.to_string());
        manifest.identity.project_id = Some(link.project_id.to_string());
        manifest.links.hamilton_run = Some(link.run_url.clone());
    }
    manifest.delivery.tracker = Some(outcome.ledger.clone());
    if outcome.ledger.waiting == 0 && outcome.ledger.unverified_until.is_none() {
        // By its code: the text says how to deliver, and is not true any more.
        manifest.warnings.retain(|warning| !warning.code.ends_with_sync());
    }
}
