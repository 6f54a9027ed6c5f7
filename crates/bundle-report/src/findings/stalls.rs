//! Queries that made no progress, and a process that did not run.

use chrono::{DateTime, Utc};
use daglight_finding_thresholds::FindingThresholds;
use daglight_run_bundle::milliseconds;

use super::{Finding, FindingKind};
use crate::{
    display,
    level::Level,
    report::{Report, StallReport},
};

/// No scheduler delays a thread that only waits by that many seconds.
const STOPPED_SECONDS: f64 = 3.0;

pub(crate) fn of_run(report: &Report, thresholds: &FindingThresholds) -> Vec<Finding> {
    let Some(heartbeat) = &report.heartbeat else { return Vec::new() };
    let found = heartbeat.stalls.iter().map(|episode| stall(episode, report.ended_at)).collect();
    let beyond = heartbeat.stall_count.saturating_sub(heartbeat.stalls.len() as u64);
    let mut found = Finding::listed(found, thresholds.max_per_kind, beyond);
    if let Some(silent_seconds) = heartbeat.silent_seconds {
        let silent_ms = silent_seconds * 1e3;
        let summary = format!(
            "The heartbeat has been silent for {}: its thread is blocked, so stalls are not detected.",
            display::duration(silent_ms)
        );
        let finding = Finding::new(FindingKind::HeartbeatPause, Level::Bad, summary);
        let finding = finding.milliseconds("silence", silent_ms);
        found.push(finding.milliseconds("between two beats", heartbeat.interval_seconds * 1e3));
    }
    // Signs of life come more often than beats, and their delay is the pause.
    let late_seconds = heartbeat.late_seconds.unwrap_or_default();
    let is_late = late_seconds >= STOPPED_SECONDS.max(thresholds.pause_seconds);
    let gap_seconds = heartbeat.longest_gap_seconds;
    let has_gap = is_long_pause(gap_seconds, heartbeat.interval_seconds, thresholds);
    let pause_seconds = if has_gap { gap_seconds.max(late_seconds) } else { late_seconds };
    let is_long = is_late || has_gap;
    if heartbeat.beats > 0 && is_long {
        let pause_ms = pause_seconds * 1e3;
        let summary = format!(
            "The heartbeat paused for {}: the process was stopped, or the machine was overloaded or suspended.",
            display::duration(pause_ms)
        );
        let finding = Finding::new(FindingKind::HeartbeatPause, Level::Warning, summary);
        let finding = finding.milliseconds("pause", pause_ms);
        found.push(finding.milliseconds("between two beats", heartbeat.interval_seconds * 1e3));
    }
    found
}

/// Whether a pause is longer than delays by a scheduler.
pub(crate) fn is_long_pause(seconds: f64, interval_seconds: f64, thresholds: &FindingThresholds) -> bool {
    seconds > thresholds.pause_intervals * interval_seconds && seconds >= thresholds.pause_seconds
}

fn stall(StallReport { stall, ended, remedy }: &StallReport, run_end: Option<DateTime<Utc>>) -> Finding {
    let what = match (&stall.node, &stall.statement) {
        (Some(node), _) => format!("Node {}", display::name(node)),
        (None, Some(statement)) => statement.replacen("the ", "The ", 1),
        (None, None) => format!("Query {}", stall.query_id),
    };
    let at = stall.operator.as_ref().map(|operator| format!(" at {operator}")).unwrap_or_default();
    let (level, until) = match (*ended, run_end) {
        (Some(ended), _) => (Level::Warning, format!("for {}", between(stall.since, ended))),
        (None, Some(end)) => (Level::Bad, format!("for {}, up to the end", between(stall.since, end))),
        (None, None) => (Level::Bad, format!("since {}", display::time(stall.since))),
    };
    let why = stall.class.map(|class| format!(": {}", class.in_words())).unwrap_or_default();
    let waits_for = stall.waits_for.as_ref().map(|what| format!(" ({what})")).unwrap_or_default();
    let summary = format!("{what} made no progress{at} {until}{why}{waits_for}.");
    let mut finding = Finding::new(FindingKind::Stall, level, summary).node(stall.node.as_deref());
    // The state of the threads is more helpful than the fact that there was no progress.
    if let Some(remedy) = remedy {
        finding.remedy.clone_from(remedy);
    }
    if let Some(cpu_seconds) = stall.cpu_seconds {
        finding = finding.milliseconds("processor time meanwhile", cpu_seconds * 1e3);
    }
    if let Some(end) = ended.or(run_end) {
        let stalled_ms = milliseconds::between(stall.since, end);
        finding = finding.milliseconds("without progress", stalled_ms).at_stake(stalled_ms);
    }
    finding.query_id = Some(stall.query_id.clone()).filter(|query_id| !query_id.is_empty());
    finding.operator.clone_from(&stall.operator);
    finding
}

