//! Idle cores: a single partition, too many of them, and an idle processor.

use daglight_finding_thresholds::FindingThresholds;

use daglight_run_bundle::PlanOperator;

use super::{Finding, FindingKind, Unit, joins::is_without_equality, plan_view::PlanView};
use crate::{display, level::Level, report::Report};

/// The evidence with which it is decided at the end, when the number of cores is known, whether there are too many partitions.
const PARTITIONS: &str = "partitions";

pub(crate) fn of_plan(plan: &PlanView<'_>, thresholds: &FindingThresholds, found: &mut Vec<Finding>) {
    for (position, operator) in plan.operators() {
        let Some(partitions) = operator.partitions else { continue };
        let time_ms = plan.time_ms(position);
        let rows = operator.output_rows.unwrap_or(0);
        // Built lazily, because nearly no operator is a finding.
        let what = || format!("{} in {}", plan.name(position), plan.place());
        // The time of an operator by which rows come from other machines is theirs.
        let is_one = match plan.is_on_cluster(position) {
            _ if plan.is_received(position) => false,
            true => is_in_one_partition(operator),
            false => partitions == 1,
        };
        // A scan that could not be divided is a different finding.
        if is_one
            && time_ms >= thresholds.waiting_ms
            && !is_sink(&operator.name)
            && !is_huge_scan(plan, position, thresholds)
            && !is_without_equality(&operator.name)
        {
            let summary = format!(
                "{} computed for {} in one partition, on one core.",
                what(),
                display::duration(time_ms)
            );
            let finding = Finding::of_plan(FindingKind::SingleThreaded, plan, Some(position), summary);
            found.push(finding.milliseconds("computed", time_ms).count("rows", rows).at_stake(time_ms));
        }
        // How many cores the workers of a cluster have is not known.
        if operator.name == "RepartitionExec"
            && !plan.is_on_cluster(position)
            && partitions > thresholds.partitions_per_core
            && rows / partitions < thresholds.rows_per_partition
        {
            let summary =
                format!("{} spread {} over {partitions} partitions.", what(), display::plural(rows, "row"));
            let finding = Finding::of_plan(FindingKind::TooManyPartitions, plan, Some(position), summary);
            let wall_ms = plan.bundle.metrics.wall_ms;
            found.push(finding.count("rows", rows).count(PARTITIONS, partitions).at_stake(wall_ms));
        }
    }
}

/// Whether one task of a cluster has executed an operator in one partition. Tasks that did not come to their end do not say in how many.
fn is_in_one_partition(operator: &PlanOperator) -> bool {
    matches!(&operator.partition_metrics[..], [only] if only.task.is_some() && only.partition.is_some())
}

/// Whether the partitions of a finding are too many for the cores of the machine.
pub(crate) fn are_too_many(finding: &Finding, cores: Option<u64>, thresholds: &FindingThresholds) -> bool {
    let partitions = finding.evidence.iter().find(|evidence| evidence.what == PARTITIONS);
    partitions.zip(cores).is_some_and(|(partitions, cores)| {
        partitions.value > (cores.saturating_mul(thresholds.partitions_per_core)) as f64
    })
}

fn is_sink(name: &str) -> bool {
    name == "DataSinkExec"
}

fn is_huge_scan(plan: &PlanView<'_>, position: usize, thresholds: &FindingThresholds) -> bool {
    plan.operator(position).is_scan
        && plan.bytes_read(position).is_some_and(|bytes| bytes >= thresholds.huge_bytes)
}

/// A run that used little of the processor.
pub(crate) fn of_run(report: &Report, thresholds: &FindingThresholds) -> Option<Finding> {
    // What the client did not compute, the workers did.
    if report.has_queries_on_cluster() {
        return None;
    }
    let cores = report.cores().filter(|cores| *cores > 1)?;
    let run_ms = report.duration_ms.filter(|run_ms| *run_ms >= thresholds.cpu_run_ms)?;
    let time = report.processor_time()?;
    let cpu_ms = time.cpu_ms;
    let used = cpu_ms / (run_ms * cores as f64);
    if used >= thresholds.cpu_used || time.used() >= thresholds.cpu_used {
        return None;
    }
    let threads = if report.is_on_one_thread() { " It was told to compute on one thread." } else { "" };
    let summary = format!(
        "The run used {} of {cores} cores: {} of processor time in {}.{threads}",
        display::percent(used),
        display::duration(cpu_ms),
        display::duration(run_ms)
    );
    let finding = Finding::new(FindingKind::WastedCores, Level::Note, summary);
    Some(
        finding
            .count("cores", cores)
            .milliseconds("processor time", cpu_ms)
            .evidence("used", used, Unit::Part)
            // With full use, its processor time would have taken this share of the time.
            .at_stake(run_ms * (1.0 - time.used())),
    )
}

#[cfg(test)]
mod tests {
    use daglight_run_bundle::PlanBundle;

    use super::*;
    use crate::{
        findings::planted::{Plan, check, check_quiet, found_in, report},
        report::ClusterReport,
    };

