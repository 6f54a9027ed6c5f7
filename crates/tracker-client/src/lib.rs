//! The Hamilton tracking API for runs that must not wait for it: delivery of an outbox, and its synchronisation.
//!
//! Every [`Event`] of a run is in its [`Outbox`] before anything is sent. A [`Delivery`] follows that file on a thread of
//! its own and brings each event to the server once, whatever happens to the process, the network or the server; what
//! it cannot deliver waits, and [`sync_bundle`] delivers it later. [`DeliveryCounts`](daglight_run_bundle::DeliveryCounts)
//! say what became of every item.
//!
//! The outbox, its format and the progress of its delivery are those of [`daglight_run_bundle::outbox`]. What may be
//! captured belongs to `daglight-capture-policy`, what a run is called to `daglight-run-identity`. The types of the server's
//! API are generated from its own OpenAPI document, which is checked in beside this crate.

mod tracker;

mod complete;
mod delivery;
mod sync;

mod step_outcome;
mod deliverer;
mod in_flight;
mod version_to_come;
mod steps;
mod verify;

mod batch;
mod encode;
#[rustfmt::skip]
mod wire;

mod call;
mod client;
mod connection;

pub use call::CallError;
pub use client::{Client, Project, User};
pub use complete::{NodeEnd, RunEnd, complete_outbox};
pub use connection::{Connection, ConnectionError, ProjectRef};
/// What a run records, and what [`sync_bundle`] has to know of the process.
pub use daglight_run_bundle::{
    Liveness, Sighting,
    outbox::{
        Attribute, AttributeKind, AttributeRole, CodePlace, Event, Outbox, Outcome, RunLink, Version,
        VersionNode,
    },
};
pub use delivery::Delivery;
pub use step_outcome::DeliveryError;
pub use sync::{SyncError, SyncOutcome, sync_bundle};
pub use tracker::Tracker;
