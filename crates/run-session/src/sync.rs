//! Delivering a run after it ended.

use std::time::Duration;

use daglight_bundle_report::Report;
use daglight_capture_policy::in_one_line;
use daglight_run_bundle::{Bundle, Ledger, Manifest, RunStatus, Tracking};
use daglight_tracker_client::{
    Connection, Ledger as TrackerLedger, SyncError, SyncOutcome, recorded_outbox, sync_bundle,
};

use crate::close::{close_dead_run, sighting};

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
    /// Records that the tracking server does not have.
    pub waiting: u64,
    /// Whether the run was meant for a tracking server.
    pub tracking: Tracking,
    /// What could not be brought up to date in the bundle itself.
    pub warnings: Vec<String>,
}

/// Delivers what waits in a bundle. A run whose process is gone is closed as a failure, with the last heartbeat as
/// process, also where there is no server or nothing is recorded for one. Then manifest and report are brought up to date.
///
/// # Errors
/// When the outbox cannot be read, another process delivers it, or the server refuses. A server that does not answer
/// is no error: the outcome says what waits, and why.
pub fn sync_run(
    bundle: &Bundle,
    connection: Option<&Connection>,
    timeout: Duration,
) -> Result<SyncReport, SyncError> {
    let tracker_dir = bundle.tracker_dir();
    let outbox = recorded_outbox(&tracker_dir)?;
    let process = sighting(bundle, outbox.as_ref());
    // The bundle comes first: once the outbox is closed, it does not tell any more which nodes were open.
    let mut warnings = Vec::new();
    let closed = close_dead_run(bundle).unwrap_or_else(|error| {
        warnings.push(in_one_line(&error));
        false
    });
    let outcome = match (&outbox, connection) {
        (Some(_), Some(connection)) => sync_bundle(&tracker_dir, connection, process, timeout).map(Some),
        _ => Ok(None),
    };
    // A run that was closed has another report, also where nothing could be delivered.
    let delivered = outcome.as_ref().ok().and_then(Option::as_ref);
    if closed || delivered.is_some() {
        warnings.extend(bring_up_to_date(bundle, delivered).err());
    }
    let outcome = outcome?;
    let recorded = outbox.map_or(0, |outbox| outbox.ledger.waiting);
    let manifest = Manifest::read(bundle).ok();
    Ok(SyncReport {
        status: manifest.as_ref().map(|manifest| manifest.status),
        closed: closed || outcome.as_ref().is_some_and(|outcome| outcome.closed),
        waiting: outcome.as_ref().map_or(recorded, |outcome| outcome.ledger.waiting),
        outcome,
        tracking: manifest.map_or(Tracking::Unknown, |manifest| manifest.tracking),
        warnings,
    })
}

fn bring_up_to_date(bundle: &Bundle, outcome: Option<&SyncOutcome>) -> Result<(), String> {
    if let Some(outcome) = outcome {
        let status = Manifest::update(bundle, |manifest| {
            update(manifest, outcome);
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
    manifest.delivery.tracker = Some(account(outcome.ledger.clone()));
    if outcome.ledger.waiting == 0 && outcome.ledger.unverified_until.is_none() {
        manifest.warnings.retain(|warning| !warning.code.ends_with_sync());
    }
}

/// The tracker's account as the bundle keeps it.
pub(crate) fn account(ledger: TrackerLedger) -> Ledger {
    Ledger {
        produced: ledger.produced,
        delivered: ledger.delivered,
        waiting: ledger.waiting,
        dropped: ledger.dropped,
        unverified_until: ledger.unverified_until,
        redelivered: ledger.redelivered,
    }
}
