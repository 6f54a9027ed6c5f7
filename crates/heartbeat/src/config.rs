//! The configuration of a heartbeat.

use std::{path::PathBuf, time::Duration};

use crate::stall::StallAfter;

/// The configuration of a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartbeatConfig {
    /// The time between two beats; from 10 ms to a year.
    pub interval: Duration,
    /// The times without progress after which a query or a node counts as stalled.
    pub stall_after: StallAfter,
    /// Whether to sample the stacks of blocked threads when a stall begins, on platforms that support it.
    pub stacks: bool,
    /// Where to write the evidence that this process is alive; not at all if `None`.
    pub evidence: Option<PathBuf>,
}

impl Default for HeartbeatConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(5),
            stall_after: StallAfter::default(),
            stacks: true,
            evidence: None,
        }
    }
}
