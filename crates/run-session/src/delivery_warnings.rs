//! What is said at the end of a run of what was not delivered, or was lost.

use chrono::SecondsFormat;
use daglight_bundle_report::display::command;
use daglight_otel_bridge::SignalLedgers;
use daglight_run_bundle::{DeliveryCounts, LedgerDestination, SignalLedger, Warning, WarningCode};

use crate::run_state::RunState;

/// What the files of the bundle and the backends of OpenTelemetry lack.
pub(crate) fn say_what_was_lost(state: &RunState, signals: &SignalLedgers) {
    signals.bundle_warnings().into_iter().for_each(|warning| state.log.bundle_failed(warning));
    let export_warnings = signals.export_warnings();
    if !export_warnings.is_empty() {
        // One endpoint that is away is one cause.
        state.log.warn(WarningCode::SignalsNotExported, export_warnings.join("; "));
    }
}

/// What the tracking server does not have.
pub(crate) fn say_what_the_tracker_lacks(state: &RunState, ledger: &DeliveryCounts) {
    let Some(bundle) = &state.context.bundle else { return };
    let dropped = ledger.dropped_total();
    if dropped > 0 {
        // The tracker has warned of what it lost when it did.
        let lost = format!(
            "{dropped} of {} tracker records were lost: {}",
            ledger.produced,
            ledger.dropped_reasons()
        );
        state.log.note(Warning::new(WarningCode::TrackerRecordsLost, lost));
    }
    // Without a server nothing is missing: the outbox keeps the run until there is one.
    if ledger.waiting > 0 && state.context.shared.connection.is_some() {
        let why = match &ledger.last_error {
            Some(error) => error,
            None => "the server did not answer in time",
        };
        let warning = format!(
            "{} of {} tracker records wait in the bundle: {why}. To deliver them later: {}",
            ledger.waiting,
            ledger.produced,
            command("sync", bundle.dir())
        );
        // The delivery has warned of its errors when they occurred.
        let warning = Warning::new(WarningCode::Undelivered, warning);
        state.log.warn_unless(ledger.last_error.is_some(), warning);
    }
    if let Some(until) = ledger.unverified_until
        && ledger.waiting == 0
    {
        let warning = format!(
            "the tracking server may still carry out a request that it did not answer with success. To verify it \
             after {}: {}",
            until.to_rfc3339_opts(SecondsFormat::Secs, true),
            command("sync", bundle.dir())
        );
        state.log.note(Warning::new(WarningCode::Unverified, warning));
    }
    if ledger.redelivered > 0 {
        // The delivery has warned of it when it was found.
        let again = format!(
            "{} tracker records were sent again because the tracking server no longer had the run",
            ledger.redelivered
        );
        state.log.note(Warning::new(WarningCode::Redelivered, again));
    }
}

/// What the receiver of OpenLineage does not have.
pub(crate) fn say_what_waits(state: &RunState, receiver: &str, account: &SignalLedger) {
    let (Some(bundle), LedgerDestination::OpenLineage) = (&state.context.bundle, &account.destination) else {
        return;
    };
    let counts = &account.ledger;
    if counts.waiting > 0 {
        let why = match &counts.last_error {
            Some(error) => error,
            None => &format!("{receiver}: the receiver did not answer in time"),
        };
        let warning = format!(
            "{} of {} lineage events wait in the bundle: {why}. To deliver them later: {}",
            counts.waiting,
            counts.produced,
            command("sync", bundle.dir())
        );
        state.log.warn(WarningCode::LineageUndelivered, warning);
    }
    if counts.dropped_total() > 0 {
        let lost = format!(
            "{} of {} lineage events were lost: {}",
            counts.dropped_total(),
            counts.produced,
            counts.dropped_reasons()
        );
        state.log.warn(WarningCode::LineageEventsLost, lost);
    }
}
