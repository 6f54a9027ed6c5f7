//! What a processor keeps for each span from its start to its end.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use opentelemetry::trace::SpanId;

/// The number of locks over which the spans are distributed.
const SHARDS: usize = 16;

/// A value for each open span, with concurrent insertion and removal.
pub(crate) struct SpanMap<T>([Mutex<HashMap<SpanId, T>>; SHARDS]);

impl<T> SpanMap<T> {
    pub(crate) fn insert(&self, span: SpanId, value: T) {
        self.shard(span).insert(span, value);
    }

    pub(crate) fn remove(&self, span: SpanId) -> Option<T> {
        self.shard(span).remove(&span)
    }

    fn shard(&self, span: SpanId) -> MutexGuard<'_, HashMap<SpanId, T>> {
        let [.., last] = span.to_bytes();
        self.0[usize::from(last) % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Default for SpanMap<T> {
    fn default() -> Self {
        Self(Default::default())
    }
}

impl<T> fmt::Debug for SpanMap<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpanMap").finish_non_exhaustive()
    }
}
