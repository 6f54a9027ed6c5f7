//! A bounded queue with a worker thread, where every item is accounted for and every wait is bounded.

use std::{
    collections::VecDeque,
    fmt, io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use opentelemetry::Context;

/// No wait is longer than a year.
const LONGEST_WAIT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The deadline for a timeout of any length.
pub(crate) fn deadline_in(timeout: Duration) -> Instant {
    // `Instant + Duration::MAX` panics, and `Duration::MAX` is what programs pass for "without a limit".
    Instant::now() + timeout.min(LONGEST_WAIT)
}

/// The settings of a [`Queue`].
#[derive(Debug, Clone)]
pub(crate) struct QueueSettings {
    /// The name of the worker thread; systems cut it at 15 bytes.
    pub(crate) name: &'static str,
    /// The maximum number of waiting items.
    pub(crate) capacity: usize,
    /// The maximum number of items given to the worker at once.
    pub(crate) max_batch: usize,
    /// How long the worker lets items accumulate before it takes them.
    pub(crate) linger: Duration,
    /// What happens to an item if the queue is full.
    pub(crate) when_full: WhenFull,
}

/// What happens to an item if a queue is full.
#[derive(Debug, Clone, Copy)]
pub(crate) enum WhenFull {
    /// It is rejected.
    Refuse,
    /// The thread that pushes it waits for room, so that nothing is lost. A worker that makes no room for this long counts as
    /// stalled: items are rejected until it makes progress again.
    Wait(Duration),
}

/// Items that wait for a worker thread, which takes them in batches.
///
/// Dropping the queue closes it without waiting: the worker still takes the waiting items.
pub(crate) struct Queue<T> {
    shared: Arc<Shared<T>>,
    settings: QueueSettings,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    /// Wakes the worker.
    work: Condvar,
    /// Wakes threads that wait for room or for a flush.
    progress: Condvar,
}

struct State<T> {
    items: VecDeque<T>,
    /// The number of all accepted items.
    accepted: u64,
    /// The number of items that the worker is done with.
    done: u64,
    /// The worker does not linger until it has done this many items.
    flush_until: u64,
    closed: bool,
    stalled: bool,
    /// The worker thread has ended, because the queue was closed or because it panicked.
    ended: bool,
}

impl<T: Send + 'static> Queue<T> {
    /// Starts the worker. Nothing that it does is itself recorded by OpenTelemetry.
    pub(crate) fn start(
        settings: QueueSettings,
        work: impl FnMut(Vec<T>) + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                items: VecDeque::new(),
                accepted: 0,
                done: 0,
                flush_until: 0,
                closed: false,
                stalled: false,
                ended: false,
            }),
            work: Condvar::new(),
            progress: Condvar::new(),
        });
        let worker = EndOnDrop(Arc::clone(&shared));
        let (max_batch, linger) = (settings.max_batch, settings.linger);
        thread::Builder::new().name(settings.name.to_owned()).spawn(move || {
            // Locals are dropped in reverse order: everything that `work` holds is dropped before the end is announced.
            let worker = worker;
            let mut work = work;
            // Otherwise everything that the HTTP client, or other code on this thread, records about its own work would end up in
            // this queue, in an endless loop.
            let _suppressed = Context::enter_telemetry_suppressed_scope();
            while let Some(batch) = worker.0.next_batch(max_batch, linger) {
                let size = batch.len() as u64;
                work(batch);
                worker.0.finished(size);
            }
        })?;
        Ok(Self { shared, settings })
    }

    /// Accepts an item, or returns it if there is no room, the queue is closed or its worker has ended.
    pub(crate) fn push(&self, item: T) -> Result<(), T> {
        let mut state = self.shared.lock();
        if let WhenFull::Wait(longest) = self.settings.when_full
            && state.is_full(self.settings.capacity)
            // After one thread has waited in vain, no other thread waits until the worker makes progress: otherwise each span of
            // the pipeline would wait for the full limit if a disk hangs.
            && !state.stalled
        {
            let done_before = state.done;
            let full = |state: &mut State<T>| state.is_full(self.settings.capacity);
            let (guard, timeout) = self
                .shared
                .progress
                .wait_timeout_while(state, longest, full)
                .unwrap_or_else(PoisonError::into_inner);
            state = guard;
            // A worker that has finished anything in the meantime is slow, not stuck, so that waiting again is worthwhile.
            state.stalled |= timeout.timed_out() && state.done == done_before;
        }
        // Checked again after the wait: another thread may have taken the free place.
        if state.closed || state.ended || state.items.len() >= self.settings.capacity {
            return Err(item);
        }
        state.items.push_back(item);
        state.accepted += 1;
        let waiting = state.items.len();
        drop(state);
        // The worker waits for the first item, and then for a full batch or the timeout. Waking it in between would cost a context
        // switch for each span.
        if waiting == 1 || waiting == self.settings.max_batch {
            self.shared.work.notify_one();
        }
        Ok(())
    }

    /// Waits until everything accepted so far is done. Returns false if that did not happen before `deadline`.
    pub(crate) fn flush(&self, deadline: Instant) -> bool {
        self.flush_now();
        // Later items are not waited for: a program that records continuously would otherwise never return.
        let target = self.shared.lock().flush_until;
        self.wait_until(deadline, |state| state.done >= target)
    }

    /// Makes the worker take the waiting items without lingering, and does not wait for it.
    pub(crate) fn flush_now(&self) {
        let mut state = self.shared.lock();
        state.flush_until = state.accepted;
        drop(state);
        self.shared.work.notify_one();
    }

    /// Accepts no more items, and waits until the worker has ended. Returns false if that did not happen before `deadline`; the
    /// worker then continues on its own.
    pub(crate) fn close(&self, deadline: Instant) -> bool {
        self.shared.close();
        self.wait_until(deadline, |_| false)
    }

    fn wait_until(&self, deadline: Instant, reached: impl Fn(&State<T>) -> bool) -> bool {
        let wait = deadline.saturating_duration_since(Instant::now());
        let (state, _) = self
            .shared
            .progress
            .wait_timeout_while(self.shared.lock(), wait, |state| !state.ended && !reached(state))
            .unwrap_or_else(PoisonError::into_inner);
        // A worker that panicked has also ended, and then the remaining items were not sent.
        reached(&state) || (state.ended && state.items.is_empty())
    }
}

