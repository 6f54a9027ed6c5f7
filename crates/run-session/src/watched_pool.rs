//! A memory pool that knows who waits in it.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use daglight_heartbeat::MemoryWait;
use daglight_plan_diagnostics::this_thread;
use datafusion::{
    error::Result,
    execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation},
};

/// Stands in front of a pool. One that blocks until others give memory back is seen while it does.
pub(crate) struct WatchedPool {
    inner: Arc<dyn MemoryPool>,
    waits: Mutex<Vec<(u64, MemoryWait)>>,
    next: AtomicU64,
}

impl WatchedPool {
    pub(crate) fn new(inner: Arc<dyn MemoryPool>) -> Self {
        Self { inner, waits: Mutex::default(), next: AtomicU64::new(0) }
    }

    /// Whether it stands in front of this pool.
    pub(crate) fn watches(&self, pool: &Arc<dyn MemoryPool>) -> bool {
        Arc::ptr_eq(&self.inner, pool)
    }

    /// Who is inside the pool at this moment.
    pub(crate) fn waits(&self) -> Vec<MemoryWait> {
        self.lock().iter().map(|(_, wait)| wait.clone()).collect()
    }

    fn waiting(&self, reservation: &MemoryReservation, bytes: usize) -> Waiting<'_> {
        // By a number, since one consumer may wait on several threads at once.
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        // Only while it waits. A pool answers in nanoseconds else, and this is why pools that never wait are not
        // watched.
        let consumer = reservation.consumer().name().to_owned();
        self.lock().push((id, MemoryWait { consumer, bytes: bytes as u64, thread: this_thread() }));
        Waiting { pool: self, id }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(u64, MemoryWait)>> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Waiting<'p> {
    pool: &'p WatchedPool,
    id: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.pool.lock().retain(|(id, _)| *id != self.id);
    }
}

impl fmt::Debug for WatchedPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.inner, f)
    }
}

impl fmt::Display for WatchedPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner, f)
    }
}

impl MemoryPool for WatchedPool {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.inner.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.inner.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        let _waiting = self.waiting(reservation, additional);
        self.inner.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        // Never waits: it gives memory back.
        self.inner.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let _waiting = self.waiting(reservation, additional);
        self.inner.try_grow(reservation, additional)
    }

    fn reserved(&self) -> usize {
        self.inner.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        self.inner.memory_limit()
    }
}
