//! By what a node is seen to move, besides the rows of its queries.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Counts what moves a node, and knows after which time it is stalled.
#[derive(Debug, Default)]
pub(crate) struct NodeMarks {
    count: AtomicU64,
    stall_after: Mutex<Option<Duration>>,
}

impl NodeMarks {
    pub(crate) fn mark(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    pub(crate) fn set_stall_after(&self, time: Duration) {
        *self.stall_after.lock().unwrap_or_else(PoisonError::into_inner) = Some(time);
    }

    pub(crate) fn stall_after(&self) -> Option<Duration> {
        *self.stall_after.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