    #[test]
    fn an_operator_in_one_partition_uses_one_core() {
        let sort = |ms, partitions| {
            Plan::new().operator(None, "SortExec", 5_000_000).compute(ms).partitions(partitions)
        };
        let parts = ["SortExec in node orders computed for 500 ms in one partition, on one core"];
        check(sort(500.0, 1), FindingKind::SingleThreaded, "SortExec", &parts);
        check_quiet(sort(499.0, 1));
        check_quiet(sort(1_000.0, 2));
        let mut one_core = report();
        one_core.identity.as_mut().unwrap().tags.insert("host.cpus".into(), "1".into());
        assert_eq!(found_in(&one_core, [sort(900.0, 1)]), []);
        let mut one_thread = report();
        one_thread.identity.as_mut().unwrap().tags.insert("option.threads".into(), "1".into());
        assert_eq!(found_in(&one_thread, [sort(900.0, 1)]), []);
    }

    #[test]
    fn an_operator_on_a_cluster_is_judged_by_its_tasks() {
        let sort = |name: &str| Plan::new().operator(None, name, 9).operator(Some(0), "SortExec", 5_000_000);
        let one = sort("NetworkShuffleExec").in_tasks([900]).on_cluster();
        check(
            one,
            FindingKind::SingleThreaded,
            "SortExec",
            &["computed for 900 ms in one partition, on one core"],
        );
        check_quiet(sort("NetworkShuffleExec").in_tasks([900, 900]).on_cluster());
        // Tasks that did not come to their end do not say which partitions they had.
        let unknown = |plan: &mut PlanBundle| {
            let metrics = &mut plan.metrics.operators[1].partition_metrics;
            metrics.iter_mut().for_each(|partition| partition.partition = None);
        };
        check_quiet(sort("NetworkShuffleExec").in_tasks([900]).on_cluster().with(unknown));
        check_quiet(sort("BallistaExec").compute(900.0).on_cluster());
        for name in ["NetworkShuffleExec", "NetworkCoalesceExec", "ShuffleReaderExec", "BallistaExec"] {
            check_quiet(Plan::new().operator(None, name, 5_000_000).compute(1_800.0).on_cluster());
        }
        let above =
            Plan::new().operator(None, "SortExec", 5).compute(900.0).operator(Some(0), "BallistaExec", 5);
        check(above.on_cluster(), FindingKind::SingleThreaded, "SortExec", &["900 ms in one partition"]);
        let spread = sort("BallistaExec").operator(Some(1), "RepartitionExec", 10).partitions(64);
        check_quiet(spread.on_cluster());
    }

    #[test]
    fn a_client_whose_queries_a_cluster_executes_wastes_no_cores() {
        let run = |queries_on_cluster| {
            let mut report = report();
            report.cluster = Some(ClusterReport { queries_on_cluster, ..ClusterReport::default() });
            let heartbeat = report.heartbeat.as_mut().unwrap();
            (heartbeat.cpu_seconds, heartbeat.idle_share) = (Some(1.0), Some(0.5));
            (found_in(&report, []), report.others_share())
        };
        assert_eq!(run(1), (Vec::new(), None));
        let (found, others) = run(0);
        assert_eq!(found[0].kind, FindingKind::WastedCores);
        assert!(others.is_some_and(|share| share > 0.4), "{others:?}");
    }

    #[test]
    fn more_partitions_than_there_are_rows_for_are_too_many() {
        let spread = |rows, partitions| {
            Plan::new().operator(None, "RepartitionExec", rows).compute(9.0).partitions(partitions)
        };
        let parts = ["spread 16,999 rows over 17 partitions"];
        check(spread(16_999, 17), FindingKind::TooManyPartitions, "RepartitionExec", &parts);
        check_quiet(spread(17_000, 17));
        check_quiet(spread(10, 16));
    }

    #[test]
    fn a_long_run_with_an_idle_processor_wastes_cores() {
        let run = |run_ms, cpu_seconds| {
            let mut report = report();
            report.duration_ms = Some(run_ms);
            report.heartbeat.as_mut().unwrap().cpu_seconds = Some(cpu_seconds);
            found_in(&report, [])
        };
        let found = run(10_000.0, 11.9);
        assert_eq!(found[0].kind, FindingKind::WastedCores);
        assert!(found[0].summary.contains("30 % of 4 cores"), "{found:#?}");
        assert_eq!(run(10_000.0, 12.0), []);
        assert_eq!(run(9_999.0, 0.1), []);
    }

    #[test]
    fn a_run_on_a_machine_that_others_use_wastes_nothing() {
        let run = |idle_share| {
            let mut report = report();
            report.duration_ms = Some(10_000.0);
            let heartbeat = report.heartbeat.as_mut().unwrap();
            // 6 of 40 seconds, on four cores.
            (heartbeat.cpu_seconds, heartbeat.idle_share) = (Some(6.0), idle_share);
            found_in(&report, [])
        };
        assert_eq!(run(Some(0.1)), []);
        // 6 of the 20 that were available are 30 %.
        assert_eq!(run(Some(0.35)), []);
        let found = run(Some(0.5));
        assert_eq!(found[0].kind, FindingKind::WastedCores);
        assert!(found[0].summary.contains("15 % of 4 cores"), "{found:#?}");
        // With all of the 26 seconds that were available, it would be done in 6/26 of the time.
        assert_eq!(found[0].at_stake_ms.map(f64::round), Some(7_692.0));
        assert_eq!(run(None)[0].kind, FindingKind::WastedCores);
    }
}
