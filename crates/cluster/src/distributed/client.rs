//! The client of a cluster: the session that plans for its workers.

use std::{fmt, sync::Arc};

use daglight_plan_diagnostics::runs_elsewhere;
use datafusion::{
    error::{DataFusionError, Result},
    execution::SessionStateBuilder,
};
use datafusion_distributed::{
    DistributedExt as _, GetWorkerInfoRequest, SessionStateBuilderExt as _, WorkerResolver,
};
use futures::future::join_all;
use thiserror::Error;
use tokio::time::timeout;
use url::Url;

use super::{
    channels::{CONNECT_TIMEOUT, Channels},
    planner::ClusterPlanner,
    version::version,
};
use crate::address::{ClusterAddress, WorkerAddress};

/// Workers that the queries of a session can be distributed over.
#[derive(Clone)]
pub struct Cluster {
    address: ClusterAddress,
    channels: Channels,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("address", &self.address).finish_non_exhaustive()
    }
}

/// A worker that does not answer, or something else at its address.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the worker {worker} of the cluster {problem}")]
pub struct UnreachableWorker {
    /// The worker.
    pub worker: WorkerAddress,
    problem: String,
}

impl Cluster {
    /// The workers at an address. None of them is asked yet.
    pub fn new(address: ClusterAddress) -> Self {
        Self { address, channels: Channels::default() }
    }

    /// The address.
    pub const fn address(&self) -> &ClusterAddress {
        &self.address
    }

    /// Asks every worker whether it is there, each for up to five seconds, all at once.
    ///
    /// # Errors
    /// With each worker that does not answer as one.
    pub async fn check(&self) -> Result<(), Vec<UnreachableWorker>> {
        let asked = self.address.workers.iter().map(|worker| async {
            let answer = timeout(CONNECT_TIMEOUT, async {
                self.channels.client(worker.url())?.get_worker_info(GetWorkerInfoRequest {}).await
            });
            let problem = match answer.await {
                // Empty where it is a worker of the engine alone.
                Ok(Ok(info)) if info.version.is_empty() || info.version == version() => return None,
                Ok(Ok(info)) => format!("is {}, and this is {}", info.version, version()),
                Ok(Err(error)) => format!("does not answer as one: {}", in_short(&error)),
                Err(_) => format!("does not answer within {} s", CONNECT_TIMEOUT.as_secs()),
            };
            Some(UnreachableWorker { worker: worker.clone(), problem })
        });
        let unreachable: Vec<UnreachableWorker> = join_all(asked).await.into_iter().flatten().collect();
        if unreachable.is_empty() { Ok(()) } else { Err(unreachable) }
    }

    /// Lets the session that is built from `builder` plan for the workers. To be called before
    /// [`daglight_plan_diagnostics::instrument`], and behind libraries that replace the planner.
    pub fn distribute(&self, mut builder: SessionStateBuilder) -> SessionStateBuilder {
        let here = builder.query_planner().clone();
        let mut builder = builder
            .with_distributed_worker_resolver(Workers(self.address.workers.clone()))
            .with_distributed_channel_resolver(self.channels.clone())
            .with_distributed_planner();
        let distributed = builder.query_planner().take();
        let config = runs_elsewhere(builder.config().take().unwrap_or_default());
        let planner =
            ClusterPlanner::new(here, distributed, self.address.workers.clone(), self.channels.clone());
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
