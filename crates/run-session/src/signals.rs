//! The thread that receives the signals which tell the process to end, and what it does about the runs under way.

use std::{
    fs,
    future::poll_fn,
    io::{self, Write as _},
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak, mpsc},
    task::Poll,
    thread,
    time::{Duration, Instant},
};

use futures::task::AtomicWaker;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
    low_level,
};
use tracing::Level;

use crate::{
    FinishReport, OnInterrupt, StopSignal,
    interrupt::{Announce, LastWords},
    log::warn_of,
    run_state::RunState,
};

const INTERRUPTED: &str = "interrupted, ending the run; again to stop now";
const CUT_SHORT: &str = "interrupted, the run has ended and waits for servers no longer; again to stop now";

/// How long a process that is about to end waits for what the program says of it.
const LAST_WORDS_LIMIT: Duration = Duration::from_secs(2);

impl StopSignal {
    const ALL: [Self; 3] = [Self::Interrupt, Self::Terminate, Self::Hangup];

    const fn number(self) -> i32 {
        match self {
            Self::Interrupt => SIGINT,
            Self::Terminate => SIGTERM,
            Self::Hangup => SIGHUP,
        }
    }

    fn of(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|signal| signal.number() == number)
    }
}

/// Work that a signal interrupts, for as long as this lives.
pub(crate) struct Watch(Arc<Watched>);

struct Watched {
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
        process.watches.retain(|watched| !Arc::ptr_eq(watched, &self.0));
        if self.0.signal.get().is_some()
            && let Some(run) = process.runs.iter_mut().find(|run| run.run.ptr_eq(&self.0.run))
        {
            run.has_given_way = true;
        }
    }
}

impl Watched {
    fn is_of(&self, run: &Arc<RunState>) -> bool {
        std::ptr::eq(self.run.as_ptr(), Arc::as_ptr(run))
    }

    fn interrupt(&self, signal: StopSignal) {
        // The first signal counts.
        let _ = self.signal.set(signal);
        self.waker.wake();
    }

