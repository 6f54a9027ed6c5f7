//! The last lines of a run on the terminal.

use std::path::Path;

use daglight::{
    FinishReport, NodeStatus, RunStatus, SERVER_VARIABLES, Tracking,
    bundle::{
        LedgerDestination, LedgerSignal, RecordedOutcome, WarningCode,
        display::{command, duration, exact, exact_plural},
    },
    policy::printable,
};

use crate::say::{note, output_is_incomplete};

/// Prints how a run ended and where to look at it; if quiet, only if it failed.
pub(crate) fn print(report: &FinishReport, quiet: bool) {
    let failed = report.status != RunStatus::Success;
    if quiet && !failed {
        return;
    }
    let output = if output_is_incomplete() {
        "; its output was NOT written as a whole: see the error above"
    } else {
        ""
    };
    note!("{}{output}", headline(report));
    let bundle = report.bundle.as_deref();
    let sync = |is_asked: bool| is_asked.then(|| command("sync", bundle.unwrap_or(Path::new("out"))));
    let links = [
        ("hamilton", hamilton(report)),
        ("trace", report.links.trace.clone()),
        ("bundle", bundle.map(|path| path.display().to_string()).or_else(|| gone(report))),
        ("missing", missing(report)),
        ("deliver", sync(waits(report))),
        ("verify", sync(is_unverified(report))),
        ("report", report.report.as_ref().map(|paths| paths.html.display().to_string())),
    ];
    for (what, place) in links {
        if let Some(place) = place {
            note!("  {what:<9} {}", printable(&place));
        }
    }
}

/// The page of the run, or how to get one.
fn hamilton(report: &FinishReport) -> Option<String> {
    match report.tracking {
        // The warning says what is missing.
        Tracking::NoServer
            if report.warnings.iter().any(|warning| warning.code == WarningCode::TrackerSetup) =>
        {
            Some("not configured as a whole: see the warning above, or `daglight doctor`".to_owned())
        }
        Tracking::NoServer => Some(format!("not configured; to see runs there, set {SERVER_VARIABLES}")),
        _ => report.links.hamilton_run.clone(),
    }
}

/// Where the bundle is, if it was removed or moved while the run was going.
fn gone(report: &FinishReport) -> Option<String> {
    let has_gone = report.warnings.iter().any(|warning| warning.code == WarningCode::BundleGone);
    has_gone.then(|| "was removed or moved while the run was going: see the warning above".to_owned())
}

/// What is missing in the bundle, because it could not be written.
fn missing(report: &FinishReport) -> Option<String> {
    report.bundle.as_ref()?;
    let mut missing = Vec::new();
    let of_bundle =
        report.ledger.signals.iter().filter(|account| account.destination == LedgerDestination::Bundle);
    let accounts = of_bundle.map(|account| (&account.signal, &account.ledger));
    let tracker = report.ledger.tracker.as_ref().map(|counts| (&LedgerSignal::Tracker, counts));
    for (signal, counts) in accounts.chain(tracker) {
        let dropped = counts.dropped_total();
        if dropped > 0 {
            missing.push(format!("{} of {} {}", exact(dropped), exact(counts.produced), signal.items()));
        }
    }
    missing.extend(report.not_written().map(str::to_owned));
    if report.report.is_none() {
        missing.push("the report".to_owned());
    }
    (!missing.is_empty()).then(|| format!("in the bundle, not written: {}", missing.join(", ")))
}

fn waits(report: &FinishReport) -> bool {
    report.tracking == Tracking::Server
        && report.ledger.tracker.as_ref().is_some_and(|tracker| tracker.waiting > 0)
}

fn is_unverified(report: &FinishReport) -> bool {
    let tracker = report.ledger.tracker.as_ref();
    tracker.is_some_and(|tracker| tracker.waiting == 0 && tracker.unverified_until.is_some())
}

fn headline(report: &FinishReport) -> String {
    let count = |status| report.nodes.iter().filter(|node| node.status == status).count();
    let elapsed = duration(report.duration_ms);
    let name = &report.dag_name;
    match report.status {
        RunStatus::Success => {
            format!(
                "{name} succeeded in {elapsed}, nodes: {} ok{}",
                count(NodeStatus::Success),
                checks(report)
            )
        }
        RunStatus::Interrupted => {
            let reason = report.error.as_ref().map_or("interrupted", |error| error.message.as_str());
            format!(
                "{name} {}, nodes: {} ok, {} interrupted, {} failed, {} not run",
                reason.replacen("interrupted", "INTERRUPTED", 1),
                count(NodeStatus::Success),
                count(NodeStatus::Interrupted) + count(NodeStatus::Unfinished),
                count(NodeStatus::Failure),
                count(NodeStatus::NotRun)
            )
        }
        _ => {
            // A node had failed before, which stays the reason.
            let by = report.interrupted_by();
            let unfinished = count(NodeStatus::Unfinished);
            let (interrupted, failed) = if by.is_some() { (unfinished, 0) } else { (0, unfinished) };
            let interrupted = interrupted + count(NodeStatus::Interrupted);
            let failed = failed + count(NodeStatus::Failure);
            let by = by.map(|by| format!(" and INTERRUPTED by {by}")).unwrap_or_default();
            let interrupted =
                if interrupted == 0 { String::new() } else { format!("{interrupted} interrupted, ") };
            format!(
                "{name} FAILED{by} after {elapsed}, nodes: {} ok, {interrupted}{failed} failed, {} not run{}",
                count(NodeStatus::Success),
                count(NodeStatus::NotRun),
                checks(report)
            )
        }
    }
}

/// The results of row checks, if there are any: `; checks: 3 passed, 1 failed`.
fn checks(report: &FinishReport) -> String {
    let checks = || report.nodes.iter().flat_map(|node| &node.checks);
    let outcomes = [RecordedOutcome::Passed, RecordedOutcome::Failed, RecordedOutcome::Undecided];
    let counts = outcomes.map(|outcome| (outcome, checks().filter(|check| check.outcome == outcome).count()));
    let words =
        counts.iter().filter(|(_, count)| *count > 0).map(|(outcome, count)| format!("{count} {outcome}"));
    let words = words.collect::<Vec<_>>().join(", ");
    if words.is_empty() { words } else { format!("; checks: {words}") }
}

/// The number of waiting records: `1 record waits`, `2 records wait`.
pub(crate) fn waiting_records(count: u64) -> String {
    format!("{} {}", exact_plural(count, "record"), if count == 1 { "waits" } else { "wait" })
}

/// The number of waiting OpenLineage events.
pub(crate) fn waiting_events(count: u64) -> String {
    format!("{} {}", exact_plural(count, "lineage event"), if count == 1 { "waits" } else { "wait" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_record_waits_and_more_wait() {
        assert_eq!([1, 1_000].map(waiting_records), ["1 record waits", "1,000 records wait"]);
        assert_eq!([1, 16].map(waiting_events), ["1 lineage event waits", "16 lineage events wait"]);
    }
}
