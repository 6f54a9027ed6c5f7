//! How a heartbeat beats.

use std::{path::PathBuf, time::Duration};

use crate::stall::StallAfter;

/// How a heartbeat beats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartbeatConfig {
    /// The time between two beats; from 10 ms to a year.
    pub interval: Duration,
    /// The times without progress after which a query or a node counts as stalled.
    pub stall_after: StallAfter,
    /// Whether the stacks of the threads that hold something up are sampled when a stall begins, where the platform allows it.
    pub stacks: bool,
    /// Where to keep the evidence that this process lives; nowhere if `None`.
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
