//! Workers of `datafusion-distributed`.

mod channels;
mod client;
mod planner;
mod query;
mod query_exec;
mod live_exec;
mod live_tasks;
mod running_tasks;
mod so_far;
mod task_channel;
mod task_name;
mod travels;
mod version;
mod watching;
mod worker;
mod worker_sinks;

pub(crate) use channels::is_worker;
pub(crate) use client::Client;
pub use datafusion_distributed::WorkerQueryContext;
pub use worker::Worker;

pub use crate::headers::HEADERS;
