//! Workers of `datafusion-distributed`.

mod channels;
mod client;
mod planner;
mod query;
mod query_exec;
mod signs_of_life;
mod travels;
mod worker;
mod worker_sinks;

pub use client::{Cluster, UnreachableWorker};
pub use datafusion_distributed::WorkerQueryContext;
pub use travels::HEADERS;
pub use worker::Worker;
