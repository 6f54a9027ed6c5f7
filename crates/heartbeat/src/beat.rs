//! The content of a beat.

use std::time::Duration;

use chrono::{DateTime, Utc};
use daglight_run_bundle::{ActiveTask, Stall, Warning};
use serde::{Deserialize, Serialize};

use crate::{
    open_stalls::StallChanges,
    process::ProcessFacts,
    progress::{MemoryUse, Moved, Nodes, RuntimeUse},
};

/// The state of a run at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Beat {
    /// Counts from 1.
    pub sequence: u64,
    /// When the beat was taken.
    pub at: DateTime<Utc>,
    /// Seconds since the heartbeat started.
    pub uptime_seconds: f64,
    /// The stage that was entered last and is still open.
    pub stage: Option<String>,
    /// The running tasks, in the order of their start.
    pub active_tasks: Vec<ActiveTask>,
    /// The nodes that have not started, and those that have ended.
    pub nodes: Nodes,
    /// The rows and bytes that the queries of the run have moved so far.
    pub moved: Moved,
    /// The same per second since the previous beat. `None` at the first beat.
    pub rates: Option<Rates>,
    /// The memory that queries have reserved; `None` without a session.
    pub memory: Option<MemoryUse>,
    /// The threads of the async runtime; `None` if the run has none.
    pub runtime: Option<RuntimeUse>,
    /// The resources that the process uses.
    pub process: ProcessFacts,
    /// Queries that make no progress.
    pub stalls: Vec<Stall>,
    /// Whether anything makes progress: false if all running nodes and queries are stalled.
    #[serde(default = "moves")]
    pub is_moving: bool,
    /// Which stalls are new with this beat, and which have ended since the previous one.
    pub stall_changes: StallChanges,
    /// Why the evidence of this beat could not be written.
    pub evidence_error: Option<Warning>,
}

/// Beats of older versions lack the field.
const fn moves() -> bool {
    true
}

/// How fast a run moves rows and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Rows that scans returned, per second.
    pub rows_read: f64,
    /// Rows that sinks accepted, per second.
    pub rows_written: f64,
    /// Bytes that scans read from storage, per second.
    pub bytes_read: f64,
    /// Bytes that sinks wrote to storage, per second.
    pub bytes_written: f64,
}

impl Rates {
    /// The rates between two points in time. `None` if no time has passed.
    pub(crate) fn between(before: &Moved, now: &Moved, elapsed: Duration) -> Option<Self> {
        let seconds = elapsed.as_secs_f64();
        let rate = |before: u64, now: u64| now.saturating_sub(before) as f64 / seconds;
        (seconds > 0.0).then(|| Self {
            rows_read: rate(before.rows_read, now.rows_read),
            rows_written: rate(before.rows_written, now.rows_written),
            bytes_read: rate(before.bytes_read, now.bytes_read),
            bytes_written: rate(before.bytes_written, now.bytes_written),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_the_time_between() {
        let before = Moved { rows_read: 100, bytes_written: 7, ..Moved::default() };
        let now = Moved { rows_read: 300, bytes_written: 7, ..before };
        let rates = Rates::between(&before, &now, Duration::from_millis(500)).unwrap();
        assert_eq!(rates, Rates { rows_read: 400.0, ..Rates::default() });
        // If a query is no longer counted, the rates do not become negative.
        assert_eq!(Rates::between(&now, &before, Duration::from_secs(1)), Some(Rates::default()));
        assert_eq!(Rates::between(&before, &now, Duration::ZERO), None);
    }
}
