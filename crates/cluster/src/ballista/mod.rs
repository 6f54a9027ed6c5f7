//! A scheduler of Ballista and its executors, as they are.

mod client;
mod job;
mod job_exec;
mod measured;
mod planner;
mod rest;
mod results;
mod scheduler;
mod submission;
mod travelling_plan;
mod travels;
mod watching;

pub(crate) use client::Client;
