//! The cost of Daglight itself, and its losses.

use std::collections::BTreeSet;

use daglight_finding_thresholds::FindingThresholds;
use daglight_run_bundle::{DeliveryCounts, LedgerSignal, OwnTime};

use super::{Finding, FindingKind};
use crate::{
    display,
    level::Level,
    report::{DeliveryReport, Report},
};

pub(crate) fn of_run(report: &Report, thresholds: &FindingThresholds) -> Vec<Finding> {
    loss(&report.delivery).into_iter().chain(cost(report, thresholds)).collect()
}

fn loss(delivery: &DeliveryReport) -> Option<Finding> {
    if delivery.dropped == 0 {
        return None;
    }
    let reasons = delivery.ledgers.iter().flat_map(|account| &account.ledger.dropped);
    let reasons: BTreeSet<&str> =
        reasons.filter(|(_, count)| **count > 0).map(|(reason, _)| reason.as_str()).collect();
    let reasons: Vec<&str> = reasons.into_iter().collect();
    let items = items(delivery, DeliveryCounts::dropped_total);
    let summary = format!("Lost: {items} ({}).", reasons.join("; "));
    let finding = Finding::new(FindingKind::TelemetryLoss, Level::Warning, summary);
    Some(finding.count("items lost", delivery.dropped))
}

/// The items of a count in the ledgers, such as `3 spans to otlp, 1 tracker event to hamilton`.
pub(crate) fn items(delivery: &DeliveryReport, count: fn(&DeliveryCounts) -> u64) -> String {
    let accounts = delivery.ledgers.iter().filter(|account| count(&account.ledger) > 0);
    let parts: Vec<String> = accounts
        .map(|account| {
            let items = display::plural(count(&account.ledger), item(&account.signal));
            format!("{items} to {}", account.destination)
        })
        .collect();
    parts.join(", ")
}

/// The name of an item of a signal.
fn item(signal: &LedgerSignal) -> &str {
    match signal {
        LedgerSignal::Tracker => "tracker event",
        LedgerSignal::Traces => "span",
        LedgerSignal::Metrics => "metric",
        LedgerSignal::Logs => "log record",
        LedgerSignal::Lineage => "lineage event",
        other => other.name(),
    }
}

fn cost(report: &Report, thresholds: &FindingThresholds) -> Option<Finding> {
    let (own, run_ms) = (report.own_time.as_ref()?, report.duration_ms.filter(|run_ms| *run_ms > 0.0)?);
    // Without the time of the report: the report that the run writes cannot know it, and one that is made later must show the same.
    let mut own = own.clone();
    own.report_ms = 0.0;
    let in_run_ms = in_run_ms(&own, report, run_ms);
    let own_ms = in_run_ms + own.at_end_ms();
    if own_ms < thresholds.own_ms || own_ms < thresholds.own_share * run_ms {
        return None;
    }
    let summary = format!(
        "Daglight itself took {}, {} of what the run took.",
        display::duration(own_ms),
        display::percent(own_ms / run_ms)
    );
    let finding = Finding::new(FindingKind::TelemetryCost, Level::Note, summary);
    let finding = own.parts().fold(finding, |finding, (what, ms)| finding.milliseconds(what, ms));
    // Time after the end of the run is not part of the run's time.
    Some(finding.at_stake(in_run_ms))
}

/// How much longer the run took because of it. Summaries are computed by several threads in parallel, as many as the run had busy
/// on average: their sum over all threads may exceed the time of the run.
fn in_run_ms(own: &OwnTime, report: &Report, run_ms: f64) -> f64 {
    let cpu_seconds = report.heartbeat.as_ref().and_then(|heartbeat| heartbeat.cpu_seconds);
    let busy_threads = cpu_seconds.map_or(1.0, |seconds| seconds * 1e3 / run_ms).max(1.0);
    // It computes within the run, and cannot have computed for longer than the process: the rest of the time it had no processor.
    let most_ms = cpu_seconds.map_or(run_ms, |seconds| run_ms.min(seconds * 1e3));
    (own.in_run_ms() - own.summaries_ms + own.summaries_ms / busy_threads).min(most_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::planted::{found_in, report};

    #[test]
    fn what_daglight_costs_is_found_where_it_matters() {
        let costs = |ms| {
            let mut report = report();
            let mut own = OwnTime::default();
            (own.nodes_ms, own.delivery_ms) = (ms / 2.0, ms / 2.0);
            report.own_time = Some(own);
            found_in(&report, [])
        };
        let found = costs(1_000.0);
        assert_eq!((found[0].kind, found[0].at_stake_ms), (FindingKind::TelemetryCost, Some(500.0)));
        assert_eq!(found[0].summary, "Daglight itself took 1.00 s, 10 % of what the run took.");
        assert_eq!(costs(999.0), []);
        // The cost of the report is known only after it.
        let mut later = report();
        let mut own = OwnTime::default();
        (own.delivery_ms, own.report_ms) = (1_000.0, 700.0);
        later.own_time = Some(own);
        assert_eq!(found_in(&later, [])[0].summary, found[0].summary);
    }

    #[test]
    fn what_several_threads_summarise_takes_no_longer_than_the_run() {
        let costs = |cpu_seconds, summaries_ms| {
            let mut report = report();
            let mut own = OwnTime::default();
            own.summaries_ms = summaries_ms;
            report.own_time = Some(own);
            report.heartbeat.as_mut().unwrap().cpu_seconds = cpu_seconds;
            let found = found_in(&report, []);
            found.into_iter().find(|finding| finding.kind == FindingKind::TelemetryCost)
        };
        // In a run of 10 s that had three threads busy, and in one of which that is not known.
        for (cpu_seconds, at_stake_ms) in [(Some(30.0), 4_000.0), (Some(10.0), 10_000.0), (None, 10_000.0)] {
            let found = costs(cpu_seconds, 12_000.0).unwrap();
            assert_eq!(found.at_stake_ms, Some(at_stake_ms));
        }
        assert_eq!(costs(Some(30.0), 2_999.0), None);
        // It had no processor for most of that time.
        assert_eq!(costs(Some(1.5), 12_000.0).unwrap().at_stake_ms, Some(1_500.0));
        assert_eq!(costs(Some(0.4), 12_000.0), None);
    }

    #[test]
    fn what_is_lost_is_found() {
        let mut report = report();
        let ledger = &mut report.delivery.ledgers[0].ledger;
        ledger.dropped.insert("queue full".into(), 3);
        report.delivery.dropped = 3;
        let found = found_in(&report, []);
        assert_eq!((found[0].kind, found[0].level), (FindingKind::TelemetryLoss, Level::Warning));
        assert!(found[0].summary.contains("3 tracker events to hamilton (queue full)"), "{found:#?}");
    }
}
