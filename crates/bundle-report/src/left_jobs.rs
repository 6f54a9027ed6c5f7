//! Warnings of jobs that a run has left on the scheduler of a cluster.

use std::{collections::BTreeSet, path::Path};

use daglight_run_bundle::{Manifest, PlanBundle, WarningCode};

use crate::{display, problems::Problems, report::Problem};

/// The maximum number of jobs that are named.
const MAX_JOBS: usize = 20;

/// The jobs of queries that are open, should the run turn out to have ended.
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

    /// Adds a warning for each of them, if the run may have left them. `dir` is the bundle, as it is called.
    pub(crate) fn add_to(self, problems: &mut Problems, manifest: Option<&Manifest>, dir: &Path) {
        if !manifest.is_some_and(Manifest::may_have_left_jobs) {
            return;
        }
        for Job { scheduler, id, node } in self.0 {
            let message = job_left(&scheduler, id.as_deref(), Some(dir));
            problems.add(Problem { node, ..Problem::warning("plan", WarningCode::JobLeft, message) });
        }
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The warning about a job that may still be running at a scheduler, with the command that asks for it. `id` is `None` if it is not known, `dir`
/// is the folder of the bundle.
pub fn job_left(scheduler: &str, id: Option<&str>, dir: Option<&Path>) -> String {
    let job = id.map_or_else(|| "a job".to_owned(), |id| format!("job {id}"));
    let what_to_do = match (dir, id) {
        (Some(dir), _) => {
            let sync = display::command("sync", dir);
            format!("To ask the scheduler, and cancel what runs: {sync} --cluster ballista://{scheduler}")
        }
        (None, Some(id)) => format!("To cancel it: PATCH http://{scheduler}/api/job/{id}"),
        (None, None) => format!("The scheduler lists its jobs at http://{scheduler}/api/jobs"),
    };
    format!("{job} of the scheduler {scheduler} may still be running. {what_to_do}")
}

#[cfg(test)]
mod tests {
    use daglight_run_bundle::{ClusterWork, PlanMetrics, RunStatus};

    use super::*;
    use crate::fixture;

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
        let manifest = Manifest { status: RunStatus::Interrupted, ..fixture::manifest() };
        let mut problems = Problems::default();
        jobs.add_to(&mut problems, Some(&manifest), Path::new("my out"));
        let problems = problems.into_found();
        let said: Vec<_> = problems.iter().map(|problem| problem.message.as_str()).collect();
        let rest = "of the scheduler 10.0.0.5:50050 may still be running. To ask the scheduler, and cancel what runs: \
                    daglight sync 'my out' --cluster ballista://10.0.0.5:50050";
        assert_eq!(said, [format!("a job {rest}"), format!("job a {rest}")]);
        assert!(problems.iter().all(|problem| problem.node.as_deref() == Some("orders")));
    }
}
