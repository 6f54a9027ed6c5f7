//! Runs the queries of a session on the machines of a cluster, and tells what each of them did.
//!
//! A [`Cluster`] is named by an address, such as `df://10.0.0.5:9400,10.0.0.6:9400` or `ballista://10.0.0.5:50050`.
//! [`Cluster::check`] asks each of its workers, or its scheduler, whether it is there, before anything runs; [`Cluster::distribute`]
//! lets a session plan for it. What cannot be distributed runs on the client, and
//! [`ClusterWork`](daglight_run_bundle::ClusterWork) says why.
//!
//! Each engine is a separate feature. `distributed`: the workers of `datafusion-distributed`, `distributed::Worker`. `ballista`:
//! a scheduler of Ballista with its executors, as they are. `ballista-executor`: what an executor of Ballista
//! needs to report its tasks, `ballista::executor`.

mod address;
mod left_job;
mod unreachable;
#[cfg(any(feature = "ballista", feature = "distributed"))]
mod computing_time;
#[cfg(any(feature = "ballista", feature = "distributed"))]
mod endpoint;
#[cfg(any(feature = "ballista", feature = "distributed"))]
mod what_answers;
#[cfg(any(feature = "ballista-executor", feature = "distributed"))]
mod headers;
#[cfg(feature = "ballista")]
pub mod ballista;
#[cfg(feature = "distributed")]
pub mod distributed;
#[cfg(any(feature = "ballista", feature = "distributed"))]
mod cluster;

pub use address::{AddressError, ClusterAddress, WorkerAddress};
#[cfg(any(feature = "ballista", feature = "distributed"))]
pub use cluster::{Cluster, NoEngine};
pub use left_job::{JobEnd, LeftJob};
pub use unreachable::Unreachable;
