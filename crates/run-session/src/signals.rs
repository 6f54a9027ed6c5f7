//! The thread that receives the signals which ask the process to end, and how the runs under way answer.

use std::{
    fs,
    io::{self, Write as _},
    mem,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
    low_level,
};
use tracing::Level;

use crate::{
    finish_report::FinishReport,
    interruption::{StopCause, StopSignal},
    last_words::{LastWordsOnce, say_within},
    log::warn_of,
    manifest_file::record_interruption,
    on_interrupt::{Announce, OnInterrupt},
    run_state::RunState,
    second_signal::{leave_to_second_signal, second_signal_came},
    signal_registry::{INTERVAL, WITHOUT_RUN, WORDS_LIMIT, Watch, Watched, last_words, process},
    stop_now::stop_now,
};

const INTERRUPTED: &str = "interrupted, ending the run; again to stop now";
const STALLED: &str = "a stall does not give way, ending the run";
const CUT_SHORT: &str = "interrupted, the run has ended and waits for servers no longer; again to stop now";

/// How long the run goes on while the line is written by which a signal is answered: so that what the work says at its end
/// comes behind it.
const ANNOUNCE_LIMIT: Duration = Duration::from_millis(250);

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

/// Receives the signals that ask the process to end from now on: SIGINT, SIGTERM and SIGHUP. One that comes while no run
/// is under way is passed to `without_run`, on a thread of Daglight; when that returns the process ends with
/// [`StopSignal::exit_code`]. A second one ends the process with its own exit code when that has returned, or after two
/// seconds; a third at once. The first call counts.
///
/// For programs with something to say, or to wait for, before a run begins and after it has ended. What signals are to a
/// run is said at [`Run::until_interrupted`](crate::Run::until_interrupted).
pub fn receive_signals(without_run: impl Fn(StopSignal) + Send + Sync + 'static) {
    let _ = WITHOUT_RUN.set(Box::new(without_run));
    listen();
}

/// A run that is about to be there, for as long as this lives. A signal that comes meanwhile is kept for it.
pub(crate) struct Starting(());

/// Has signals interrupt a run that is not there yet.
pub(crate) fn starting() -> Starting {
    listen();
    let mut process = process();
    process.starting += 1;
    let is_ending = process.is_ending;
    drop(process);
    if is_ending {
        // It was said that no run had begun, and so none does. The process ends while this waits; where the program's
        // words take longer, the run begins after all, and is ended with the process.
        thread::sleep(WORDS_LIMIT);
    }
    Starting(())
}

impl Starting {
    /// The run is there.
    pub(crate) fn started(self, run: &Arc<RunState>, answer: OnInterrupt) {
        let mut process = process();
        let replaced = process.set_answer(run, answer);
        // Under the same lock as the registration: a signal is either in this list or finds the run, and never
        // neither nor both.
        let came_before = process.asked.first().copied();
        drop(process);
        // What the program gave may do anything when it is dropped.
        drop(replaced);
        drop(self);
        if let Some(signal) = came_before {
            answer_beside(signal, vec![Arc::clone(run)]);
        }
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        let mut process = process();
        process.starting -= 1;
        process.forget_signals();
    }
}

/// Has signals interrupt the work of a run from now on.
pub(crate) fn watch(run: &Arc<RunState>, answer: OnInterrupt) -> Watch {
    listen();
    let watched = Arc::new(Watched::new(run, answer.grace));
    let mut process = process();
    process.watches.push(Arc::clone(&watched));
    let replaced = process.set_answer(run, answer);
    drop(process);
    // What the program gave may do anything when it is dropped.
    drop(replaced);
    // A run that was interrupted before stays so. A signal that comes from now on finds the watch.
    if let Some(StopCause::Signal(signal)) =
        run.core.interruption.get().map(|interruption| &interruption.cause)
    {
        watched.interrupt(*signal);
    }
    Watch(watched)
}

/// Ends the process of an interrupted run whose own code does not come to it. What the program wanted to say then is
/// said.
pub(crate) fn exit_for(run: &Arc<RunState>, last_words: Option<&LastWordsOnce>, report: &FinishReport) {
    let Some(interruption) = run.core.interruption.get() else { return };
    if let Some(last_words) = last_words {
        last_words.say(report);
    }
    leave_to_second_signal();
    low_level::exit(interruption.cause.exit_code().into());
}

