//! How long an operator computed, according to the timers that its engine has for it.

use daglight_run_bundle::{COMPUTING_TIMERS, Metrics, PlanBundle, PlanOperator, saturating_sum};

use crate::display;

/// The timers among those of computing that are used if the common one has less.
const JOIN_TIMERS: &[&str] = COMPUTING_TIMERS[1];
/// The relative tolerance when comparing the sum of timers with the recorded time of an operator.
const TOLERANCE: f64 = 0.01;
/// If an operator ends within this many milliseconds before the end of its query, it has ended with the query.
const ENDED_BEFORE_MS: f64 = 0.01;

/// How long an operator computed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct OperatorTime {
    /// Summed over its partitions, which run in parallel.
    pub(crate) total_ms: f64,
    /// In the partition that computed longest; `None` if partitions are not distinguished.
    pub(crate) longest_ms: Option<f64>,
    /// Its waiting time, summed over its partitions; `None` if there is no timer for it.
    pub(crate) waited_ms: Option<f64>,
    partitions: u64,
    /// Whether it may have computed for longer: a timer counts a section only at its end, and neither the query nor the operator
    /// had ended.
    pub(crate) is_at_least: bool,
}

impl OperatorTime {
    /// The time of an operator of a plan; `None` if nothing was measured.
    pub(crate) fn of(plan: &PlanBundle, operator: &PlanOperator) -> Option<Self> {
        let recorded_ms = operator.computed_ms().filter(|ms| ms.is_finite() && *ms >= 0.0);
        let join_ms = sum_ms(&operator.metrics, JOIN_TIMERS);
        let total_ms = match recorded_ms {
            None if join_ms == 0.0 => return None,
            recorded => recorded.unwrap_or(0.0).max(join_ms),
        };
        let has_ended = plan.outcome.as_deref() == Some("completed")
            || operator.end_ms < plan.metrics.wall_ms - ENDED_BEFORE_MS;
        Some(Self {
            total_ms,
            longest_ms: longest_ms(operator, total_ms),
            waited_ms: operator.waited_ms(),
            partitions: operator.partition_count(),
            is_at_least: !has_ended,
        })
    }

    /// The time in one partition: in the longest one, or the average if partitions are not distinguished.
    pub(crate) fn in_partition_ms(self) -> f64 {
        self.longest_ms.unwrap_or(self.total_ms / self.partitions as f64)
    }
}

/// The time of the longest partition according to these timers, or the average if partitions are not distinguished.
pub(crate) fn timers_in_partition_ms(operator: &PlanOperator, timers: &[&str]) -> f64 {
    let mean_ms = sum_ms(&operator.metrics, timers) / operator.partition_count() as f64;
    longest_by(operator, timers).unwrap_or(mean_ms)
}

/// A time in words, such as `4.75 s in the longest of 4 partitions`.
pub(crate) fn in_words(longest_ms: Option<f64>, mean_ms: f64, partitions: u64) -> String {
    match longest_ms {
        _ if partitions <= 1 => display::duration(longest_ms.unwrap_or(mean_ms)),
        Some(ms) => format!("{} in the longest of {partitions} partitions", display::duration(ms)),
        None => format!("{} on average in each of {partitions} partitions", display::duration(mean_ms)),
    }
}

/// Uses the timers whose sum is the time of the operator: which ones depends on the operator, and is determined from the
/// measurements.
fn longest_ms(operator: &PlanOperator, total_ms: f64) -> Option<f64> {
    let is_sum = |timers: &&&[&str]| {
        (sum_ms(&operator.metrics, timers) - total_ms).abs() <= TOLERANCE * total_ms && total_ms > 0.0
    };
    longest_by(operator, COMPUTING_TIMERS.iter().find(is_sum)?)
}

fn longest_by(operator: &PlanOperator, timers: &[&str]) -> Option<f64> {
    let partitions = operator.partition_metrics.iter();
    partitions.map(|partition| sum_ms(&partition.metrics, timers)).max_by(f64::total_cmp)
}

