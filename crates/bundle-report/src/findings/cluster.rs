//! Tasks of a cluster: uneven ones, ones that were late, workers that did nothing, and rows that went over the network.

use std::collections::BTreeMap;

use daglight_finding_thresholds::FindingThresholds;
use daglight_run_bundle::{ClusterStage, ClusterTask, ClusterWork, saturating_sum};

use super::{Finding, FindingKind, Unit, plan_view::PlanView};
use crate::display;

pub(crate) fn of_plan(plan: &PlanView<'_>, thresholds: &FindingThresholds, found: &mut Vec<Finding>) {
    let Some(work) = &plan.bundle.metrics.cluster else { return };
    let mut is_uneven = false;
    for stage in &work.stages {
        let uneven = uneven(plan, stage, thresholds);
        // Who has more to do ends later: that is said once.
        let late = if uneven.is_none() { straggler(plan, stage, thresholds) } else { None };
        is_uneven |= uneven.is_some();
        found.extend(uneven.or(late));
    }
    // Where one task has it all, the others have nothing.
    if !is_uneven {
        found.extend(idle_worker(plan, work, thresholds));
    }
    found.extend(shuffled(plan, work, thresholds));
}

/// A stage of which one task computed most.
fn uneven(plan: &PlanView<'_>, stage: &ClusterStage, thresholds: &FindingThresholds) -> Option<Finding> {
    let left_out = stage.left_out.clone().unwrap_or_default();
    let count = stage.tasks.len() as u64 + left_out.tasks;
    let tasks = count as f64;
    let all_ms = stage.tasks.iter().map(compute_ms).sum::<f64>() + left_out.compute_ms.max(0.0);
    let most = stage.tasks.iter().max_by(|a, b| compute_ms(a).total_cmp(&compute_ms(b)))?;
    if tasks < 2.0 || all_ms <= 0.0 {
        return None;
    }
    let even = 1.0 / tasks;
    // As of partitions: from 0 (even) to 1 (all in one task).
    let score = ((compute_ms(most) / all_ms - even) / (1.0 - even)).clamp(0.0, 1.0);
    if score < thresholds.task_skew {
        return None;
    }
    let summary = format!(
        "Task {} of stage {} of {}{} computed {} of the {} that all {} tasks computed.",
        most.task,
        stage.stage,
        plan.place(),
        on(most),
        display::duration(compute_ms(most)),
        display::duration(all_ms),
        count,
    );
    Some(
        Finding::of_plan(FindingKind::TaskSkew, plan, None, summary)
            .evidence("skew", score, Unit::Part)
            .milliseconds("computed by the task", compute_ms(most))
            .milliseconds("computed by all", all_ms)
            .at_stake(plan.within(compute_ms(most) - all_ms * even)),
    )
}

/// A task that ended long after the others of its stage, and did not have more to do.
fn straggler(plan: &PlanView<'_>, stage: &ClusterStage, thresholds: &FindingThresholds) -> Option<Finding> {
    let last = stage.tasks.iter().max_by(|a, b| took_ms(a).total_cmp(&took_ms(b)))?;
    let mut others: Vec<f64> =
        stage.tasks.iter().filter(|task| task.task != last.task).map(took_ms).collect();
    others.sort_by(f64::total_cmp);
    let median = *others.get(others.len() / 2)?;
    // With more to read or to return, it may take longer by as much.
    let expected = median * times_the_work(last, stage);
    if took_ms(last) < expected * thresholds.straggler {
        return None;
    }
    let summary = format!(
        "Task {} of stage {} of {}{} took {}, and half of the others no more than {}.",
        last.task,
        stage.stage,
        plan.place(),
        on(last),
        display::duration(took_ms(last)),
        display::duration(median),
    );
    Some(
        Finding::of_plan(FindingKind::Straggler, plan, None, summary)
            .milliseconds("of the task", took_ms(last))
            .milliseconds("median of the others", median)
            .at_stake(plan.within(took_ms(last) - expected)),
    )
}