    /// Whether the work has given way before `asked` and the grace are over.
    fn gives_way(&self, asked: Instant) -> bool {
        let left = (asked + self.grace).saturating_duration_since(Instant::now());
        let waited = self.over.wait_timeout_while(lock(&self.is_over), left, |is_over| !*is_over);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// What is under way in this process.
#[derive(Default)]
struct Process {
    watches: Vec<Arc<Watched>>,
    /// The runs that were ever watched and have not ended.
    runs: Vec<WatchedRun>,
    /// A signal has come, and the runs of that time have not all ended.
    asked: bool,
}

struct WatchedRun {
    run: Weak<RunState>,
    grace: Duration,
    /// A signal has interrupted work of it, and that was dropped.
    has_given_way: bool,
    announce: Option<Arc<Announce>>,
    last_words: Option<LastWords>,
}

static PROCESS: Mutex<Process> = Mutex::new(Process { watches: Vec::new(), runs: Vec::new(), asked: false });

fn process() -> MutexGuard<'static, Process> {
    lock(&PROCESS)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has signals interrupt the work of a run from now on.
pub(crate) fn watch(run: &Arc<RunState>, answer: OnInterrupt) -> Watch {
    listen();
    let watched = Arc::new(Watched {
        run: Arc::downgrade(run),
        grace: answer.grace,
        signal: OnceLock::new(),
        waker: AtomicWaker::new(),
        is_over: Mutex::new(false),
        over: Condvar::new(),
    });
    let mut process = process();
    process.watches.push(Arc::clone(&watched));
    let of_run = WatchedRun {
        run: Arc::downgrade(run),
        grace: answer.grace,
        has_given_way: false,
        announce: answer.announce.map(Arc::new),
        last_words: answer.last_words,
    };
    let replaced: Vec<WatchedRun> = process.take_runs(|other| other.is(run));
    process.runs.push(of_run);
    drop(process);
    // What the program gave may do anything when it is dropped.
    drop(replaced);
    // A run that was interrupted before stays so. A signal that comes from now on finds the watch.
    if let Some(signal) = run.interruption.get() {
        watched.interrupt(*signal);
    }
    Watch(watched)
}

/// The run has ended: signals are not about it any more.
pub(crate) fn ended(run: &RunState) {
    let mut process = process();
    let over = process.take_runs(|other| std::ptr::eq(other.run.as_ptr(), run));
    process.asked &= !process.runs.is_empty();
    drop(process);
    // What the program gave may do anything when it is dropped.
    drop(over);
}

/// Ends the process of an interrupted run whose own code does not come to it. What the program wanted to say then is
/// said.
pub(crate) fn exit_for(run: &Arc<RunState>, last_words: Option<LastWords>, report: &FinishReport) {
    let Some(signal) = run.interruption.get() else { return };
    if let Some(last_words) = last_words {
        say_last_words(last_words, report);
    }
    low_level::exit(signal.exit_code().into());
}

/// Says them, in bounded time: who reads the output may have stopped to.
fn say_last_words(last_words: LastWords, report: &FinishReport) {
    let (said, is_said) = mpsc::channel();
    let report = report.clone();
    let say = move || {
        last_words(&report);
        // Nobody may wait for it any longer.
        let _ = said.send(());
    };
    if thread::Builder::new().name("daglight-last-words".into()).spawn(say).is_ok() {
        // What is not said by then is not said.
        let _ = is_said.recv_timeout(LAST_WORDS_LIMIT);
    }
}

/// Takes what the program wants to say where its own code does not come to it.
pub(crate) fn last_words(run: &Arc<RunState>) -> Option<LastWords> {
    process().runs.iter_mut().find(|other| other.is(run))?.last_words.take()
}

impl Process {
    /// Takes the runs out that are gone, and those that `is_meant`. They are to be dropped without the lock.
    fn take_runs(&mut self, is_meant: impl Fn(&WatchedRun) -> bool) -> Vec<WatchedRun> {
        self.runs.extract_if(.., |run| run.run.strong_count() == 0 || is_meant(run)).collect()
    }
}

impl WatchedRun {
    fn is(&self, run: &Arc<RunState>) -> bool {
        std::ptr::eq(self.run.as_ptr(), Arc::as_ptr(run))
    }
}

/// Starts the thread that receives signals, once in the process. Where that fails, signals do what they did before.
fn listen() {
    static LISTENING: OnceLock<()> = OnceLock::new();
    LISTENING.get_or_init(|| {
        let ignored = signal_mask("SigIgn:");
        let handled = signal_mask("SigCgt:");
        let listened_to = StopSignal::ALL.map(StopSignal::number).into_iter();
        let Ok(mut signals) = Signals::new(listened_to.filter(|number| !is_in(ignored, *number))) else {
            return;
        };
        let receive = move || {
            for number in &mut signals {
                if let Some(signal) = StopSignal::of(number) {
                    received(signal, is_in(handled, number));
                }
            }
        };
        let _ = thread::Builder::new().name("daglight-signals".into()).spawn(receive);
    });
}

/// What the kernel knows of this process's signals: one bit each. Empty where it does not say.
fn signal_mask(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix(name));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}

fn is_in(mask: u64, number: i32) -> bool {
    mask >> (number - 1) & 1 == 1
}

/// Does not wait for anything, so that a second signal always has its effect.
fn received(signal: StopSignal, program_handles_it: bool) {
    let mut process = process();
    if process.asked {
        low_level::exit(signal.exit_code().into());
    }
    let runs: Vec<Arc<RunState>> = process.runs.iter().filter_map(|run| run.run.upgrade()).collect();
    if runs.is_empty() {
        drop(process);
        if !program_handles_it {
            // It can fail only for signals that nobody can handle.
            let _ = low_level::emulate_default_handler(signal.number());
        }
        return;
    }
    process.asked = true;
    let announce = process.runs.iter().find_map(|run| run.announce.clone());
    drop(process);
    let answer = move || answer(signal, &runs, announce);
    let _ = thread::Builder::new().name("daglight-stop".into()).spawn(answer);
}

fn answer(signal: StopSignal, runs: &[Arc<RunState>], announce: Option<Arc<Announce>>) {
    let asked = Instant::now();
    let (ending, running): (Vec<_>, Vec<_>) = runs.iter().partition(|run| run.is_ending());
    running.iter().for_each(|run| run.interrupt(signal));
    ending.iter().for_each(|run| run.hurry());
    // Work that begins after this sees for itself that its run was interrupted.
    let mut watches = process().watches.clone();
    watches.retain(|watched| runs.iter().any(|run| watched.is_of(run)));
    watches.iter().for_each(|watched| watched.interrupt(signal));
    say_that_it_was_heard(running.is_empty(), announce);
    let stuck: Vec<bool> = runs.iter().map(|run| !gives_way(run, &watches, asked)).collect();
    if !stuck.contains(&true) {
        return;
    }
    // The process ends with all of its runs: of those that are not stuck, the end is waited for.
    for (run, is_stuck) in runs.iter().zip(stuck) {
        let last_words = last_words(run).filter(|_| is_stuck);
        let report = run.end_beside_its_work();
        if let Some(last_words) = last_words {
            say_last_words(last_words, &report);
        }
    }
    low_level::exit(signal.exit_code().into());
}

/// On a thread of its own: who reads the output may have stopped to, and the run ends all the same.
fn say_that_it_was_heard(all_are_ending: bool, announce: Option<Arc<Announce>>) {
    let line = if all_are_ending { CUT_SHORT } else { INTERRUPTED };
    let say = move || match announce {
        Some(announce) => announce(line),
        // Whoever pressed ctrl-c must see that it was heard, also in a program that shows no log.
        None if !tracing::enabled!(Level::WARN) => {
            let _ = writeln!(io::stderr(), "{line}");
        }
        None if all_are_ending => {
            warn_of!("interrupted, the run has ended and waits for servers no longer; again to stop now")
        }
        None => warn_of!("interrupted, ending the run; again to stop now"),
    };
    let _ = thread::Builder::new().name("daglight-announce".into()).spawn(say);
}

/// Whether the work of the run has given way, or has come to the run's end, before `asked` and the grace are over.
fn gives_way(run: &Arc<RunState>, watches: &[Arc<Watched>], asked: Instant) -> bool {
    let mut of_run = watches.iter().filter(|watched| watched.is_of(run)).peekable();
    if of_run.peek().is_some() {
        return of_run.all(|watched| watched.gives_way(asked));
    }
    // Between two pieces of work that are watched, the program may come to the next one or to the end.
    const INTERVAL: Duration = Duration::from_millis(10);
    loop {
        let under_way =
            process().runs.iter().find(|other| other.is(run)).map(|run| (run.grace, run.has_given_way));
        match under_way {
            Some((grace, false)) if !run.is_ending() => {
                if asked.elapsed() >= grace {
                    return false;
                }
            }
            _ => return true,
        }
        thread::sleep(INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_which_signals_are_ignored() {
        // Rust's runtime ignores SIGPIPE, number 13, in every program.
        let ignored = signal_mask("SigIgn:");
        assert!(!cfg!(target_os = "linux") || is_in(ignored, 13), "{ignored:x}");
        assert_eq!(signal_mask("Nothing:"), 0);
    }
}
