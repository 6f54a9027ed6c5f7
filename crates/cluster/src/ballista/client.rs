//! The client of a scheduler: the session that plans for it.

use std::{sync::Arc, time::Duration};

use ballista_core::{BALLISTA_VERSION, extension::SessionConfigExt as _};
use daglight_plan_diagnostics::runs_elsewhere;
use datafusion::execution::SessionStateBuilder;
use thiserror::Error;
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
        let Err(mut problem) = self.ask().await else { return Vec::new() };
        if let NoScheduler::Other { said } = &mut problem
            && let Some(what) = what_answers(&self.scheduler.address).await
        {
            *said = what;
        }
        vec![Unreachable::scheduler(self.scheduler.address.clone(), problem.to_string())]
    }

    async fn ask(&self) -> Result<(), NoScheduler> {
        let other = |said: String| NoScheduler::Other { said };
        let server = timeout(CONNECT_TIMEOUT, self.scheduler.server()).await;
        let server = server.map_err(|_| NoScheduler::Silent)?.map_err(|status| other(in_short(&status)))?;
        let version = version_of(server.as_deref())
            .ok_or_else(|| other("it is not a server of Ballista".to_owned()))?;
        of_this_version(version)
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

    pub(crate) async fn settle(&self, at_most: Duration) -> bool {
        timeout(at_most, self.cancels.sent()).await.is_ok()
    }
}

/// Why an address is not that of a scheduler that this is a client of.
#[derive(Debug, PartialEq, Eq, Error)]
enum NoScheduler {
    #[error("does not answer within {} s", CONNECT_TIMEOUT.as_secs())]
    Silent,
    #[error("does not answer as one: {said}")]
    Other { said: String },
    #[error("is Ballista {version}, and this is a client of {BALLISTA_VERSION}")]
    OtherVersion { version: String },
}

fn of_this_version(version: &str) -> Result<(), NoScheduler> {
    let major = |version: &str| version.split('.').next().map(str::to_owned);
    match major(version) == major(BALLISTA_VERSION) {
        true => Ok(()),
        false => Err(NoScheduler::OtherVersion { version: version.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheduler_is_one_of_the_same_major_version() {
        let asked = |server: &str| version_of(Some(server)).map(of_this_version);
        assert_eq!(asked(&format!("ballista/{BALLISTA_VERSION}")), Some(Ok(())));
        assert_eq!(asked("ballista/55.9.1"), Some(Ok(())));
        let other = NoScheduler::OtherVersion { version: "54.0.0".to_owned() };
        let text = format!("is Ballista 54.0.0, and this is a client of {BALLISTA_VERSION}");
        assert_eq!(other.to_string(), text);
        assert_eq!(asked("ballista/54.0.0"), Some(Err(other)));
        assert_eq!((asked("nginx/1.2"), version_of(None)), (None, None));
    }
}