/// How many times as much as the others of its stage a task had to do by the rows and the bytes of both, and at least 1. Computing time does
/// not tell: a slow worker computes longer for the same rows.
fn times_the_work(task: &ClusterTask, stage: &ClusterStage) -> f64 {
    let times = |amount: fn(&ClusterTask) -> Option<u64>, least: u64| {
        let mut others: Vec<u64> =
            stage.tasks.iter().filter(|other| other.task != task.task).filter_map(amount).collect();
        others.sort_unstable();
        let median = others.get(others.len() / 2).copied();
        let times = |(of_task, median): (u64, u64)| of_task.max(least) as f64 / median.max(least) as f64;
        amount(task).zip(median).map_or(1.0, times)
    };
    let rows = times(|task| task.rows, BATCH_ROWS);
    let bytes = times(|task| task.bytes_received, BATCH_BYTES);
    rows.max(bytes).max(1.0)
}

/// Fewer rows or bytes than those of a batch take no measurable time, so one row does not excuse what another one does not.
const BATCH_ROWS: u64 = 8_192;
const BATCH_BYTES: u64 = 1_000_000;

/// A worker that computed hardly anything of a query that others computed.
fn idle_worker(plan: &PlanView<'_>, work: &ClusterWork, thresholds: &FindingThresholds) -> Option<Finding> {
    // Those that are left out may be all that a worker had, and so may those of which nobody says where they ran.
    let is_unknown = |stage: &ClusterStage| {
        stage.left_out.is_some() || stage.tasks.iter().any(|task| task.worker.is_empty())
    };
    if work.stages.iter().any(is_unknown) {
        return None;
    }
    let mut by_worker: BTreeMap<&str, f64> =
        work.workers.iter().map(|worker| (worker.as_str(), 0.0)).collect();
    for (_, task) in work.tasks() {
        *by_worker.entry(&task.worker).or_default() += compute_ms(task);
    }
    let workers = by_worker.len() as f64;
    let all_ms: f64 = by_worker.values().sum();
    if work.stages.is_empty() || workers < 2.0 {
        return None;
    }
    let is_idle = |ms: &f64| *ms < all_ms / workers * thresholds.idle_worker;
    let idle: Vec<String> = by_worker
        .iter()
        .filter(|(_, ms)| is_idle(ms))
        .map(|(worker, _)| display::name(worker).into_owned())
        .collect();
    let busy = workers - idle.len() as f64;
    if idle.is_empty() {
        return None;
    }
    let summary = format!(
        "{} of the {} workers computed hardly anything of {}: {}.",
        idle.len(),
        by_worker.len(),
        plan.place(),
        idle.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", "),
    );
    // Spread over all of them, what was computed would have taken the part of the time that the busy ones are.
    let saved = plan.within(all_ms / busy - all_ms / workers);
    Some(
        Finding::of_plan(FindingKind::IdleWorker, plan, None, summary)
            .count("idle workers", idle.len() as u64)
            .count("workers", by_worker.len() as u64)
            .at_stake(saved),
    )
}

/// Workers that a sentence names.
const SHOWN: usize = 5;

/// Rows that the workers sent each other, in bytes.
fn shuffled(plan: &PlanView<'_>, work: &ClusterWork, thresholds: &FindingThresholds) -> Option<Finding> {
    let left_out = work.stages.iter().filter_map(|stage| Some(stage.left_out.as_ref()?.bytes_received));
    let bytes = saturating_sum(work.tasks().filter_map(|(_, task)| task.bytes_received).chain(left_out));
    if bytes < thresholds.shuffle_bytes {
        return None;
    }
    let is_network = |position: &usize| {
        let name = &*plan.operator(*position).name;
        name.starts_with("Network") || name.ends_with("ShuffleReaderExec")
    };
    let positions = plan.operators().map(|(position, _)| position);
    let waited: f64 = positions.filter(is_network).map(|position| plan.time_ms(position)).sum();
    let summary = format!("The workers sent each other {} for {}.", display::bytes(bytes), plan.place());
    Some(
        Finding::of_plan(FindingKind::ShuffleVolume, plan, None, summary)
            .bytes("bytes between workers", bytes)
            .at_stake(plan.within(waited)),
    )
}

