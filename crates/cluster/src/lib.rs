//! Runs the queries of a session on the machines of a cluster, and tells what each of them did.
//!
//! A [`Cluster`] is named by an address, such as `df://10.0.0.5:9400,10.0.0.6:9400`. [`Cluster::check`] asks each of its
//! workers whether it is there, before anything runs; [`Cluster::distribute`] lets a session plan for it. What cannot be
//! distributed runs on the client, and [`ClusterWork`](daglight_run_bundle::ClusterWork) says why.
//!
//! Each engine is a feature of its own. `distributed`: the workers of `datafusion-distributed`, [`distributed::Worker`].

mod address;
#[cfg(feature = "distributed")]
pub mod distributed;

pub use address::{AddressError, ClusterAddress, WorkerAddress};
#[cfg(feature = "distributed")]
pub use distributed::{Cluster, UnreachableWorker};
