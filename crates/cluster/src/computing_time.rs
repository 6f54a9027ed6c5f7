//! How long an operator has computed, by the timers that it has for it.

#[cfg(feature = "distributed")]
use std::time::Duration;

use daglight_run_bundle::COMPUTING_TIMERS;
#[cfg(feature = "distributed")]
use datafusion::physical_plan::metrics::{MetricValue, MetricsSet};

/// The timers of one operator, in nanoseconds. Of a group all are added, and of the groups the largest counts.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Timers([u64; COMPUTING_TIMERS.len()]);

impl Timers {
    /// Adds what a metric of this name says.
    pub(crate) fn add(&mut self, name: &str, nanoseconds: u64) {
        if let Some(group) = COMPUTING_TIMERS.iter().position(|group| group.contains(&name)) {
            self.0[group] = self.0[group].saturating_add(nanoseconds);
        }
    }

    pub(crate) fn nanoseconds(self) -> u64 {
        self.0.into_iter().max().unwrap_or_default()
    }
}

/// The computing time of an operator in all its partitions.
#[cfg(feature = "distributed")]
pub(crate) fn computing_time(metrics: &MetricsSet) -> Duration {
    let mut timers = Timers::default();
    for metric in metrics.iter() {
        if let MetricValue::ElapsedCompute(time) | MetricValue::Time { time, .. } = metric.value() {
            timers.add(metric.value().name(), time.value() as u64);
        }
    }
    Duration::from_nanos(timers.nanoseconds())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_work_of_an_operator_is_its_largest_timer() {
        let of = |timers: &[(&str, u64)]| {
            let mut sum = Timers::default();
            timers.iter().for_each(|(name, nanoseconds)| sum.add(name, *nanoseconds));
            sum.nanoseconds()
        };
        assert_eq!(of(&[("elapsed_compute", 5), ("elapsed_compute", 6), ("send_time", 900)]), 11);
        assert_eq!(of(&[("elapsed_compute", 5), ("time_elapsed_processing", 80)]), 80);
        assert_eq!(of(&[("build_time", 3), ("join_time", 4), ("elapsed_compute", 1)]), 7);
        assert_eq!(of(&[]), 0);
    }
}
