//! The client of a cluster: the session that plans for its workers.

use std::sync::Arc;

use daglight_plan_diagnostics::runs_elsewhere;
use datafusion::{
    error::{DataFusionError, Result},
    execution::SessionStateBuilder,
};
use datafusion_distributed::{
    DistributedExt as _, GetWorkerInfoRequest, SessionStateBuilderExt as _, WorkerResolver,
};
use futures::future::join_all;
use tokio::time::timeout;
use url::Url;

use super::{channels::Channels, planner::ClusterPlanner, version::version};
use crate::{
    address::WorkerAddress, endpoint::CONNECT_TIMEOUT, unreachable::Unreachable, what_answers::what_answers,
};

/// Workers that the queries of a session can be distributed over.
#[derive(Clone)]
pub(crate) struct Client {
    workers: Vec<WorkerAddress>,
    channels: Channels,
}

impl Client {
    pub(crate) fn new(workers: Vec<WorkerAddress>) -> Self {
        Self { workers, channels: Channels::default() }
    }

    /// Each worker that does not answer as a worker of this cluster.
    pub(crate) async fn missing(&self) -> Vec<Unreachable> {
        let missing = self.without_answer().await;
        if missing.is_empty() { self.named_twice().await } else { missing }
    }

    async fn without_answer(&self) -> Vec<Unreachable> {
        let asked = self.workers.iter().map(|worker| async {
            let answer = timeout(CONNECT_TIMEOUT, async {
                self.channels.client(worker.url())?.get_worker_info(GetWorkerInfoRequest {}).await
            });
            let problem = match answer.await {
                // Empty where it is a worker of the engine alone.
                Ok(Ok(info)) if info.version.is_empty() || info.version == version() => return None,
                Ok(Ok(info)) => format!("is {}, and this is {}", info.version, version()),
                Ok(Err(error)) => {
                    let what = what_answers(worker).await;
                    format!("does not answer as one: {}", what.unwrap_or_else(|| in_short(&error)))
                }
                Err(_) => format!("does not answer within {} s", CONNECT_TIMEOUT.as_secs()),
            };
            Some(Unreachable::worker(worker.clone(), problem))
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    /// Each worker that is one of those before it under another name: it would get twice the work, and count as two.
    async fn named_twice(&self) -> Vec<Unreachable> {
        let asked = self.workers.iter().map(|worker| async {
            let answer = timeout(CONNECT_TIMEOUT, self.channels.so_far(worker.url(), String::new()));
            // A worker of the engine alone has no such number.
            answer.await.ok()?.ok().map(|answer| answer.worker).filter(|number| *number > 0)
        });
        let numbers = join_all(asked).await;
        let before = |at: usize| {
            let number = numbers[at]?;
            numbers[..at].iter().position(|known| *known == Some(number))
        };
        let twice = self.workers.iter().enumerate().filter_map(|(at, worker)| {
            let problem = format!("is {} under another name", self.workers[before(at)?]);
            Some(Unreachable::worker(worker.clone(), problem))
        });
        twice.collect()
    }

    pub(crate) fn distribute(&self, mut builder: SessionStateBuilder) -> SessionStateBuilder {
        let here = builder.query_planner().clone();
        let mut builder = builder
            .with_distributed_worker_resolver(Workers(self.workers.clone()))
            .with_distributed_channel_resolver(self.channels.clone())
            .with_distributed_planner();
        let distributed = builder.query_planner().take();
        let config = runs_elsewhere(builder.config().take().unwrap_or_default());
        let planner = ClusterPlanner::new(here, distributed, self.workers.clone(), self.channels.clone());
        builder.with_config(config).with_query_planner(Arc::new(planner))
    }
}

/// The last cause of an error, which says what happened, in one line.
fn in_short(error: &DataFusionError) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string().lines().next().unwrap_or_default().to_owned()
}

struct Workers(Vec<WorkerAddress>);

impl WorkerResolver for Workers {
    fn get_urls(&self) -> Result<Vec<Url>> {
        Ok(self.0.iter().map(|worker| worker.url().clone()).collect())
    }
}
