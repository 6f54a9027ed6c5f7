//! The outbox of a run: the events for the tracking server, the progress of their delivery, and reading both back.
//!
//! ```text
//! tracker/outbox.jsonl    the events, one line each      Event, Outbox, OutboxReader
//! tracker/delivery.json   how far they are delivered     Cursor
//! tracker/delivery.lock   held by whoever delivers       DeliveryLock
//! tracker/reserve         space for the end of the run   Outbox::keep_reserve
//! ```
//!
//! A delivery reads with [`OutboxReader`] and keeps its progress in a [`Cursor`]; code that only inspects an outbox calls
//! [`recorded_outbox`]. What is sent to a server, and when, belongs to `daglight-tracker-client`.
//!
//! # Order of locks
//! One process delivers an outbox at a time: [`DeliveryLock`]. Any number of processes may append to it meanwhile. Each of them
//! holds a shared lock on the file for as long as it lives, which shows others that it does. Within a process the writer's lock is
//! the innermost one: synchronising takes `synced` first and the writer second, and no thread waits for the disk while it holds the
//! writer.

mod event;
mod event_time;
mod record;

mod place;
mod recording_problem;
mod writer;
mod shared;
mod unwritten;
mod outbox_file;

mod reader;
mod recorded;

mod beginning;
mod cursor;
mod seen_dag;
mod delivery_lock;
mod status;

pub use beginning::Beginning;
pub use cursor::{Cursor, CursorError, RunLink, Skipped};
pub use delivery_lock::DeliveryLock;
pub use event::{
    Attribute, AttributeKind, AttributeRole, CodePlace, Event, Outcome, RUN_ID_TAG, Version, VersionNode,
};
pub use outbox_file::Outbox;
pub use place::{outbox_path, remove_reserve};
pub use reader::{OutboxError, OutboxReader, Read};
pub use record::OUTBOX_VERSION;
pub use recorded::{LastLine, Recorded};
pub use recording_problem::RecordingProblem;
pub use seen_dag::SeenDag;
pub(crate) use status::writer_alive;
pub use status::{NodeProgress, OutboxStatus, StatusError, TrackerDamage, outbox_status, recorded_outbox};
pub use unwritten::Unwritten;