fn between(from: DateTime<Utc>, until: DateTime<Utc>) -> String {
    display::duration((until - from).as_seconds_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use daglight_run_bundle::{Stall, StallClass};

    use super::*;
    use crate::findings::planted::{found_in, report};

    fn stalled(ended: Option<i64>) -> StallReport {
        let since = crate::fixture::start();
        StallReport {
            stall: Stall {
                query_id: "7".into(),
                node: Some("orders".into()),
                operator: Some("SortExec".into()),
                since,
                ..Stall::default()
            },
            ended: ended.map(|seconds| since + TimeDelta::seconds(seconds)),
            remedy: None,
        }
    }

    #[test]
    fn stalls_are_found_and_those_that_did_not_end_are_bad() {
        let mut report = report();
        report.ended_at = Some(crate::fixture::start() + TimeDelta::seconds(10));
        let heartbeat = report.heartbeat.as_mut().unwrap();
        heartbeat.stalls = vec![stalled(Some(4)), stalled(None)];
        heartbeat.stall_count = 5;
        let found = found_in(&report, []);
        let said: Vec<_> = found.iter().map(|finding| (finding.level, &*finding.summary)).collect();
        assert_eq!(
            said,
            [
                (Level::Bad, "Node orders made no progress at SortExec for 10.0 s, up to the end."),
                (Level::Warning, "Node orders made no progress at SortExec for 4.00 s."),
            ]
        );
        assert_eq!((found[0].more, found[0].share, found[1].share), (3, Some(1.0), Some(0.4)));
    }

    #[test]
    fn a_stall_says_what_its_threads_did_and_what_helps_then() {
        let mut report = report();
        let mut episode = stalled(Some(4));
        episode.stall.class = Some(StallClass::Source);
        episode.stall.waits_for = Some("events.parquet".into());
        episode.remedy = Some("See whether the disk is slow.".into());
        report.heartbeat.as_mut().unwrap().stalls = vec![episode];
        let found = &found_in(&report, [])[0];
        let why = StallClass::Source.in_words();
        let summary = format!("Node orders made no progress at SortExec for 4.00 s: {why} (events.parquet).");
        assert_eq!((&*found.summary, &*found.remedy), (&*summary, "See whether the disk is slow."));
    }

    #[test]
    fn a_statement_of_no_node_is_named() {
        let mut report = report();
        let mut episode = stalled(Some(4));
        episode.stall.node = None;
        episode.stall.query_id = String::new();
        episode.stall.operator = None;
        episode.stall.statement = Some("the statement at shop.sql:3".into());
        report.heartbeat.as_mut().unwrap().stalls = vec![episode];
        let found = &found_in(&report, [])[0];
        let summary = "The statement at shop.sql:3 made no progress for 4.00 s.";
        assert_eq!((&*found.summary, &found.query_id), (summary, &None));
    }

    #[test]
    fn a_heart_that_is_silent_is_found() {
        let mut report = report();
        report.heartbeat.as_mut().unwrap().silent_seconds = Some(75.0);
        let found = &found_in(&report, [])[0];
        assert_eq!((found.kind, found.level), (FindingKind::HeartbeatPause, Level::Bad));
        assert!(
            found.summary.starts_with("The heartbeat has been silent for 1 min 15 s"),
            "{}",
            found.summary
        );
    }

    #[test]
    fn a_pause_of_the_heartbeat_is_found_where_it_is_long() {
        let paused = |seconds| {
            let mut report = report();
            report.heartbeat.as_mut().unwrap().longest_gap_seconds = seconds;
            found_in(&report, [])
        };
        assert_eq!(paused(3.1)[0].kind, FindingKind::HeartbeatPause);
        assert_eq!(paused(3.0), []);
        let late = |seconds| {
            let mut report = report();
            report.heartbeat.as_mut().unwrap().late_seconds = Some(seconds);
            found_in(&report, [])
        };
        assert!(late(8.9)[0].summary.starts_with("The heartbeat paused for 8.90 s: the process was stopped"));
        assert_eq!(late(2.9), []);
    }
}
