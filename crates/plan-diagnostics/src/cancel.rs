//! Ending a query that runs from outside of it.

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError},
    task::Waker,
};

use datafusion::error::DataFusionError;
use futures::task::AtomicWaker;

/// Why a query was ended from outside. The error of the query has it as its root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
#[non_exhaustive]
pub struct QueryCancelled {
    /// In words.
    pub reason: String,
}

impl QueryCancelled {
    /// The one that an error of DataFusion is about.
    pub fn of(error: &DataFusionError) -> Option<&Self> {
        match error.find_root() {
            DataFusionError::External(error) => error.downcast_ref(),
            _ => None,
        }
    }
}

/// The order to a query to end, which its partitions find when they are polled.
#[derive(Debug, Default)]
pub(crate) struct Cancel {
    order: OnceLock<QueryCancelled>,
    /// Of who waits for the rows of a partition.
    waiting: Mutex<Vec<Arc<AtomicWaker>>>,
}

impl Cancel {
    /// Who asks for the rows of one more partition.
    pub(crate) fn reader(&self) -> Arc<AtomicWaker> {
        let reader = Arc::new(AtomicWaker::new());
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // A recursive query executes its partitions again and again.
        if waiting.len() == waiting.capacity() {
            waiting.retain(|reader| Arc::strong_count(reader) > 1);
        }
        waiting.push(Arc::clone(&reader));
        reader
    }

    #[cfg(test)]
    pub(crate) fn readers(&self) -> usize {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Has every partition end with this reason. The first one counts.
    pub(crate) fn order(&self, reason: &str) {
        // The first order counts, and its reason.
        let _ = self.order.set(QueryCancelled { reason: reason.to_owned() });
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // Without the lock, since a waker may run the task that registers the next reader.
        waiting.iter().for_each(|reader| reader.wake());
    }

    /// The error of a partition that is to end. A `waker` is one who waits until there are rows: it is woken by an order that
    /// comes later.
    pub(crate) fn ordered(&self, reader: &AtomicWaker, waker: Option<&Waker>) -> Option<DataFusionError> {
        // Registered before the order is looked for, or one that comes in between would wake nobody.
        if let Some(waker) = waker {
            reader.register(waker);
        }
        let cancelled = self.order.get()?.clone();
        Some(DataFusionError::External(Box::new(cancelled)))
    }
}
