//! The ends of runs that were dropped, which go on beside the program, and the handles that wait for them.

use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// What the ends of a process's runs share.
#[derive(Default)]
pub(crate) struct Ends {
    state: Mutex<State>,
    changed: Condvar,
    handles: AtomicUsize,
}

#[derive(Default)]
struct State {
    /// Runs that have started and not ended.
    open_runs: usize,
    /// Ends that go on.
    under_way: usize,
    /// When an end gave up waiting for a backend.
    gave_up_at: Option<Instant>,
}

impl Ends {
    /// Ends a run on a separate thread. Where that cannot be started, here and now.
    pub(crate) fn begin<R: Send + Sync + 'static>(self: &Arc<Self>, run: &Arc<R>, end: fn(&Arc<R>)) {
        // Counted before the thread starts, so that everyone who waits from now on waits for it.
        let (under_way, of_thread) = (self.under_way(), Arc::clone(run));
        let end_there = move || {
            end(&of_thread);
            // Before it says that it has ended, so that the last handle of the run is not dropped on this thread
            // after the process was informed that nothing is left to do.
            drop(of_thread);
            drop(under_way);
        };
        let started = thread::Builder::new().name("daglight-finish".into()).spawn(end_there);
        // No thread can be had: the run then ends on this one, which waits.
        if started.is_err() {
            end(run);
        }
    }

    /// Counts an end as one that goes on, for as long as the guard lives.
    pub(crate) fn under_way(self: &Arc<Self>) -> UnderWay {
        self.lock().under_way += 1;
        UnderWay(Arc::clone(self))
    }

    pub(crate) fn run_started(&self) {
        self.lock().open_runs += 1;
    }

    /// True where that was the last open run, and no handle is left that could shut the telemetry down.
    pub(crate) fn run_ended(&self) -> bool {
        let mut state = self.lock();
        state.open_runs = state.open_runs.saturating_sub(1);
        // The last to go, run or handle, flushes what all of them have sent.
        state.open_runs == 0 && self.handles.load(Ordering::Acquire) == 0
    }

    pub(crate) fn has_open_runs(&self) -> bool {
        self.lock().open_runs > 0
    }

    /// Waits for the ends that go on, at most for `limit`.
    pub(crate) fn wait(&self, limit: Duration) {
        let waited = self.changed.wait_timeout_while(self.lock(), limit, |state| state.under_way > 0);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// An end has waited for a backend as long as it may: nothing is to be gained by waiting once more.
    pub(crate) fn gave_up(&self) {
        self.lock().gave_up_at = Some(Instant::now());
    }

    /// Whether an end has given up within that time.
    pub(crate) fn gave_up_within(&self, time: Duration) -> bool {
        self.lock().gave_up_at.is_some_and(|at| at.elapsed() < time)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An end that goes on.
pub(crate) struct UnderWay(Arc<Ends>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.lock().under_way -= 1;
        self.0.changed.notify_all();
    }
}

/// One of the handles of a program on its telemetry. Those that runs hold do not count.
pub(crate) struct Handle(Arc<Ends>);

impl Handle {
    pub(crate) fn new(ends: &Arc<Ends>) -> Self {
        ends.handles.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(ends))
    }

    /// Gives the handle back. True for the last one.
    pub(crate) fn give_back(&self) -> bool {
        self.0.handles.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

impl Clone for Handle {
    fn clone(&self) -> Self {
        Self::new(&self.0)
    }
}
