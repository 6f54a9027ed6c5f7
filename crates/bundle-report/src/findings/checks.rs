//! Checks of the rows of nodes that did not pass.

use daglight_finding_thresholds::FindingThresholds;
use daglight_run_bundle::{CheckRecord, NodeStatus, RecordedOutcome};

use super::{Finding, FindingKind};
use crate::{
    display,
    level::Level,
    report::{NodeReport, Report},
};

pub(crate) fn of_run(report: &Report, thresholds: &FindingThresholds) -> Vec<Finding> {
    let checks = report.nodes.iter().flat_map(|node| node.checks.iter().map(move |check| (node, check)));
    // If a node failed for another reason, an undecided check is a consequence of that.
    let not_passed = checks.filter(|(node, check)| match check.outcome {
        RecordedOutcome::Passed => false,
        RecordedOutcome::Failed => true,
        RecordedOutcome::Undecided => node.status == NodeStatus::Success || node.error.is_none(),
    });
    let mut found: Vec<Finding> = not_passed.map(|(node, check)| finding(node, check)).collect();
    // Checks that made a node fail come first.
    found.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    Finding::listed(found, thresholds.max_per_kind, 0)
}

fn finding(node: &NodeReport, check: &CheckRecord) -> Finding {
    let level = if check.fails_the_node() { Level::Bad } else { Level::Warning };
    let CheckRecord { check: text, outcome, message, .. } = check;
    let summary =
        format!("The check {text} of node {} {}: {message}.", display::name(&node.name), in_words(*outcome));
    let finding = Finding::new(FindingKind::DataCheck, level, summary).node(Some(&node.name));
    let finding = check.rows.into_iter().fold(finding, |finding, rows| finding.count("rows", rows));
    check.failing.into_iter().fold(finding, |finding, rows| finding.count("rows that break it", rows))
}

fn in_words(outcome: RecordedOutcome) -> &'static str {
    match outcome {
        RecordedOutcome::Passed => "passed",
        RecordedOutcome::Failed => "failed",
        RecordedOutcome::Undecided => "is undecided",
    }
}

#[cfg(test)]
mod tests {
    use daglight_run_bundle::RecordedSeverity;

    use super::*;
    use crate::findings::planted::{found_in, report};

    #[test]
    fn checks_that_did_not_pass_are_found() {
        let check = |outcome, severity| CheckRecord {
            check: "unique(id)".into(),
            kind: "unique".into(),
            columns: vec!["id".into()],
            severity,
            outcome,
            rows: Some(9),
            failing: Some(2),
            message: "2 of 9 rows repeat a key".into(),
        };
        let mut report = report();
        report.nodes.push(NodeReport {
            checks: vec![
                check(RecordedOutcome::Passed, RecordedSeverity::Fail),
                check(RecordedOutcome::Failed, RecordedSeverity::Warn),
                check(RecordedOutcome::Undecided, RecordedSeverity::Fail),
                check(RecordedOutcome::Failed, RecordedSeverity::Fail),
            ],
            ..NodeReport::of_name("orders")
        });
        let found = found_in(&report, []);
        let levels: Vec<Level> = found.iter().map(|finding| finding.level).collect();
        assert_eq!(levels, [Level::Bad, Level::Warning, Level::Warning]);
        assert_eq!(found[0].summary, "The check unique(id) of node orders failed: 2 of 9 rows repeat a key.");
        assert_eq!((found[0].node.as_deref(), found[0].evidence.len()), (Some("orders"), 2));
        assert!(found[2].summary.contains("is undecided"), "{found:#?}");
        let node = report.nodes.last_mut().unwrap();
        (node.status, node.error) = (NodeStatus::Failure, Some("s.sql:3:1: orders: no number".into()));
        assert_eq!(found_in(&report, []).len(), 2);
    }
}
