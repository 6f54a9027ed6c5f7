//! The Hamilton tracking API for runs that must not wait for it: delivering an outbox, and synchronising it later.
//!
//! Every [`Event`] of a run is in its [`Outbox`] before anything is sent. A [`Delivery`] follows that file on its own thread and
//! delivers each event to the server once, whatever happens to the process, the network or the server; events that it cannot
//! deliver wait, and [`sync_bundle`] delivers them later. [`DeliveryCounts`](daglight_run_bundle::DeliveryCounts) show what became
//! of every item.
//!
//! The outbox, its format and its delivery progress belong to [`daglight_run_bundle::outbox`]. What may be captured belongs to
//! `daglight-capture-policy`, the identity of a run to `daglight-run-identity`. The types of the server's API are generated from
//! its OpenAPI document, which is checked in with this crate.

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
/// The events of a run, and what [`sync_bundle`] has to know about the process.
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