impl<T> State<T> {
    fn is_full(&self, capacity: usize) -> bool {
        self.items.len() >= capacity && !self.closed && !self.ended
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.lock().closed = true;
        self.work.notify_one();
    }

    /// The next items, or `None` if the queue is closed and empty.
    fn next_batch(&self, max_batch: usize, linger: Duration) -> Option<Vec<T>> {
        let state = self.lock();
        let mut state = self
            .work
            .wait_while(state, |state| state.items.is_empty() && !state.closed)
            .unwrap_or_else(PoisonError::into_inner);
        let gathering = |state: &mut State<T>| {
            // A flush that was requested while the queue was empty is already done, and must not shorten later batches.
            state.items.len() < max_batch && !state.closed && state.done >= state.flush_until
        };
        if gathering(&mut state) {
            state = self
                .work
                .wait_timeout_while(state, linger, gathering)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        // Not all: the size of a request is limited, and memory holds one batch more than the queue.
        let size = state.items.len().min(max_batch);
        let batch: Vec<T> = state.items.drain(..size).collect();
        drop(state);
        self.progress.notify_all();
        (!batch.is_empty()).then_some(batch)
    }

    fn finished(&self, size: u64) {
        let mut state = self.lock();
        state.done += size;
        state.stalled = false;
        drop(state);
        self.progress.notify_all();
    }
}

impl<T> Drop for Queue<T> {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Announces that the worker has ended, even if it panicked.
struct EndOnDrop<T>(Arc<Shared<T>>);

impl<T> Drop for EndOnDrop<T> {
    fn drop(&mut self) {
        // In `Drop`, so that it also happens after a panic: otherwise every thread that waits for this queue would wait until its
        // deadline.
        self.0.lock().ended = true;
        self.0.progress.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn settings(capacity: usize, when_full: WhenFull) -> QueueSettings {
        QueueSettings { name: "test", capacity, max_batch: 8, linger: Duration::from_secs(60), when_full }
    }

    fn in_time() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    #[test]
    fn a_burst_of_many_threads_arrives_whole() {
        let (sender, receiver) = mpsc::channel();
        let queue = Queue::start(settings(16, WhenFull::Wait(Duration::from_secs(20))), move |batch| {
            sender.send(batch.len()).unwrap();
        })
        .unwrap();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..5_000).for_each(|item| queue.push(item).unwrap()));
            }
        });
        assert!(queue.flush(in_time()));
        assert_eq!(receiver.try_iter().sum::<usize>(), 20_000);
        assert!(queue.close(in_time()));
        assert_eq!(queue.push(1), Err(1));
    }

    #[test]
    fn a_full_queue_refuses_and_a_flush_has_an_end() {
        let (release, released) = mpsc::channel::<()>();
        let queue = Queue::start(settings(2, WhenFull::Refuse), move |_| {
            let _ = released.recv();
        })
        .unwrap();
        assert!((0..100).map(|item| queue.push(item)).any(|pushed| pushed.is_err()));
        assert!(!queue.flush(Instant::now() + Duration::from_millis(20)));
        drop(release);
        assert!(queue.flush(in_time()));
    }

    #[test]
    fn a_stalled_worker_is_not_waited_for_again_and_again() {
        let (release, released) = mpsc::channel::<()>();
        let queue = Queue::start(settings(1, WhenFull::Wait(Duration::from_millis(10))), move |_| {
            let _ = released.recv();
        })
        .unwrap();
        let refused = (0..1_000).filter(|item| queue.push(*item).is_err()).count();
        assert!(refused >= 997, "{refused}");
        drop(release);
        assert!(queue.close(in_time()));
    }

    #[test]
    fn a_worker_that_panics_blocks_no_others() {
        let queue = Queue::start(settings(1, WhenFull::Wait(Duration::from_secs(20))), |_: Vec<u8>| {
            std::panic::resume_unwind(Box::new("gone"));
        })
        .unwrap();
        let _ = queue.push(1);
        queue.flush(in_time());
        assert_eq!(queue.push(2), Err(2));
    }
}
