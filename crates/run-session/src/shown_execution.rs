//! Which of the executions of a plan its file shows: one whole, and not a mixture of several.

use daglight_run_bundle::{PlanBundle, PlanMetrics, PlanSource};

/// What a file shows of one execution.
pub(crate) struct Execution {
    pub(crate) query_id: String,
    /// `None` while it runs.
    pub(crate) outcome: Option<String>,
    pub(crate) sources: Vec<PlanSource>,
    pub(crate) metrics: PlanMetrics,
}

impl Execution {
    fn rank(&self) -> Rank {
        rank(self.outcome.as_deref(), self.metrics.wall_ms)
    }
}

/// What somebody looks into first is shown: an execution that goes on, then one that did not succeed, and of these the slowest.
type Rank = (u8, f64);

fn rank(outcome: Option<&str>, wall_ms: f64) -> Rank {
    let kind = match outcome {
        None => 2,
        Some("completed") => 0,
        Some(_) => 1,
    };
    (kind, wall_ms)
}

/// The execution that has ended and is shown when none goes on any more.
#[derive(Default)]
pub(crate) struct SetAside(Option<Execution>);

impl SetAside {
    /// Whether what was measured is shown, now or when what goes on has ended. Most executions are neither, and need not be
    /// described.
    pub(crate) fn wants(
        &self,
        plan: &PlanBundle,
        query_id: &str,
        outcome: Option<&str>,
        wall_ms: f64,
    ) -> bool {
        let new = rank(outcome, wall_ms);
        plan.query_id == query_id
            || new >= rank(plan.outcome.as_deref(), plan.metrics.wall_ms)
            || plan.outcome.is_none() && self.0.as_ref().is_none_or(|set_aside| new >= set_aside.rank())
    }

    /// Shows an execution that is wanted, or keeps it for later.
    pub(crate) fn show(&mut self, plan: &mut PlanBundle, execution: Execution) {
        let is_shown = plan.query_id == execution.query_id;
        if !is_shown && execution.rank() < rank(plan.outcome.as_deref(), plan.metrics.wall_ms) {
            self.0 = Some(execution);
            return;
        }
        let has_ended = execution.outcome.is_some();
        let shown = put(plan, execution);
        if !is_shown && !has_ended && shown.outcome.is_some() {
            self.0 = Some(shown);
        }
        let current = rank(plan.outcome.as_deref(), plan.metrics.wall_ms);
        if has_ended && let Some(better) = self.0.take_if(|set_aside| set_aside.rank() > current) {
            put(plan, better);
        }
        if has_ended {
            self.0 = None;
        }
    }
}

/// Puts an execution in the place of the one that is shown, which is returned.
fn put(plan: &mut PlanBundle, execution: Execution) -> Execution {
    Execution {
        query_id: std::mem::replace(&mut plan.query_id, execution.query_id),
        outcome: std::mem::replace(&mut plan.outcome, execution.outcome),
        sources: std::mem::replace(&mut plan.sources, execution.sources),
        metrics: std::mem::replace(&mut plan.metrics, execution.metrics),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The execution that is shown after each of these measurements: query, outcome and milliseconds.
    #[track_caller]
    fn check(measured: &[(&str, Option<&str>, f64)], expected: &[&str]) {
        let mut plan = PlanBundle { query_id: "1".to_owned(), ..PlanBundle::default() };
        let mut set_aside = SetAside::default();
        let mut shown = Vec::new();
        for (query_id, outcome, wall_ms) in measured {
            if set_aside.wants(&plan, query_id, *outcome, *wall_ms) {
                let execution = Execution {
                    query_id: (*query_id).to_owned(),
                    outcome: outcome.map(str::to_owned),
                    sources: Vec::new(),
                    metrics: PlanMetrics { wall_ms: *wall_ms, ..PlanMetrics::default() },
                };
                set_aside.show(&mut plan, execution);
            }
            shown.push(format!("{} {}", plan.query_id, plan.outcome.as_deref().unwrap_or("runs")));
        }
        assert_eq!(shown, expected, "{measured:?}");
    }

    #[test]
    fn what_goes_on_stands_before_what_failed_and_that_before_the_slowest() {
        let done = Some("completed");
        check(
            &[("1", done, 5.0), ("2", done, 9.0), ("3", done, 7.0)],
            &["1 completed", "2 completed", "2 completed"],
        );
        check(
            &[("1", done, 900.0), ("2", None, 3.0), ("2", None, 8.0), ("2", done, 9.0)],
            &["1 completed", "2 runs", "2 runs", "1 completed"],
        );
        check(
            &[("1", done, 900.0), ("2", None, 3.0), ("2", Some("failed"), 9.0), ("3", done, 1_000.0)],
            &["1 completed", "2 runs", "2 failed", "2 failed"],
        );
        // Two at once: what ends meanwhile is shown when the other one has ended, if it is the slower one.
        check(
            &[("2", done, 40.0), ("1", None, 50.0), ("1", done, 30.0)],
            &["1 runs", "1 runs", "2 completed"],
        );
        check(&[("2", None, 4.0), ("1", None, 9.0), ("1", done, 10.0)], &["2 runs", "1 runs", "1 completed"]);
    }
}
