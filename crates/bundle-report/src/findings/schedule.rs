//! How the nodes use the time of the run: idle time, setup, and nodes that could run in parallel.

use daglight_finding_thresholds::FindingThresholds;

use super::{Finding, FindingKind, Unit};
use crate::{
    display,
    level::Level,
    report::{LongestSetup, Report, Timeline},
};

pub(crate) fn of_run(report: &Report, thresholds: &FindingThresholds) -> Vec<Finding> {
    let (Some(timeline), Some(run_ms)) = (&report.timeline, report.duration_ms) else { return Vec::new() };
    let matters = |ms: f64| ms >= thresholds.waiting_share * run_ms && ms >= thresholds.waiting_ms;
    let mut found = Vec::new();
    if matters(timeline.long_idle_ms) {
        found.extend(idle(timeline, run_ms));
    }
    if timeline.setup_ms > thresholds.setup_share * run_ms && timeline.setup_ms >= thresholds.waiting_ms {
        let summary = format!(
            "Setup: statements without a node took {} ({} of the run){}.",
            display::duration(timeline.setup_ms),
            display::percent((timeline.setup_ms / run_ms).min(1.0)),
            report.longest_setup.as_ref().map(longest).unwrap_or_default()
        );
        let finding = Finding::new(FindingKind::Setup, Level::Note, summary);
        found.push(finding.milliseconds("setup", timeline.setup_ms).at_stake(timeline.setup_ms));
    }
    found.extend(
        serial_nodes(report, timeline, run_ms).filter(|finding| finding.at_stake_ms.is_some_and(matters)),
    );
    found
}

/// The longest statement as an addition to a sentence: its time, its place, and the first line of its text.
fn longest(setup: &LongestSetup) -> String {
    const MAX_CHARS: usize = 100;
    let took = display::duration(setup.duration_ms);
    let place = setup.place.as_ref().map(|place| format!(" at {place}")).unwrap_or_default();
    let line = setup.statement.as_deref().and_then(|text| text.lines().find(|line| !line.trim().is_empty()));
    let text = line.map(|line| format!(", {}", display::beginning(line.trim(), MAX_CHARS)));
    format!("; the longest took {took}{place}{}", text.unwrap_or_default())
}

/// Nodes that never ran in parallel, and the possible saving. They need at least the time of the longest chain of dependencies, and
/// at least their processor time divided by the number of cores: queries that keep all cores busy take as long in parallel as in
/// sequence.
fn serial_nodes(report: &Report, timeline: &Timeline, run_ms: f64) -> Option<Finding> {
    const AT_ONCE: f64 = 1.05;
    if timeline.parallelism >= AT_ONCE || timeline.critical_path.len() < 2 {
        return None;
    }
    let processors_ms = report.processor_time().map_or(0.0, |time| run_ms * time.used_of_fair_share());
    let at_least_ms = timeline.critical_path_ms.max(processors_ms);
    let summary = format!(
        "Nodes ran one after another. Those that do not need each other could run at once: the longest chain of \
         dependencies takes {} of {}.",
        display::duration(timeline.critical_path_ms),
        display::duration(timeline.busy_ms)
    );
    let finding = Finding::new(FindingKind::SerialNodes, Level::Note, summary)
        .milliseconds("nodes ran", timeline.busy_ms)
        .milliseconds("longest chain", timeline.critical_path_ms)
        .milliseconds("processors busy", processors_ms)
        .evidence("nodes at once", timeline.parallelism, Unit::Number);
    Some(finding.at_stake(timeline.busy_ms - at_least_ms))
}

