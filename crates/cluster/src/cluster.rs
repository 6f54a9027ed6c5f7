//! A cluster, whatever engine it has.

use std::{fmt, time::Duration};

use datafusion::execution::SessionStateBuilder;
use thiserror::Error;

#[cfg(feature = "ballista")]
use crate::ballista;
#[cfg(feature = "distributed")]
use crate::distributed;
use crate::{address::ClusterAddress, left_job::LeftJob, unreachable::Unreachable};

/// A cluster that the queries of a session can be executed on. Clones are the same one.
#[derive(Clone)]
pub struct Cluster {
    address: ClusterAddress,
    engine: Engine,
}

#[derive(Clone)]
enum Engine {
    #[cfg(feature = "distributed")]
    Distributed(distributed::Client),
    #[cfg(feature = "ballista")]
    Ballista(ballista::Client),
}

/// This program is built without the engine of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("this program is built without the engine of {address}")]
pub struct NoEngine {
    /// The address of the cluster.
    pub address: String,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Cluster {
    /// The cluster at an address. None of its machines is asked yet.
    ///
    /// # Errors
    /// Where the feature of its engine is off.
    pub fn new(address: ClusterAddress) -> Result<Self, NoEngine> {
        let engine = match &address {
            #[cfg(feature = "distributed")]
            ClusterAddress::Distributed { workers } => {
                Engine::Distributed(distributed::Client::new(workers.clone()))
            }
            #[cfg(feature = "ballista")]
            ClusterAddress::Ballista { scheduler } => {
                Engine::Ballista(ballista::Client::new(scheduler.clone()))
            }
            #[cfg(not(all(feature = "ballista", feature = "distributed")))]
            other => return Err(NoEngine { address: other.to_string() }),
        };
        Ok(Self { address, engine })
    }

    /// The address.
    pub const fn address(&self) -> &ClusterAddress {
        &self.address
    }

    /// Asks every worker, or the scheduler, whether it is there, each for up to five seconds, all at once.
    ///
    /// # Errors
    /// With each that does not answer as what it should be.
    pub async fn check(&self) -> Result<(), Vec<Unreachable>> {
        let missing = match &self.engine {
            #[cfg(feature = "distributed")]
            Engine::Distributed(workers) => workers.missing().await,
            #[cfg(feature = "ballista")]
            Engine::Ballista(scheduler) => scheduler.missing().await,
        };
        if missing.is_empty() { Ok(()) } else { Err(missing) }
    }

    /// Lets the session that is built from `builder` plan for the cluster. To be called before
    /// [`daglight_plan_diagnostics::instrument`], and behind libraries that replace the planner.
    pub fn distribute(&self, builder: SessionStateBuilder) -> SessionStateBuilder {
        match &self.engine {
            #[cfg(feature = "distributed")]
            Engine::Distributed(workers) => workers.distribute(builder),
            #[cfg(feature = "ballista")]
            Engine::Ballista(scheduler) => scheduler.distribute(builder),
        }
    }

    /// Asks the scheduler what became of the jobs of a run that has ended, and cancels those that go on: the jobs of these ids, and
    /// other jobs of the run that it lists. A job of another run is left alone, whoever gave its id. Takes 15 seconds at most. Workers of
    /// `datafusion-distributed` are not asked: their tasks end with the connection of the client.
    ///
    /// # Errors
    /// When the scheduler does not answer, or is something else.
    pub async fn end_jobs(&self, run_id: &str, known: &[String]) -> Result<Vec<LeftJob>, Unreachable> {
        match &self.engine {
            #[cfg(feature = "distributed")]
            Engine::Distributed(_) => {
                _ = (run_id, known);
                Ok(Vec::new())
            }
            #[cfg(feature = "ballista")]
            Engine::Ballista(scheduler) => scheduler.end_jobs(run_id, known).await,
        }
    }

    /// Waits until a scheduler has confirmed that the jobs of queries that were given up are cancelled, or is known not to answer, for this
    /// long at most. False if it has not by then. Workers learn it from their connections. The end of a run waits by
    /// itself.
    pub async fn settle(&self, at_most: Duration) -> bool {
        match &self.engine {
            #[cfg(feature = "distributed")]
            Engine::Distributed(_) => {
                _ = at_most;
                true
            }
            #[cfg(feature = "ballista")]
            Engine::Ballista(scheduler) => scheduler.settle(at_most).await,
        }
    }
}