fn sum_ms(metrics: &Metrics, timers: &[&str]) -> f64 {
    saturating_sum(timers.iter().filter_map(|timer| metrics.get(*timer)).copied()) as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::planted::Plan;

    const MS: u64 = 1_000_000;

    fn time_of(plan: Plan) -> OperatorTime {
        let plan = plan.bundle();
        OperatorTime::of(&plan, &plan.metrics.operators[0]).unwrap()
    }

    #[test]
    fn the_longest_partition_is_the_time_of_an_operator() {
        let uneven = Plan::new().operator(None, "AggregateExec", 5).compute(1_000.0).partitions(4);
        assert_eq!(time_of(uneven).in_partition_ms(), 250.0);
        let uneven = Plan::new().operator(None, "AggregateExec", 5).compute(1_000.0).partitions(4);
        let uneven = uneven.metric("elapsed_compute", 1_000 * MS).in_partitions([
            ("elapsed_compute", 970 * MS),
            ("elapsed_compute", 10 * MS),
            ("elapsed_compute", 10 * MS),
            ("elapsed_compute", 10 * MS),
        ]);
        assert_eq!(time_of(uneven).in_partition_ms(), 970.0);
    }

    #[test]
    fn the_timers_are_those_that_the_time_was_made_of() {
        let scan = Plan::new().scan(None, "a", 5).compute(80.0).partitions(2);
        let scan = scan.metric("elapsed_compute", MS).metric("time_elapsed_processing", 80 * MS);
        let scan = scan
            .in_partitions([("elapsed_compute", MS / 2), ("elapsed_compute", MS / 2)])
            .metric_in_partitions("time_elapsed_processing", [60 * MS, 20 * MS]);
        assert_eq!(time_of(scan).longest_ms, Some(60.0));
        // An older one, with something else included.
        let other = Plan::new().operator(None, "AggregateExec", 5).compute(80.0).partitions(2);
        let other = other.metric("elapsed_compute", MS).in_partitions([("elapsed_compute", MS)]);
        let time = time_of(other);
        assert_eq!((time.longest_ms, time.in_partition_ms()), (None, 40.0));
    }

    #[test]
    fn a_repartition_that_waits_for_those_above_it_computes_nothing() {
        let blocked = Plan::new().operator(None, "RepartitionExec", 5).compute(140_225.0).partitions(2);
        let blocked = blocked.metric("repartition_time", 9 * MS).metric("send_time", 140_216 * MS);
        let blocked = blocked.in_partitions([("repartition_time", 6 * MS), ("repartition_time", 3 * MS)]);
        let time = time_of(blocked);
        assert_eq!((time.total_ms, time.longest_ms, time.waited_ms), (9.0, Some(6.0), Some(140_216.0)));
    }

    #[test]
    fn a_join_that_runs_has_the_time_of_its_own_timers() {
        let join = Plan::new().operator(None, "NestedLoopJoinExec", 5).compute(0.0).partitions(2);
        let join = join.metric("join_time", 9_000 * MS).metric("build_time", MS);
        let join = join.in_partitions([("join_time", 5_000 * MS), ("join_time", 4_000 * MS)]).with(|plan| {
            plan.outcome = None;
            plan.metrics.operators[0].end_ms = plan.metrics.wall_ms;
        });
        let time = time_of(join);
        assert_eq!((time.total_ms, time.longest_ms, time.is_at_least), (9_001.0, Some(5_000.0), true));
    }

    #[test]
    fn what_has_ended_before_its_query_has_all_of_its_time() {
        for (outcome, end_ms, expected) in [
            (Some("completed"), 2_000.0, false),
            (Some("failed"), 2_000.0, true),
            (None, 2_000.0, true),
            (None, 1_500.0, false),
        ] {
            let sort = Plan::new().operator(None, "SortExec", 5).compute(10.0).with(|plan| {
                plan.outcome = outcome.map(str::to_owned);
                plan.metrics.operators[0].end_ms = end_ms;
            });
            assert_eq!(time_of(sort).is_at_least, expected, "{outcome:?} {end_ms}");
        }
    }

    #[test]
    fn the_words_say_which_partition_is_meant() {
        assert_eq!(in_words(Some(970.0), 250.0, 4), "970 ms in the longest of 4 partitions");
        assert_eq!(in_words(None, 250.0, 4), "250 ms on average in each of 4 partitions");
        assert_eq!(in_words(None, 250.0, 1), "250 ms");
    }
}