/// Starts the thread that receives signals, once in the process. Where that fails, signals do what they did before.
fn listen() {
    static LISTENING: OnceLock<()> = OnceLock::new();
    LISTENING.get_or_init(|| {
        // Read before the first handler is installed, because these are the questions that installing one answers
        // wrongly: `sigaction` replaces both what a parent such as `nohup` has set and what the program has.
        let ignored = signal_mask("SigIgn:");
        let handled = signal_mask("SigCgt:");
        let (sender, listening) = mpsc::channel::<()>();
        let receive = move || {
            // Only where there is a thread that receives them: without one, nothing would end the process.
            let listened_to = StopSignal::ALL.map(StopSignal::number).into_iter();
            let Ok(mut signals) = Signals::new(listened_to.filter(|number| !is_in(ignored, *number))) else {
                return;
            };
            // The handlers are installed by now. Whoever waits on the other end goes on only then, so that no run
            // starts without them.
            drop(sender);
            for number in &mut signals {
                if let Some(signal) = StopSignal::of(number) {
                    received(signal, is_in(handled, number));
                }
            }
        };
        if thread::Builder::new().name("daglight-signals".into()).spawn(receive).is_ok() {
            // It ends when the thread listens, or cannot.
            let _ = listening.recv();
        }
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
    // Strong references from here on: a run that is dropped while it is being ended would be ended twice.
    let runs = process.stopping();
    if runs.is_empty() && process.starting == 0 {
        // Under the lock by which runs start, so that none does while the program says that there is none.
        process.is_ending = WITHOUT_RUN.get().is_some();
        drop(process);
        end_without_run(signal, program_handles_it);
        return;
    }
    let before = mem::replace(&mut process.asked, vec![signal]);
    match before[..] {
        [] => {
            drop(process);
            // One that starts just now finds the signal when it is there.
            if !runs.is_empty() {
                answer_beside(signal, runs.into_iter().map(|stopping| stopping.run).collect());
            }
        }
        [first] => {
            process.asked = vec![first, signal];
            // Set under the lock, so that the thread that answers to the first signal sees it before it may exit
            // with the first one's code.
            second_signal_came();
            drop(process);
            // On a separate thread: it waits for the bundle, and a third signal must be received meanwhile.
            let stop = move || stop_now(first, signal, runs);
            if thread::Builder::new().name("daglight-stop-now".into()).spawn(stop).is_err() {
                low_level::exit(signal.exit_code().into());
            }
        }
        _ => low_level::exit(signal.exit_code().into()),
    }
}

/// No run is under way: the program has something to say, or the signal does what it does to every other program.
fn end_without_run(signal: StopSignal, program_handles_it: bool) {
    let Some(without_run) = WITHOUT_RUN.get() else {
        if !program_handles_it {
            // It can fail only for signals that nobody can handle.
            let _ = low_level::emulate_default_handler(signal.number());
        }
        return;
    };
    static SIGNALS: AtomicUsize = AtomicUsize::new(0);
    static IS_SAID: OnceLock<()> = OnceLock::new();
    let end = move |before| {
        match before {
            // What the program says on the first signal may take as long as it likes.
            0 => {
                without_run(signal);
                let _ = IS_SAID.set(());
            }
            // The second one waits for that, in bounded time: otherwise half of it would be said.
            1 => {
                let asked = Instant::now();
                while IS_SAID.get().is_none() && asked.elapsed() < WORDS_LIMIT {
                    thread::sleep(INTERVAL);
                }
            }
            _ => {}
        }
        low_level::exit(signal.exit_code().into());
    };
    let before = SIGNALS.fetch_add(1, Ordering::AcqRel);
    // On a separate thread, so that the next signal is received meanwhile.
    if thread::Builder::new().name("daglight-stop".into()).spawn(move || end(before)).is_err() {
        low_level::exit(signal.exit_code().into());
    }
}

/// Answers to the first signal on a separate thread; where none can be made, on this one, which then cannot receive
/// another one meanwhile.
fn answer_beside(signal: StopSignal, runs: Vec<Arc<RunState>>) {
    let of_thread = runs.clone();
    let started =
        thread::Builder::new().name("daglight-stop".into()).spawn(move || answer(signal, &of_thread));
    if started.is_err() {
        answer(signal, &runs);
    }
}

fn answer(signal: StopSignal, runs: &[Arc<RunState>]) {
    let asked = Instant::now();
    // A run that is at its end has done its work: it keeps its status, and only stops waiting for servers. Which it is, the
    // interrupt decides: the end may begin at any moment.
    runs.iter().for_each(|run| _ = run.interrupt(StopCause::Signal(signal)));
    let (running, ending): (Vec<_>, Vec<_>) =
        runs.iter().partition(|run| run.core.interruption.get().is_some());
    ending.iter().for_each(|run| run.flush_now());
    let announce = process().runs.iter().find_map(|run| run.announce.clone());
    // Before the work is told to give way, whose end has its own lines: those come behind this one.
    say_that_it_was_heard(running.is_empty(), announce);
    // Work that begins after this sees for itself that its run was interrupted.
    let mut watches = process().watches.clone();
    watches.retain(|watched| runs.iter().any(|run| watched.is_of(run)));
    watches.iter().for_each(|watched| watched.interrupt(signal));
    // Whatever becomes of the process while the work gives way, its bundle says that it was interrupted.
    running.iter().for_each(|run| record_interruption(run));
    // All graces count from the same moment: several runs that are stuck take no longer than one.
    let stuck: Vec<bool> = runs.iter().map(|run| !gives_way(run, &watches, asked)).collect();
    if !stuck.contains(&true) {
        return;
    }
    // The process ends with all of its runs: of those that are not stuck, the end is waited for.
    for (run, is_stuck) in runs.iter().zip(stuck) {
        // Taken before the end, which removes the run from the list.
        let last_words = last_words(run).filter(|_| is_stuck);
        let report = run.end_beside_its_work();
        if let Some(last_words) = last_words {
            last_words.say(&report);
        }
    }
    leave_to_second_signal();
    low_level::exit(signal.exit_code().into());
}

/// Ends the process of a run whose code stands still and does not give way, with all of its runs.
pub(crate) fn end_for_stall(stalled: &Arc<RunState>, cause: StopCause) {
    let exit_code = cause.exit_code();
    // A signal, or another stall, may end it already.
    if !stalled.interrupt(cause.clone()) {
        return;
    }
    let announce = process().runs.iter().find_map(|run| run.announce.clone());
    announce_beside(STALLED, announce, || warn_of!(Stall, "a stall does not give way, ending the run"));
    let mut runs = stalled.open_runs.list();
    runs.retain(|run| !run.is_ending());
    for run in &runs {
        run.interrupt(cause.clone());
        record_interruption(run);
    }
    for run in &runs {
        let last_words = last_words(run);
        let report = run.end_beside_its_work();
        if let Some(last_words) = last_words {
            last_words.say(&report);
        }
    }
    leave_to_second_signal();
    low_level::exit(exit_code.into());
}

/// On a separate thread, which is waited for a moment: who reads the output may have stopped to, and the run ends all the
/// same.
fn say_that_it_was_heard(all_are_ending: bool, announce: Option<Arc<Announce>>) {
    match all_are_ending {
        true => announce_beside(CUT_SHORT, announce, || {
            warn_of!(
                Interrupted,
                "interrupted, the run has ended and waits for servers no longer; again to stop now"
            );
        }),
        false => announce_beside(INTERRUPTED, announce, || {
            warn_of!(Interrupted, "interrupted, ending the run; again to stop now");
        }),
    }
}

/// `warn` says the same as `line`.
fn announce_beside(line: &'static str, announce: Option<Arc<Announce>>, warn: fn()) {
    say_within(ANNOUNCE_LIMIT, move || {
        match announce {
            Some(announce) => announce(line),
            // Whoever pressed ctrl-c must see that it was heard, also in a program that shows no log.
            None if !tracing::enabled!(Level::WARN) => {
                let _ = writeln!(io::stderr(), "{line}");
            }
            None => warn(),
        }
    });
}

/// Whether the work of the run has given way, or has come to the run's end, before `asked` and the grace are over.
fn gives_way(run: &Arc<RunState>, watches: &[Arc<Watched>], asked: Instant) -> bool {
    let mut of_run = watches.iter().filter(|watched| watched.is_of(run)).peekable();
    if of_run.peek().is_some() {
        return of_run.all(|watched| watched.gives_way(asked));
    }
    // Between two pieces of work that are watched, the program may come to the next one or to the end.
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
