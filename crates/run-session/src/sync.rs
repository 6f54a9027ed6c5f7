//! Delivering a run after it ended.

use std::time::Duration;

use daglight_bundle_report::{Bundle, Ledger, Manifest, Report};
use daglight_capture_policy::in_one_line;
use daglight_tracker_client::{
    Connection, Ledger as TrackerLedger, SyncError, SyncOutcome, outbox_status, sync_bundle,
};

use crate::close::{close_dead_run, process_evidence};

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
    let outbox = outbox_status(&tracker_dir)?;
    let evidence = process_evidence(bundle, Some(&outbox));
    // The bundle comes first: once the outbox is closed, it does not tell any more which nodes were open.
    let mut warnings = Vec::new();
    warnings.extend(close_dead_run(bundle).err().map(|error| in_one_line(&error)));
    let outcome = sync_bundle(&tracker_dir, connection, evidence, timeout)?;
    warnings.extend(bring_up_to_date(bundle, &outcome).err());
    Ok(Some(SyncReport { outcome, warnings }))
}

fn bring_up_to_date(bundle: &Bundle, outcome: &SyncOutcome) -> Result<(), String> {
    let mut manifest = Manifest::read(bundle).map_err(|error| in_one_line(&error))?;
    update(&mut manifest, outcome);
    manifest.write(bundle).map_err(|error| in_one_line(&error))?;
    let report = Report::of_bundle(bundle).map_err(|error| in_one_line(&error))?;
    report.write(bundle).map_err(|error| in_one_line(&error))
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
