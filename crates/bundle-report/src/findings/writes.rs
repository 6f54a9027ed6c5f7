//! Writes that take most of a query, and outputs with many tiny files.

use daglight_finding_thresholds::FindingThresholds;
use daglight_run_bundle::saturating_sum;

use super::{Finding, FindingKind, Unit, plan_view::PlanView};
use crate::{display, level::Level, report::Report};

/// The maximum number of concurrent requests of a writer (`BufWriter` of `object_store`). They are measured individually, and their
/// elapsed time is at least their sum divided by this.
const REQUESTS_AT_ONCE: u64 = 8;

pub(crate) fn of_plan(plan: &PlanView<'_>, thresholds: &FindingThresholds, found: &mut Vec<Finding>) {
    for (position, _) in plan.operators().filter(|(_, operator)| operator.name == "DataSinkExec") {
        let written = [encoding(plan, position, thresholds), storing(plan, position, thresholds)];
        let at_stake = |finding: &Finding| finding.at_stake_ms.unwrap_or(0.0);
        let slower = written.into_iter().flatten().max_by(|a, b| at_stake(a).total_cmp(&at_stake(b)));
        let bytes = plan.bundle.metrics.bytes_written;
        found.extend(slower.map(|finding| {
            bytes
                .into_iter()
                .fold(finding, |finding, bytes| finding.bytes("bytes as the sink counted them", bytes))
        }));
    }
}

/// Encoding and compressing rows, which a Parquet sink measures.
fn encoding(plan: &PlanView<'_>, position: usize, thresholds: &FindingThresholds) -> Option<Finding> {
    let all_ms: f64 = plan.operators().map(|(position, _)| plan.total_ms(position)).sum();
    let part = plan.total_ms(position) / all_ms;
    let total_ms = plan.total_ms(position);
    let wall_ms = plan.bundle.metrics.wall_ms;
    // Columns are encoded in separate tasks, which add up to more than the query took. Of its time, writing is the part that it is of
    // the computing.
    let time_ms = if total_ms > wall_ms { part * wall_ms } else { plan.time_ms(position) };
    // Writing is the purpose of such a query: only a long one is listed.
    if part.is_nan() || part < thresholds.writing || time_ms < thresholds.waiting_ms {
        return None;
    }
    let summary = format!(
        "Writing took {} of what {} computed: {}.",
        display::percent(part),
        plan.place(),
        if total_ms > wall_ms {
            format!("{} over all its tasks", display::duration(total_ms))
        } else {
            display::duration(time_ms)
        }
    );
    let finding = Finding::of_plan(FindingKind::SlowWrite, plan, Some(position), summary);
    Some(finding.evidence("part of the computing", part, Unit::Part).at_stake(time_ms))
}

/// Waiting for the storage to accept written data.
fn storing(plan: &PlanView<'_>, position: usize, thresholds: &FindingThresholds) -> Option<Finding> {
    let puts = || plan.bundle.storage.iter().filter(|used| used.operation == "put");
    let executions = plan.bundle.executions.as_ref().map_or(1, |sums| sums.started.max(1));
    let requests = saturating_sum(puts().map(|used| used.requests)) / executions;
    let sum_ms: f64 = puts().map(|used| used.ms).sum::<f64>() / executions as f64;
    let time_ms = plan.within(sum_ms / requests.clamp(1, REQUESTS_AT_ONCE) as f64);
    let part = time_ms / plan.bundle.metrics.wall_ms;
    if part.is_nan() || part < thresholds.writing || time_ms < thresholds.waiting_ms {
        return None;
    }
    let summary = format!(
        "{} waited for the storage to take what it wrote for {} of its time: {}.",
        plan.place_as_subject(),
        display::percent(part),
        display::duration(time_ms)
    );
    let finding = Finding::of_plan(FindingKind::SlowWrite, plan, Some(position), summary);
    let finding = finding.evidence("part of the query's time", part, Unit::Part).count("requests", requests);
    Some(finding.at_stake(time_ms))
}

/// Outputs with many tiny files.
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
    use daglight_run_bundle::{Artifact, Materialization, PlanExecutions, StorageUse};

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
    fn a_write_in_several_tasks_takes_its_part_of_the_query() {
        let write = Plan::new().operator(None, "DataSinkExec", 1).compute(1_190.0);
        let write = write.scan(Some(0), "a", 100).compute(350.0).with(|plan| plan.metrics.wall_ms = 888.0);
        let found = found_in(&report(), [write]);
        let summary = "Writing took 77 % of what node orders computed: 1.19 s over all its tasks.";
        assert_eq!((found[0].kind, &*found[0].summary), (FindingKind::SlowWrite, summary));
        let at_stake_ms = found[0].at_stake_ms.unwrap();
        assert!((at_stake_ms - 888.0 * 1_190.0 / 1_540.0).abs() < 1e-6, "{at_stake_ms}");
    }

    #[test]
    fn a_write_is_slow_where_the_storage_takes_most_of_its_time() {
        // The sinks for CSV and JSON have no metrics.
        let write = |operation: &str, requests, ms| {
            let plan = Plan::new().operator(None, "DataSinkExec", 1).compute(0.0).scan(Some(0), "a", 100);
            plan.with(|plan| {
                let (store, operation) = ("s3://lake".to_owned(), operation.to_owned());
                plan.storage = vec![StorageUse { store, operation, requests, ms, ..StorageUse::default() }];
            })
        };
        let parts =
            ["Node orders waited for the storage to take what it wrote for 50 % of its time: 1.00 s."];
        check(write("put", 1, 1_000.0), FindingKind::SlowWrite, "DataSinkExec", &parts);
        check(write("put", 40, 8_000.0), FindingKind::SlowWrite, "DataSinkExec", &parts);
        check_quiet(write("put", 1, 999.0));
        check_quiet(write("put", 40, 7_999.0));
        check_quiet(write("get", 1, 1_000.0));
        let twice = PlanExecutions { started: 2, ..PlanExecutions::default() };
        check_quiet(write("put", 2, 1_999.0).with(|plan| plan.executions = Some(twice)));
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
                files_before: None,
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
