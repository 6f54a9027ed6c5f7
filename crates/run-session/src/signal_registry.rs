//! What signals are about: the runs of the process that are under way, and the work that they interrupt.

use std::{
    future::poll_fn,
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    task::Poll,
    thread,
    time::{Duration, Instant},
};

use futures::task::AtomicWaker;

use crate::{
    interruption::StopSignal,
    last_words::{LastWordsOnce, say_within},
    on_interrupt::{Announce, OnInterrupt},
    run_state::RunState,
};

/// How long the second signal without a run waits for what the program says on the first one.
pub(crate) const WORDS_LIMIT: Duration = Duration::from_secs(2);

/// How often something that comes soon is looked for.
pub(crate) const INTERVAL: Duration = Duration::from_millis(10);

/// A run that the process ends with.
#[derive(Clone)]
pub(crate) struct Stopping {
    pub(crate) run: Arc<RunState>,
    pub(crate) last_words: Arc<LastWordsOnce>,
}

/// Work that a signal interrupts, for as long as this lives.
pub(crate) struct Watch(pub(crate) Arc<Watched>);

pub(crate) struct Watched {
    run: Weak<RunState>,
    grace: Duration,
    signal: OnceLock<StopSignal>,
    waker: AtomicWaker,
    is_over: Mutex<bool>,
    over: Condvar,
}

