//! What one beat says.

use chrono::{DateTime, Utc};
use daglight_run_bundle::{ActiveTask, IoCounters, Stall};
use serde::{Deserialize, Serialize};

use crate::StallChanges;

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
    /// What runs, in the order of its start.
    pub active_tasks: Vec<ActiveTask>,
    /// What the process has moved from and to storage; `None` where the system does not say.
    pub io: Option<IoCounters>,
    /// Processor time of the process, user and system; `None` where the system does not say.
    pub cpu_seconds: Option<f64>,
    /// Memory that the process holds; `None` where the system does not say.
    pub resident_bytes: Option<u64>,
    /// Queries that make no progress.
    pub stalls: Vec<Stall>,
    /// Which of those are new with this beat, and which of the one before are over.
    pub stall_changes: StallChanges,
    /// Why the evidence of this beat is not on disk, where it should be.
    pub evidence_error: Option<String>,
}