fn idle(timeline: &Timeline, run_ms: f64) -> Option<Finding> {
    let gap = timeline.longest_idle.as_ref()?;
    let place = match (&gap.after, &gap.before) {
        (Some(after), Some(before)) => format!("between {after} and {before}"),
        (Some(after), None) => format!("after {after}"),
        (None, Some(before)) => format!("before {before}"),
        (None, None) => "alone".to_owned(),
    };
    let summary = format!(
        "Idle: no node ran for {} of the run; the longest time was {} {place}.",
        display::percent(timeline.long_idle_ms / run_ms),
        display::duration(gap.duration_ms)
    );
    let finding = Finding::new(FindingKind::Idle, Level::Note, summary);
    let finding = finding.node(gap.after.as_deref().or(gap.before.as_deref()));
    let finding = finding.milliseconds("idle", timeline.long_idle_ms);
    Some(finding.milliseconds("longest gap", gap.duration_ms).at_stake(timeline.long_idle_ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        findings::planted::{found_in, report},
        report::IdleGap,
    };

    fn found(change: impl FnOnce(&mut Timeline)) -> Vec<Finding> {
        found_with(|_| (), change)
    }

    fn found_with(machine: impl FnOnce(&mut Report), change: impl FnOnce(&mut Timeline)) -> Vec<Finding> {
        let mut report = report();
        machine(&mut report);
        let mut timeline = Timeline {
            busy_ms: 9_900.0,
            setup_ms: 50.0,
            idle_ms: 50.0,
            ending_ms: 0.0,
            long_idle_ms: 0.0,
            longest_idle: Some(IdleGap {
                after: Some("a".into()),
                before: Some("b".into()),
                start_ms: 100.0,
                duration_ms: 900.0,
            }),
            parallelism: 1.0,
            critical_path: vec!["a".into(), "b".into()],
            critical_path_ms: 9_000.0,
            critical_steps: Vec::new(),
            concurrency: Vec::new(),
            idle_gaps: Vec::new(),
            short_gaps: 0,
        };
        change(&mut timeline);
        report.timeline = Some(timeline);
        found_in(&report, [])
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Timeline), kind: FindingKind, summary: &str) {
        let found = found(change);
        assert_eq!(found.iter().map(|finding| finding.kind).collect::<Vec<_>>(), [kind]);
        assert!(found[0].summary.contains(summary), "{}", found[0].summary);
    }

    #[test]
    fn idle_time_setup_and_nodes_in_a_row_are_found_where_they_matter() {
        let summary = "no node ran for 20 % of the run; the longest time was 900 ms between a and b";
        check(|timeline| timeline.long_idle_ms = 2_000.0, FindingKind::Idle, summary);
        assert_eq!(found(|timeline| timeline.long_idle_ms = 1_999.0), []);
        check(|timeline| timeline.setup_ms = 1_001.0, FindingKind::Setup, "took 1.00 s (10 % of the run)");
        assert_eq!(found(|timeline| timeline.setup_ms = 1_000.0), []);
        let summary = "chain of dependencies takes 7.90 s of 9.90 s";
        check(|timeline| timeline.critical_path_ms = 7_900.0, FindingKind::SerialNodes, summary);
        assert_eq!(found(|timeline| timeline.critical_path_ms = 7_901.0), []);
    }

    #[test]
    fn setup_names_its_longest_statement_and_is_a_warning_where_it_is_most_of_the_run() {
        let setup = |statement: Option<&str>, setup_ms| {
            let longest = |report: &mut Report| {
                report.longest_setup = Some(LongestSetup {
                    duration_ms: 8_000.0,
                    statement: statement.map(str::to_owned),
                    place: Some("s/shop.sql:2".into()),
                });
                report.nodes[0].duration_ms = Some(74.0);
            };
            let found = found_with(longest, |timeline| timeline.setup_ms = setup_ms);
            (found[0].level, found[0].summary.clone())
        };
        assert_eq!(
            setup(Some("\nEXPLAIN ANALYZE\nSELECT 1"), 9_000.0),
            (
                Level::Warning,
                "Setup: statements without a node took 9.00 s (90 % of the run); the longest took 8.00 s at s/shop.sql:2, \
                 EXPLAIN ANALYZE."
                    .to_owned()
            )
        );
        let (level, summary) = setup(None, 1_900.0);
        assert!(level == Level::Note && summary.ends_with("took 8.00 s at s/shop.sql:2."), "{summary}");
    }

    #[test]
    fn nodes_at_once_are_a_number() {
        let found = found(|timeline| timeline.critical_path_ms = 7_900.0);
        let words = found[0].evidence_in_words();
        assert!(words.ends_with("nodes at once 1.0"), "{words}");
    }

    #[test]
    fn nodes_that_keep_the_cores_busy_take_as_long_at_once() {
        let run = |cpu_seconds, idle_share| {
            let machine = |report: &mut Report| {
                let heartbeat = report.heartbeat.as_mut().unwrap();
                (heartbeat.cpu_seconds, heartbeat.idle_share) = (cpu_seconds, idle_share);
            };
            let found = found_with(machine, |timeline| timeline.critical_path_ms = 1_000.0);
            let of_nodes = found.into_iter().filter(|finding| finding.kind == FindingKind::SerialNodes);
            of_nodes.filter_map(|finding| finding.at_stake_ms).map(f64::round).collect::<Vec<_>>()
        };
        // Four cores, ten seconds: 32 of 40 take at least 8 s, of 9.9 s.
        assert!(run(Some(32.0), None).is_empty());
        assert_eq!(run(Some(16.0), None), [5_900.0]);
        // Other processes used 20 of the 40: 16 of the 20 that were left.
        assert!(run(Some(16.0), Some(0.1)).is_empty());
        // Other processes used everything that was left, and it hardly asked for more.
        assert_eq!(run(Some(1.0), Some(0.0)), [8_900.0]);
        assert_eq!(run(None, None), [8_900.0]);
    }

    #[test]
    fn nodes_that_run_at_once_are_not_in_a_row() {
        let found = found(|timeline| {
            timeline.critical_path_ms = 1_000.0;
            timeline.parallelism = 1.05;
        });
        assert_eq!(found, []);
    }
}
