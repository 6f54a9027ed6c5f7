//! The client of a scheduler: the session that plans for it.

use std::{sync::Arc, time::Duration};

use ballista_core::{BALLISTA_VERSION, extension::SessionConfigExt as _};
use daglight_plan_diagnostics::runs_elsewhere;
use datafusion::execution::SessionStateBuilder;
use tokio::time::timeout;

use super::{
    left_jobs::end_all,
    planner::JobPlanner,
    scheduler::{Scheduler, in_short, version_of},
    submission::Cancels,
};
use crate::{
    address::WorkerAddress, endpoint::CONNECT_TIMEOUT, left_job::LeftJob, unreachable::Unreachable,
    what_answers::what_answers,
};

/// How long a scheduler may take to say what became of the jobs of a run.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub(crate) struct Client {
    scheduler: Scheduler,
    cancels: Cancels,
}

impl Client {
    pub(crate) fn new(scheduler: WorkerAddress) -> Self {
        Self { scheduler: Scheduler::new(scheduler), cancels: Cancels::default() }
    }

    /// The scheduler, where it does not answer as one of this version.
    pub(crate) async fn missing(&self) -> Vec<Unreachable> {
        let other = match timeout(CONNECT_TIMEOUT, self.scheduler.server()).await {
            Ok(Ok(server)) => match version_of(server.as_deref()).map(problem_of) {
                Some(None) => return Vec::new(),
                Some(Some(problem)) => Err(problem),
                None => Ok("it is not a server of Ballista".to_owned()),
            },
            Ok(Err(status)) => Ok(in_short(&status)),
            Err(_) => Err(format!("does not answer within {} s", CONNECT_TIMEOUT.as_secs())),
        };
        let problem = match other {
            Ok(said) => {
                let what = what_answers(&self.scheduler.address).await;
                format!("does not answer as one: {}", what.unwrap_or(said))
            }
            Err(problem) => problem,
        };
        vec![Unreachable::scheduler(self.scheduler.address.clone(), problem)]
    }

    pub(crate) fn distribute(&self, mut builder: SessionStateBuilder) -> SessionStateBuilder {
        let here = builder.query_planner().take();
        let config = builder.config().take().unwrap_or_default();
        // As each client of Ballista does: plans that would not come through its stages in one piece are not made. The adaptive
        // planner of 55.0.0 does not go on when an executor is lost ("Can't find active stage to update stage outputs").
        let config = config.upgrade_for_ballista().with_ballista_adaptive_query_planner(false);
        let config = runs_elsewhere(config);
        let planner = JobPlanner::new(here, self.scheduler.clone(), self.cancels.clone());
        builder.with_config(config).with_query_planner(Arc::new(planner))
    }

    /// Cancels the jobs of a run that go on. The answers to all questions may take [`ANSWERS_WITHIN`].
    pub(crate) async fn end_jobs(&self, run_id: &str, known: &[String]) -> Result<Vec<LeftJob>, Unreachable> {
        if let Some(missing) = self.missing().await.pop() {
            return Err(missing);
        }
        let problem = match timeout(ANSWERS_WITHIN, end_all(&self.scheduler, run_id, known)).await {
            Ok(Ok(ended)) => return Ok(ended),
            Ok(Err(status)) => format!("does not say what became of jobs: {}", in_short(&status)),
            Err(_) => {
                format!("does not say within {} s what became of jobs", ANSWERS_WITHIN.as_secs())
            }
        };
        Err(Unreachable::scheduler(self.scheduler.address.clone(), problem))
    }

    pub(crate) async fn settle(&self, at_most: Duration) {
        _ = timeout(at_most, self.cancels.sent()).await;
    }
}

/// Why a scheduler of this version is not the one that this is a client of.
fn problem_of(version: &str) -> Option<String> {
    let major = |version: &str| version.split('.').next().map(str::to_owned);
    (major(version) != major(BALLISTA_VERSION))
        .then(|| format!("is Ballista {version}, and this is a client of {BALLISTA_VERSION}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheduler_is_one_of_the_same_major_version() {
        let problem = |server: &str| version_of(Some(server)).map(problem_of);
        assert_eq!(problem(&format!("ballista/{BALLISTA_VERSION}")), Some(None));
        assert_eq!(problem("ballista/55.9.1"), Some(None));
        let other = format!("is Ballista 54.0.0, and this is a client of {BALLISTA_VERSION}");
        assert_eq!(problem("ballista/54.0.0"), Some(Some(other)));
        assert_eq!((problem("nginx/1.2"), version_of(None)), (None, None));
    }
}
