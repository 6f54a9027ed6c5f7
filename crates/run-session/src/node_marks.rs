//! By what a node is seen to move, besides the rows of its queries.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Counts what moves a node, and knows after which time it is stalled.
#[derive(Debug, Default)]
pub(crate) struct NodeMarks {
    count: AtomicU64,
    stall_after: Mutex<Option<Duration>>,
    /// Held by each task of the node.
    tasks: Arc<()>,
}

/// A task of a node, which has not ended until this is dropped.
#[derive(Debug)]
pub(crate) struct OpenTask {
    _of_node: Arc<()>,
}

impl NodeMarks {
    pub(crate) fn mark(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// The node has a task more.
    pub(crate) fn task(&self) -> OpenTask {
        OpenTask { _of_node: Arc::clone(&self.tasks) }
    }

    /// How many tasks of it have not ended.
    pub(crate) fn tasks(&self) -> usize {
        Arc::strong_count(&self.tasks) - 1
    }

    pub(crate) fn set_stall_after(&self, time: Duration) {
        *self.stall_after.lock().unwrap_or_else(PoisonError::into_inner) = Some(time);
    }

    pub(crate) fn stall_after(&self) -> Option<Duration> {
        *self.stall_after.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
