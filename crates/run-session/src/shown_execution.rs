//! Which of the executions of a plan its file shows: one whole, and not a mixture of several.

use daglight_plan_diagnostics::MeasuredQuery;
use daglight_run_bundle::{ClusterWork, PlanBundle, PlanMetrics, PlanSource};

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

impl Measured {
    fn cluster(&self) -> Option<&ClusterWork> {
        match self {
            Self::Described(described) => described.1.cluster.as_ref(),
            Self::Undescribed(measured) => measured.cluster.as_ref(),
        }
    }

    fn cluster_mut(&mut self) -> &mut Option<ClusterWork> {
        match self {
            Self::Described(described) => &mut described.1.cluster,
            Self::Undescribed(measured) => &mut measured.cluster,
        }
    }
}

impl Execution {
    fn rank(&self) -> Rank {
        rank(self.outcome.as_deref(), self.measured.cluster(), self.wall_ms)
    }
}

/// What somebody looks into first is shown: an execution that goes on, then one whose job may go on at its scheduler, which is found by this
/// file alone, then one that did not succeed, and of these the slowest.
type Rank = (u8, f64);

fn rank(outcome: Option<&str>, cluster: Option<&ClusterWork>, wall_ms: f64) -> Rank {
    let kind = match outcome {
        None => 3,
        Some("completed") => 0,
        Some(_) if cluster.is_some_and(|work| work.job_open) => 2,
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
            || new >= self.rank_of_shown(plan)
            || plan.outcome.is_none() && self.later.as_ref().is_none_or(|later| new >= later.rank())
    }

    /// Shows an execution that is wanted, or keeps it for later.
    pub(crate) fn show(&mut self, plan: &mut PlanBundle, execution: Execution) {
        let is_shown = plan.query_id == execution.query_id;
        if !is_shown && execution.rank() < self.rank_of_shown(plan) {
            self.later = Some(execution);
            return;
        }
        let has_ended = execution.outcome.is_some();
        let shown = self.put(plan, execution);
        if !is_shown && !has_ended && shown.outcome.is_some() {
            self.later = Some(shown);
        }
        let current = self.rank_of_shown(plan);
        if has_ended && let Some(better) = self.later.take_if(|later| later.rank() > current) {
            self.put(plan, better);
        }
        if has_ended {
            self.later = None;
        }
    }

    /// What other machines did of an execution that has ended. False if that is not kept.
    pub(crate) fn set_cluster(&mut self, plan: &mut PlanBundle, query_id: &str, work: ClusterWork) -> bool {
        let cluster = match (&mut self.undescribed, &mut self.later) {
            (Some(measured), _) if plan.query_id == query_id => &mut measured.cluster,
            (None, _) if plan.query_id == query_id => &mut plan.metrics.cluster,
            (_, Some(later)) if later.query_id == query_id => later.measured.cluster_mut(),
            _ => return false,
        };
        *cluster = Some(work.bounded());
        true
    }

    fn rank_of_shown(&self, plan: &PlanBundle) -> Rank {
        let undescribed = self.undescribed.as_ref().map(|measured| measured.cluster.as_ref());
        let cluster = undescribed.unwrap_or(plan.metrics.cluster.as_ref());
        rank(plan.outcome.as_deref(), cluster, plan.metrics.wall_ms)
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
    fn an_execution_whose_job_is_open_stays_until_its_end_is_known() {
        let execution = |query_id: &str, wall_ms, job_open| {
            let work = ClusterWork { job_open, ..ClusterWork::default() };
            let metrics = PlanMetrics { cluster: Some(work), ..PlanMetrics::default() };
            Execution {
                query_id: query_id.to_owned(),
                outcome: Some("failed".to_owned()),
                wall_ms,
                measured: Measured::Described(Box::new((Vec::new(), metrics))),
            }
        };
        let mut plan = PlanBundle { query_id: "1".to_owned(), ..PlanBundle::default() };
        let mut set_aside = SetAside::default();
        set_aside.show(&mut plan, execution("1", 5.0, true));
        assert!(!set_aside.wants(&plan, &execution("2", 90.0, false)));
        assert!(set_aside.set_cluster(&mut plan, "1", ClusterWork::default()));
        assert!(!set_aside.set_cluster(&mut plan, "2", ClusterWork::default()));
        assert!(!plan.metrics.cluster.as_ref().unwrap().job_open);
        assert!(set_aside.wants(&plan, &execution("3", 90.0, false)));
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