/// Where it ran, as far as that is known.
fn on(task: &ClusterTask) -> String {
    match task.worker.as_str() {
        "" => String::new(),
        worker => format!(", on {},", display::name(worker)),
    }
}

fn compute_ms(task: &ClusterTask) -> f64 {
    task.compute_ms.filter(|ms| ms.is_finite()).unwrap_or(0.0).max(0.0)
}

/// How long rows were asked for until all were given.
fn took_ms(task: &ClusterTask) -> f64 {
    let took = task.ended_ms.zip(task.started_ms).map(|(ended, started)| ended - started);
    took.filter(|ms| ms.is_finite()).unwrap_or(0.0).max(0.0)
}

#[cfg(test)]
mod tests {
    use daglight_run_bundle::TasksLeftOut;

    use super::*;
    use crate::findings::planted::{Plan, check_quiet, found};

    /// A stage with a task for each worker: the milliseconds that it computed and took, and the bytes that it received.
    fn stage<const N: usize>(tasks: [(f64, f64, u64); N]) -> Plan {
        let tasks = tasks.into_iter().enumerate().map(|(task, (compute_ms, took_ms, bytes))| ClusterTask {
            task: task as u64,
            worker: format!("worker-{task}:9400"),
            started_ms: Some(5.0),
            ended_ms: Some(5.0 + took_ms),
            compute_ms: Some(compute_ms),
            bytes_received: Some(bytes),
            ..ClusterTask::default()
        });
        let tasks: Vec<ClusterTask> = tasks.collect();
        let workers = tasks.iter().map(|task| task.worker.clone()).collect();
        let stages = vec![ClusterStage { stage: 1, tasks, left_out: None }];
        let plan = Plan::new().operator(None, "NetworkShuffleExec", 10).compute(3_600.0).partitions(4);
        plan.with(|plan| {
            plan.metrics.cluster = Some(ClusterWork { stages, workers, ..ClusterWork::default() })
        })
    }

    #[track_caller]
    fn check(plan: Plan, kind: FindingKind, at_stake_ms: f64, part: &str) {
        let found = found([plan]);
        let [finding] = &found[..] else { panic!("{found:#?}") };
        assert_eq!((finding.kind, finding.at_stake_ms), (kind, Some(at_stake_ms)), "{finding:#?}");
        assert!(finding.summary.contains(part), "{finding:#?}");
    }

    #[test]
    fn a_task_with_most_of_the_work_is_uneven_and_not_late() {
        let part = "Task 1 of stage 1 of node orders, on worker-1:9400, computed 1.60 s of the 2.00 s";
        check(stage([(400.0, 400.0, 0), (1_600.0, 1_900.0, 0)]), FindingKind::TaskSkew, 600.0, part);
        check_quiet(stage([(900.0, 1_000.0, 0), (1_000.0, 1_000.0, 0)]));
        check_quiet(stage([(1_600.0, 1_900.0, 0)]));
    }

    #[test]
    fn a_task_that_is_late_with_as_much_to_do_is_a_straggler() {
        let part = "on worker-2:9400, took 1.90 s, and half of the others no more than 900 ms";
        let tasks = [(500.0, 600.0, 0), (500.0, 900.0, 0), (500.0, 1_900.0, 0)];
        check(stage(tasks), FindingKind::Straggler, 1_000.0, part);
        check_quiet(stage([(500.0, 600.0, 0), (500.0, 1_100.0, 0)]));
    }

