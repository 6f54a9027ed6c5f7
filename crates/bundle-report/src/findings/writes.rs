//! Writes that take most of a query, and outputs of many tiny files.

use daglight_finding_thresholds::FindingThresholds;

use super::{Finding, FindingKind, Unit, plan_view::PlanView};
use crate::{display, level::Level, report::Report};

pub(crate) fn of_plan(plan: &PlanView<'_>, thresholds: &FindingThresholds, found: &mut Vec<Finding>) {
    let all_ms: f64 = plan.operators().filter_map(|(_, operator)| operator.elapsed_compute_ms).sum();
    for (position, operator) in plan.operators().filter(|(_, operator)| operator.name == "DataSinkExec") {
        let part = operator.elapsed_compute_ms.unwrap_or(0.0) / all_ms;
        let time_ms = plan.time_ms(position);
        // Writing is what such a query is for: only a long one is worth a word.
        if part.is_nan() || part < thresholds.writing || time_ms < thresholds.waiting_ms {
            continue;
        }
        let summary = format!(
            "Writing took {} of what {} computed: {}.",
            display::percent(part),
            plan.place(),
            display::duration(time_ms)
        );
        let finding = Finding::of_plan(FindingKind::SlowWrite, plan, Some(position), summary);
        let finding = finding.evidence("part of the computing", part, Unit::Part);
        let bytes = plan.bundle.metrics.bytes_written;
        let finding = bytes
            .into_iter()
            .fold(finding, |finding, bytes| finding.bytes("bytes as the sink counted them", bytes));
        found.push(finding.at_stake(time_ms));
    }
}

/// Outputs of many tiny files.
pub(crate) fn of_run(report: &Report, thresholds: &FindingThresholds) -> Vec<Finding> {
    let tiny = report.artifacts.iter().filter_map(|artifact| {
        let files = artifact.files.filter(|files| *files >= thresholds.output_files)?;
        let bytes = artifact.bytes.filter(|bytes| bytes / files < thresholds.small_file_bytes)?;
        let summary = format!(
            "Output {} consists of {} of {} on average.",
            artifact.name,
            display::plural(files, "file"),
            display::bytes(bytes / files)
        );
        let finding = Finding::new(FindingKind::TinyOutputFiles, Level::Warning, summary);
        Some(finding.node(artifact.node.as_deref()).count("files", files).bytes("bytes", bytes))
    });
    let mut found: Vec<Finding> = tiny.collect();
    found.sort_by_key(|finding| std::cmp::Reverse(finding.evidence[0].value as u64));
    Finding::listed(found, thresholds.max_per_kind, 0)
}

#[cfg(test)]
mod tests {
    use daglight_run_bundle::{Artifact, Materialization};

    use super::*;
    use crate::findings::planted::{Plan, check, check_quiet, found_in, report};

    #[test]
    fn a_write_is_slow_where_it_takes_most_of_a_query() {
        let write = |write_ms, scan_ms| {
            let plan = Plan::new().operator(None, "DataSinkExec", 1).compute(write_ms);
            plan.scan(Some(0), "a", 100).compute(scan_ms)
        };
        let parts = ["Writing took 50 % of what node orders computed: 500 ms"];
        check(write(500.0, 499.0), FindingKind::SlowWrite, "DataSinkExec", &parts);
        check_quiet(write(400.0, 401.0));
        check_quiet(write(499.0, 1.0));
    }

    #[test]
    fn many_files_of_an_output_are_too_many_where_they_are_tiny() {
        let output = |files, bytes| {
            let mut report = report();
            report.artifacts = vec![Artifact {
                name: "daily".into(),
                node: Some("save".into()),
                materialization: Materialization::Parquet,
                location: Some("out/daily".into()),
                format: None,
                rows: None,
                bytes: Some(bytes),
                files: Some(files),
                schema: Vec::new(),
                schema_hash: None,
                plan_signature: None,
                signature: None,
                run_id: report.identity.as_ref().unwrap().run_id,
                written_at: crate::fixture::start(),
            }];
            found_in(&report, [])
        };
        let found = output(50, 50_000);
        assert_eq!((found[0].kind, found[0].node.as_deref()), (FindingKind::TinyOutputFiles, Some("save")));
        assert_eq!(found[0].summary, "Output daily consists of 50 files of 1.0 kB on average.");
        assert_eq!(output(49, 1), []);
        assert_eq!(output(50, 50 << 20), []);
    }
}
