//! Delivering the events of OpenLineage of a run after it ended.

use std::time::Duration;

use daglight_bundle_report::Report;
use daglight_capture_policy::in_one_line;
use daglight_openlineage::{LineageSync, SyncLineageError, Target, sync_lineage};
use daglight_run_bundle::{Bundle, LedgerDestination, LedgerSignal, Manifest, SignalLedger, WarningCode};

/// What became of the events of one bundle.
#[derive(Debug)]
#[non_exhaustive]
pub struct SyncedLineage {
    /// What was delivered, and what still waits.
    pub outcome: LineageSync,
    /// What could not be brought up to date in the bundle itself.
    pub warnings: Vec<String>,
}

/// Delivers the events that wait in a bundle, and brings manifest and report up to date. `None` where its run has recorded none. A run
/// whose process is gone is closed by [`sync_run`](crate::sync_run), which comes before this.
///
/// # Errors
/// As [`sync_lineage`].
pub fn sync_lineage_of(
    bundle: &Bundle,
    target: &Target,
    timeout: Duration,
) -> Result<Option<SyncedLineage>, SyncLineageError> {
    let Some(outcome) = sync_lineage(bundle, target, timeout)? else { return Ok(None) };
    let brought = bring_up_to_date(bundle, &outcome);
    Ok(Some(SyncedLineage { outcome, warnings: brought.err().into_iter().collect() }))
}

fn bring_up_to_date(bundle: &Bundle, outcome: &LineageSync) -> Result<(), String> {
    Manifest::update(bundle, |manifest| {
        let is_it = |account: &SignalLedger| account.destination == LedgerDestination::OpenLineage;
        manifest.delivery.signals.retain(|account| !is_it(account));
        manifest.delivery.signals.push(SignalLedger {
            signal: LedgerSignal::Lineage,
            destination: LedgerDestination::OpenLineage,
            ledger: outcome.ledger.clone(),
        });
        if outcome.ledger.waiting == 0 {
            // By its code: the text says how to deliver, and is not true any more.
            manifest.warnings.retain(|warning| warning.code != WarningCode::LineageUndelivered);
        }
    })
    .map_err(|error| in_one_line(&error))?;
    if outcome.delivered == 0 && outcome.ledger.waiting > 0 {
        return Ok(());
    }
    let report = Report::from_bundle(bundle).map_err(|error| in_one_line(&error))?;
    report.write(bundle).map_err(|error| in_one_line(&error))
}
