//! The beat of a run on its own thread: stages, active tasks, IO counters, stall detection, process evidence.
//!
//! A [`Heartbeat`] is an operating system thread, because a blocking function inside a query holds the threads of the
//! runtime. Each [`Beat`] says what is active, what the process has used, and which queries make no progress. The same
//! facts go into `heartbeat.json`, from which [`ProcessEvidence`] tells later whether the process still lives, and
//! what it was doing when it was last seen.
//!
//! How DataFusion's progress becomes [`QueryProgress`] belongs to `daglight-run-session`; what a beat becomes in
//! traces and metrics, to `daglight-otel-bridge`.

mod beat;
mod evidence;
mod heartbeat;
mod process;
mod progress;
mod stall;

pub use beat::{ActiveTask, Beat, IoCounters};
pub use evidence::{EVIDENCE_VERSION, EvidenceError, Liveness, ProcessEvidence};
pub use heartbeat::{Heartbeat, HeartbeatConfig, StageGuard, TaskGuard};
pub use progress::{NoProgress, OperatorProgress, Progress, QueryProgress};
pub use stall::{Stall, StallChanges, StallDetector, StallEpisode, StallLog, stalled_operator};
