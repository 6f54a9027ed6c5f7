//! The heartbeat of a run on its own thread: stages, active tasks, IO counters, stall detection, process evidence.
//!
//! A [`Heartbeat`] is an operating system thread, because a blocking function inside a query blocks the threads of the runtime.
//! Each [`Beat`] contains what is active, what the process has used, and which queries make no progress. The same facts are written
//! to `heartbeat.json`, from which [`ProcessEvidence`](daglight_run_bundle::ProcessEvidence) shows later whether the process is
//! still alive, and what it was doing when it was last seen.
//!
//! Converting DataFusion's progress to [`QueryProgress`] belongs to `daglight-run-session`; converting beats to traces and metrics,
//! to `daglight-otel-bridge`.

mod config;
mod heartbeat;
mod board;
mod beating;
mod beat;
mod progress;
mod process;
mod standard_streams;
mod thread_use;
mod stall;
mod stall_class;
mod stalled_operator;
mod open_stalls;
mod stacks;
#[cfg(test)]
mod planted;

pub use beat::{Beat, Rates};
pub use config::HeartbeatConfig;
pub use heartbeat::{Heartbeat, StageGuard, TaskGuard};
pub use open_stalls::StallChanges;
pub use process::ProcessFacts;
pub use progress::{
    MemoryUse, MemoryWait, Moved, Names, NoProgress, NodeProgress, Nodes, OperatorProgress, Poll, Progress,
    QueryProgress, RuntimeUse, Sample, StatementProgress,
};
pub use stall::{StallAfter, StallDetector};
pub use stalled_operator::stalled_operator;
