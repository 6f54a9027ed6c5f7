//! Which of the executions of a plan its file shows: one whole, and not a mixture of several.

use daglight_plan_diagnostics::MeasuredQuery;
use daglight_run_bundle::{PlanBundle, PlanMetrics, PlanSource};

/// What a file shows of one execution.
pub(crate) struct Execution {
    pub(crate) query_id: String,
    /// `None` while it runs.
    pub(crate) outcome: Option<String>,
    pub(crate) wall_ms: f64,
    pub(crate) measured: Measured,
}

/// What was measured of an execution.
pub(crate) enum Measured {
    /// As the file has it.
    Described(Box<(Vec<PlanSource>, PlanMetrics)>),
    /// As it was measured. Most executions give way to another one before a file is written, and need not be described.
    Undescribed(Box<MeasuredQuery>),
}

impl Execution {
    fn rank(&self) -> Rank {
        rank(self.outcome.as_deref(), self.wall_ms)
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

/// The executions of a plan of which something is kept.
#[derive(Default)]
pub(crate) struct SetAside {
    /// The one that has ended and is shown when none goes on any more.
    later: Option<Execution>,
    /// What the plan shows, where it does not have that yet.
    undescribed: Option<Box<MeasuredQuery>>,
}

impl SetAside {
    /// Whether what was measured is shown, now or when what goes on has ended.
    pub(crate) fn wants(&self, plan: &PlanBundle, execution: &Execution) -> bool {
        let new = execution.rank();
        plan.query_id == execution.query_id
            || new >= rank(plan.outcome.as_deref(), plan.metrics.wall_ms)
            || plan.outcome.is_none() && self.later.as_ref().is_none_or(|later| new >= later.rank())
    }

    /// Shows an execution that is wanted, or keeps it for later.
    pub(crate) fn show(&mut self, plan: &mut PlanBundle, execution: Execution) {
        let is_shown = plan.query_id == execution.query_id;
        if !is_shown && execution.rank() < rank(plan.outcome.as_deref(), plan.metrics.wall_ms) {
            self.later = Some(execution);
            return;
        }
        let has_ended = execution.outcome.is_some();
        let shown = self.put(plan, execution);
        if !is_shown && !has_ended && shown.outcome.is_some() {
            self.later = Some(shown);
        }
        let current = rank(plan.outcome.as_deref(), plan.metrics.wall_ms);
        if has_ended && let Some(better) = self.later.take_if(|later| later.rank() > current) {
            self.put(plan, better);
        }
        if has_ended {
            self.later = None;
        }
    }

    /// What the plan shows and is not described in it, once.
    pub(crate) fn take_undescribed(&mut self) -> Option<Box<MeasuredQuery>> {
        self.undescribed.take()
    }

    /// Nothing is described any more: what is held for that may hold the tables of a query.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Puts an execution in the place of the one that is shown, which is returned.
    fn put(&mut self, plan: &mut PlanBundle, execution: Execution) -> Execution {
        let Execution { query_id, outcome, wall_ms, measured } = execution;
        let before = Execution {
            query_id: std::mem::replace(&mut plan.query_id, query_id),
            outcome: std::mem::replace(&mut plan.outcome, outcome),
            wall_ms: plan.metrics.wall_ms,
            measured: match self.undescribed.take() {
                Some(measured) => Measured::Undescribed(measured),
                None => {
                    Measured::Described(Box::new((plan.sources.clone(), std::mem::take(&mut plan.metrics))))
                }
            },
        };
        match measured {
            Measured::Described(described) => (plan.sources, plan.metrics) = *described,
            Measured::Undescribed(measured) => {
                plan.metrics = PlanMetrics::default();
                self.undescribed = Some(measured);
            }
        }
        plan.metrics.wall_ms = wall_ms;
        before
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
            let execution = Execution {
                query_id: (*query_id).to_owned(),
                outcome: outcome.map(str::to_owned),
                wall_ms: *wall_ms,
                measured: Measured::Described(Box::default()),
            };
            if set_aside.wants(&plan, &execution) {
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