    #[test]
    fn a_task_that_takes_longer_because_it_has_more_rows_is_no_straggler() {
        let with = |set: fn(&mut ClusterTask, u64), amounts: [u64; 3]| {
            // They took longer for files than for computing.
            stage([(0.1, 600.0, 0), (0.1, 900.0, 0), (0.1, 1_900.0, 0)]).with(|plan| {
                let work = plan.metrics.cluster.as_mut().unwrap();
                let tasks = work.stages[0].tasks.iter_mut().zip(amounts);
                tasks.for_each(|(task, amount)| set(task, amount));
            })
        };
        let set_rows: fn(&mut ClusterTask, u64) = |task, rows| task.rows = Some(rows);
        let set_bytes: fn(&mut ClusterTask, u64) = |task, bytes| task.bytes_received = Some(bytes);
        check_quiet(with(set_rows, [200_000, 200_000, 1_100_000]));
        check_quiet(with(set_bytes, [2_000_000, 2_000_000, 11_000_000]));
        let part = "Task 2 of stage 1 of node orders, on worker-2:9400, took 1.90 s";
        // What is longer than its rows explain is late, and so is one with a few rows more than none.
        check(with(set_rows, [200_000, 200_000, 202_000]), FindingKind::Straggler, 991.0, part);
        check(with(set_rows, [0, 0, 5]), FindingKind::Straggler, 1_000.0, part);
    }

    #[test]
    fn a_worker_without_work_is_named() {
        let part = "1 of the 3 workers computed hardly anything of node orders: worker-2:9400";
        let tasks = [(1_800.0, 1_900.0, 0), (1_800.0, 1_900.0, 0), (0.0, 1_900.0, 0)];
        check(stage(tasks), FindingKind::IdleWorker, 600.0, part);
    }

    #[test]
    fn where_a_task_ran_is_not_said_where_nobody_knows_it() {
        let unknown = |plan: Plan| {
            plan.with(|plan| {
                let work = plan.metrics.cluster.as_mut().unwrap();
                work.stages[0].tasks.iter_mut().for_each(|task| task.worker.clear());
            })
        };
        let part = "Task 2 of stage 1 of node orders took 1.90 s, and";
        let tasks = [(500.0, 600.0, 0), (500.0, 900.0, 0), (500.0, 1_900.0, 0)];
        check(unknown(stage(tasks)), FindingKind::Straggler, 1_000.0, part);
        let part = "Task 1 of stage 1 of node orders computed 1.60 s";
        let tasks = [(400.0, 400.0, 0), (1_600.0, 1_900.0, 0)];
        check(unknown(stage(tasks)), FindingKind::TaskSkew, 600.0, part);
        // The tasks that nobody places may be those of the worker that has none.
        check_quiet(unknown(stage([(1_800.0, 1_900.0, 0), (1_800.0, 1_900.0, 0), (0.0, 1_900.0, 0)])));
    }

    #[test]
    fn many_bytes_between_workers_are_said_with_the_time_that_they_took() {
        let part = "The workers sent each other 200 MB for node orders";
        let half = 100_000_000;
        check(stage([(500.0, 600.0, half), (500.0, 600.0, half)]), FindingKind::ShuffleVolume, 900.0, part);
        check_quiet(stage([(500.0, 600.0, 1_000), (500.0, 600.0, 1_000)]));
    }

    #[test]
    fn tasks_that_are_left_out_count_and_make_no_worker_idle() {
        let left_out = TasksLeftOut { tasks: 8, compute_ms: 16_000.0, ..TasksLeftOut::default() };
        let with_more = |plan: Plan| {
            plan.with(|plan| {
                let work = plan.metrics.cluster.as_mut().unwrap();
                work.stages[0].left_out = Some(left_out.clone());
            })
        };
        // By itself, one of them is uneven, or a worker idle.
        check_quiet(with_more(stage([(400.0, 1_900.0, 0), (1_600.0, 1_900.0, 0)])));
        check_quiet(with_more(stage([(1_800.0, 1_900.0, 0), (1_800.0, 1_900.0, 0), (0.0, 1_900.0, 0)])));
    }
}
