//! A scheduler of Ballista and its executors: as they are, or executors that report their tasks.

mod client;
#[cfg(feature = "ballista-executor")]
mod connections;
#[cfg(feature = "ballista-executor")]
mod executor;
mod job;
mod job_exec;
mod left_jobs;
mod measured;
mod planner;
mod presence;
mod rest;
mod results;
mod scheduler;
mod submission;
mod table_patterns;
#[cfg(feature = "ballista-executor")]
mod task_stores;
mod travelling_plan;
mod travels;
mod watching;

#[cfg(feature = "ballista-executor")]
pub use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
pub(crate) use client::Client;
#[cfg(feature = "ballista-executor")]
pub use executor::executor;
pub(crate) use scheduler::is_scheduler;