impl Watch {
    /// Waits for a signal.
    pub(crate) async fn interrupted(&self) -> StopSignal {
        poll_fn(|context| {
            // Registered before it looks, so that a signal that comes in between wakes it: `AtomicWaker` promises
            // that order.
            self.0.waker.register(context.waker());
            self.0.signal.get().copied().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        *lock(&self.0.is_over) = true;
        self.0.over.notify_all();
        let mut process = process();
        // Dropping the watch is how the work says that it is over: `select` drops both of its futures on every way
        // out, a panic among them.
        process.watches.retain(|watched| !Arc::ptr_eq(watched, &self.0));
        if self.0.signal.get().is_some()
            && let Some(run) = process.runs.iter_mut().find(|run| run.run.ptr_eq(&self.0.run))
        {
            run.has_given_way = true;
        }
    }
}

impl Watched {
    /// The work of a run, which has so long to give way.
    pub(crate) fn new(run: &Arc<RunState>, grace: Duration) -> Self {
        Self {
            run: Arc::downgrade(run),
            grace,
            signal: OnceLock::new(),
            waker: AtomicWaker::new(),
            is_over: Mutex::new(false),
            over: Condvar::new(),
        }
    }

    pub(crate) fn is_of(&self, run: &Arc<RunState>) -> bool {
        std::ptr::eq(self.run.as_ptr(), Arc::as_ptr(run))
    }

    pub(crate) fn interrupt(&self, signal: StopSignal) {
        // The first signal counts.
        let _ = self.signal.set(signal);
        self.waker.wake();
    }

    /// Whether the work has given way before `asked` and the grace are over.
    pub(crate) fn gives_way(&self, asked: Instant) -> bool {
        let left = (asked + self.grace).saturating_duration_since(Instant::now());
        let waited = self.over.wait_timeout_while(lock(&self.is_over), left, |is_over| !*is_over);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// What is under way in this process.
#[derive(Default)]
pub(crate) struct Process {
    pub(crate) watches: Vec<Arc<Watched>>,
    /// The runs that were ever watched and have not ended.
    pub(crate) runs: Vec<WatchedRun>,
    /// Runs that are about to be there.
    pub(crate) starting: usize,
    /// The signals that have come while a run was under way. Empty again when all runs of that time have ended.
    pub(crate) asked: Vec<StopSignal>,
    /// A signal that came while no run was under way ends the process.
    pub(crate) is_ending: bool,
}

pub(crate) struct WatchedRun {
    run: Weak<RunState>,
    pub(crate) grace: Duration,
    /// A signal has interrupted work of it, and that was dropped.
    pub(crate) has_given_way: bool,
    pub(crate) announce: Option<Arc<Announce>>,
    pub(crate) last_words: Arc<LastWordsOnce>,
}

// Signals are the process's: runs of several sessions and threads share one list, and one receiver.
static PROCESS: Mutex<Process> = Mutex::new(Process {
    watches: Vec::new(),
    runs: Vec::new(),
    starting: 0,
    asked: Vec::new(),
    is_ending: false,
});

/// What the program does about a signal that comes while no run is under way.
pub(crate) type WithoutRun = Box<dyn Fn(StopSignal) + Send + Sync>;

pub(crate) static WITHOUT_RUN: OnceLock<WithoutRun> = OnceLock::new();

pub(crate) fn process() -> MutexGuard<'static, Process> {
    lock(&PROCESS)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The run has ended: signals are not about it any more.
pub(crate) fn ended(run: &RunState) {
    let mut process = process();
    let over = process.take_runs(|other| std::ptr::eq(other.run.as_ptr(), run));
    process.forget_signals();
    drop(process);
    // What the program gave may do anything when it is dropped.
    drop(over);
}

/// What the program wants to say where its own code does not come to it.
pub(crate) fn last_words(run: &Arc<RunState>) -> Option<Arc<LastWordsOnce>> {
    process().runs.iter().find(|other| other.is(run)).map(|run| Arc::clone(&run.last_words))
}

/// The runs of the process, when those that are about to be there are, or when it is time.
pub(crate) fn runs_once_started(deadline: Instant) -> Vec<Stopping> {
    loop {
        let process = process();
        // Polled, because a start that hangs on a disk would never notify, and the process must end all the same.
        if process.starting == 0 || Instant::now() >= deadline {
            return process.stopping();
        }
        drop(process);
        thread::sleep(INTERVAL);
    }
}

impl Process {
    /// Takes the runs out that are gone, and those that `is_meant`. They are to be dropped without the lock.
    fn take_runs(&mut self, is_meant: impl Fn(&WatchedRun) -> bool) -> Vec<WatchedRun> {
        // Returned and not dropped here: the answers are closures of the program, and this runs under the lock that
        // every signal needs.
        self.runs.extract_if(.., |run| run.run.strong_count() == 0 || is_meant(run)).collect()
    }

    /// Sets how a run answers to signals. Where the program does not say it anew, what it said before stays. What is
    /// replaced is to be dropped without the lock.
    pub(crate) fn set_answer(&mut self, run: &Arc<RunState>, answer: OnInterrupt) -> Vec<WatchedRun> {
        // A run may be watched for several pieces of work, one after another. It is one entry, with the newest
        // answer.
        let replaced = self.take_runs(|other| other.is(run));
        let before = replaced.iter().find(|other| other.is(run));
        let last_words = match (answer.last_words, before) {
            (None, Some(before)) => Arc::clone(&before.last_words),
            (last_words, _) => Arc::new(LastWordsOnce::new(last_words)),
        };
        let announce = answer.announce.map(Arc::new).or_else(|| before?.announce.clone());
        let run = Arc::downgrade(run);
        self.runs.push(WatchedRun { run, grace: answer.grace, has_given_way: false, announce, last_words });
        replaced
    }

    /// Nothing is left that the signals were about.
    pub(crate) fn forget_signals(&mut self) {
        // Otherwise the ctrl-c of an earlier run of a service would count as the first of two for the next run, and
        // end it at once.
        if self.runs.is_empty() && self.starting == 0 {
            self.asked.clear();
        }
    }

    pub(crate) fn stopping(&self) -> Vec<Stopping> {
        let of_run = |run: &WatchedRun| {
            Some(Stopping { run: run.run.upgrade()?, last_words: Arc::clone(&run.last_words) })
        };
        self.runs.iter().filter_map(of_run).collect()
    }
}

impl WatchedRun {
    pub(crate) fn is(&self, run: &Arc<RunState>) -> bool {
        std::ptr::eq(self.run.as_ptr(), Arc::as_ptr(run))
    }
}

/// What the program says where a signal ends it and no run is under way, in bounded time.
pub(crate) fn say_without_run(signal: StopSignal) {
    if let Some(without_run) = WITHOUT_RUN.get() {
        say_within(WORDS_LIMIT, move || without_run(signal));
    }
}
