//! How far the end of a run has come, and what it still waits for.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

use daglight_otel_bridge::SignalLedgers;

/// How long an end that must not wait for servers still waits for the files of the bundle.
const LAST_WRITES: Duration = Duration::from_millis(300);

/// The state of a run's end. Those who flush report here; the end waits here, until `flush_now` ends the wait.
#[derive(Default)]
pub(crate) struct EndProgress {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    begun: bool,
    thread: Option<ThreadId>,
    beside_the_work: bool,
    /// Servers are not waited for.
    without_servers: bool,
    tracker_flushed: bool,
    lineage_flushed: bool,
    signals: Option<SignalLedgers>,
}

impl EndProgress {
    pub(crate) fn begin(&self) {
        self.lock().begun = true;
    }

    /// Does it unless the end has begun, which does not begin meanwhile. `change` must not come back here.
    pub(crate) fn unless_begun<T>(&self, change: impl FnOnce() -> T) -> Option<T> {
        let state = self.lock();
        let changed = (!state.begun).then(change);
        drop(state);
        changed
    }

    /// The thread that ends the run is the one that calls this.
    pub(crate) fn ends_here(&self) {
        self.lock().thread = Some(thread::current().id());
    }

    /// Whether this is the thread that ends the run.
    pub(crate) fn is_ended_here(&self) -> bool {
        self.lock().thread == Some(thread::current().id())
    }

    /// The work of the run goes on although nobody waits for it: what it leaves open is to be closed for it.
    pub(crate) fn begin_beside_the_work(&self) {
        self.lock().beside_the_work = true;
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.lock().begun
    }

    pub(crate) fn is_beside_the_work(&self) -> bool {
        self.lock().beside_the_work
    }

    /// Whether servers are not waited for.
    pub(crate) fn is_without_servers(&self) -> bool {
        self.lock().without_servers
    }

    /// Servers are not to be waited for any longer.
    pub(crate) fn flush_now(&self) {
        self.change(|state| state.without_servers = true);
    }

    pub(crate) fn tracker_flushed(&self) {
        self.change(|state| state.tracker_flushed = true);
    }

    pub(crate) fn lineage_flushed(&self) {
        self.change(|state| state.lineage_flushed = true);
    }

    pub(crate) fn signals_flushed(&self, ledgers: SignalLedgers) {
        self.change(|state| state.signals = Some(ledgers));
    }

    /// Waits until `deadline`, until the tracker is flushed, or until `enough` says so, which is asked at short intervals.
    pub(crate) fn wait_for_tracker(&self, deadline: Instant, enough: impl Fn() -> bool) {
        const INTERVAL: Duration = Duration::from_millis(5);
        let mut state = self.lock();
        // In small steps, because nobody notifies when `enough` changes.
        while !state.tracker_flushed && !state.without_servers && !enough() && Instant::now() < deadline {
            state = self.changed.wait_timeout(state, INTERVAL).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until all is flushed or `deadline` is over, and takes the counts of the signals, where they came in time.
    pub(crate) fn wait_for_all(&self, deadline: Instant) -> Option<SignalLedgers> {
        let mut state = self.lock();
        let mut deadline = deadline;
        while !(state.tracker_flushed && state.lineage_flushed && state.signals.is_some()) {
            if state.without_servers {
                // Asked not to wait for servers. What is on its way to a file takes a moment, and is waited for.
                deadline = deadline.min(Instant::now() + LAST_WRITES);
                // Once: or else each turn would move the deadline on.
                state.without_servers = false;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.signals.take()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
