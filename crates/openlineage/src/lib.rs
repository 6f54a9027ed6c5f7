//! OpenLineage: what a run tells those who ask where data comes from.
//!
//! ```text
//! RunFacts, NodeFacts, DatasetFacts     what happens, in no engine's terms        LineageRun
//!   RunEvent                            version 2-0-2 of the specification
//!   openlineage.jsonl                   a line each, before anything is sent      LineageEvents of daglight-run-bundle
//!   Target                              HTTP, files or the console                sync_lineage delivers the rest later
//! ```
//!
//! An event is in the bundle when a function that records it returns; a thread sends what the file holds, and the progress is kept
//! beside it. Events of different nodes are on their way at once, those of one run, and of a run and its parent, one after the other.
//! A receiver may get an event twice: where it was killed, or this process was, between an event and the record of its
//! delivery. OpenLineage provides for that, as events add up to the state of a run.
//!
//! Values of user data come in as [`Captured`](daglight_capture_policy::Captured) only. Which facts of a run are told is decided by
//! `daglight-run-session`, how the file is written by `daglight-run-bundle`.

mod naming;
mod facts;

mod spelling;
mod event;
mod facets;
mod metrics;
mod assertions;
mod events_of;

mod target;
mod answer;
mod http;
mod local;
mod sending;
mod asking;

mod wave;
mod delivery;
mod recorder;
mod sync;
mod close;

pub use asking::{NoReceiver, check_receiver};
pub use close::{CloseEventsError, close_open_events};
pub use facets::Transformation;
pub use facts::{
    Column, ColumnOrigin, DatasetFacts, Ending, ErrorFacts, NodeFacts, NominalTime, ParentRun,
    ParentRunError, RunFacts, SourceLocation,
};
pub use naming::DatasetName;
pub use recorder::LineageRun;
pub use sync::{LineageSync, SyncLineageError, sync_lineage};
pub use target::{Target, TargetError};
