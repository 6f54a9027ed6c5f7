//! Warnings of jobs that a dead run has left on the scheduler of a cluster.

use std::{collections::BTreeSet, path::Path};

use daglight_run_bundle::{PlanBundle, WarningCode};

use crate::{display, report::Problem};

/// The maximum number of jobs that are named.
const MAX_JOBS: usize = 20;

/// The jobs of the queries that ran last, should the run turn out to be dead.
#[derive(Debug, Default)]
pub(crate) struct LeftJobs(BTreeSet<Job>);

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Job {
    scheduler: String,
    id: Option<String>,
    node: Option<String>,
}

impl LeftJobs {
    pub(crate) fn add(&mut self, plan: &PlanBundle) {
        if let Some(job) = plan.left_job().filter(|_| self.0.len() < MAX_JOBS) {
            let (scheduler, id) = (job.scheduler.to_owned(), job.id.map(str::to_owned));
            self.0.insert(Job { scheduler, id, node: plan.node.clone() });
        }
    }

    /// A warning for each of them. `dir` is the bundle, as it is called.
    pub(crate) fn into_problems(self, dir: &Path) -> impl Iterator<Item = Problem> {
        let sync = display::command("sync", dir);
        self.0.into_iter().map(move |Job { scheduler, id, node }| {
            let job = id.map_or_else(|| "a job".to_owned(), |id| format!("job {id}"));
            let message = format!(
                "{job} of the scheduler {scheduler} may still be running. To ask the scheduler, and cancel what runs: \
                 {sync} --cluster ballista://{scheduler}"
            );
            Problem { node, ..Problem::warning("plan", WarningCode::JobLeft, message) }
        })
    }
}

#[cfg(test)]
mod tests {
    use daglight_run_bundle::{ClusterWork, PlanMetrics};

    use super::*;

    fn plan(id: Option<&str>, job_end: Option<&str>) -> PlanBundle {
        let work = ClusterWork {
            scheduler: Some("10.0.0.5:50050".to_owned()),
            engine_query_id: id.map(str::to_owned),
            job_end: job_end.map(str::to_owned),
            ..ClusterWork::default()
        };
        let metrics = PlanMetrics { cluster: Some(work), ..PlanMetrics::default() };
        PlanBundle { node: Some("orders".to_owned()), running: vec![1], metrics, ..PlanBundle::default() }
    }

    #[test]
    fn a_job_whose_end_is_unknown_is_named_with_the_command_that_asks() {
        let mut jobs = LeftJobs::default();
        for plan in [plan(Some("a"), None), plan(None, None), plan(Some("b"), Some("completed"))] {
            jobs.add(&plan);
        }
        let problems: Vec<_> = jobs.into_problems(Path::new("my out")).collect();
        let said: Vec<_> = problems.iter().map(|problem| problem.message.as_str()).collect();
        let rest = "of the scheduler 10.0.0.5:50050 may still be running. To ask the scheduler, and cancel what runs: \
                    daglight sync 'my out' --cluster ballista://10.0.0.5:50050";
        assert_eq!(said, [format!("a job {rest}"), format!("job a {rest}")]);
        assert!(problems.iter().all(|problem| problem.node.as_deref() == Some("orders")));
    }
}
