//! Who is missing.

use thiserror::Error;

use crate::address::WorkerAddress;

/// A machine of a cluster that does not answer, or is something else.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the {role} {address} of the cluster {problem}")]
pub struct Unreachable {
    /// Its address.
    pub address: WorkerAddress,
    role: &'static str,
    problem: String,
}

impl Unreachable {
    #[cfg(feature = "distributed")]
    pub(crate) const fn worker(address: WorkerAddress, problem: String) -> Self {
        Self { address, role: "worker", problem }
    }

    #[cfg(feature = "ballista")]
    pub(crate) const fn scheduler(address: WorkerAddress, problem: String) -> Self {
        Self { address, role: "scheduler", problem }
    }
}
