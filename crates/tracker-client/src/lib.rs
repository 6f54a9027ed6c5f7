//! The Hamilton tracking API for runs that must not wait for it: an outbox on disk, its delivery, its synchronisation.
//!
//! Every [`Event`] of a run is in its [`Outbox`] before anything is sent. A [`Delivery`] follows that file on a thread of
//! its own and brings each event to the server once, whatever happens to the process, the network or the server; what
//! it cannot deliver waits, and [`sync_bundle`] delivers it later. The [`Ledger`] accounts for every item.
//!
//! The folder `tracker` of a bundle holds
//!
//! ```text
//! outbox.jsonl    the events, see Outbox
//! delivery.json   how far the delivery has come, and the ids on the server
//! delivery.lock   held by whoever delivers
//! reserve         space for the end of the run, while it goes on
//! ```
//!
//! What may be captured belongs to `daglight-capture-policy`, what a run is called to `daglight-run-identity`. The types of
//! the server's API are generated from its own OpenAPI document, which is checked in beside this crate.

mod connection;
mod event;
mod event_time;
mod ledger;
mod outbox;
mod outbox_writer;
mod reader;
mod record;
mod recorded;
mod reserve;
#[rustfmt::skip]
mod wire;
mod batch;
mod call;
mod client;
mod complete;
mod cursor;
mod deliverer;
mod delivery;
mod delivery_lock;
mod encode;
mod status;
mod steps;
mod sync;
mod tracker;
mod verify;

pub use call::CallError;
pub use client::{Client, Project, RunLink, User};
pub use complete::{NodeEnd, RunEnd, complete_outbox};
pub use connection::{Connection, ConnectionError, ProjectRef};
pub use cursor::CursorError;
/// What [`sync_bundle`] has to know of the process.
pub use daglight_run_bundle::{Liveness, Sighting};
pub use deliverer::DeliveryError;
pub use delivery::Delivery;
pub use event::{Attribute, AttributeKind, AttributeRole, CodePlace, Event, Outcome, Version, VersionNode};
pub use ledger::{Counts, Ledger};
pub use outbox::Outbox;
pub use reader::OutboxError;
pub use record::OUTBOX_VERSION;
pub use reserve::Reserve;
pub use status::{NodeProgress, OutboxStatus, StatusError, outbox_status, recorded_outbox};
pub use sync::{SyncError, SyncOutcome, sync_bundle};
pub use tracker::Tracker;
