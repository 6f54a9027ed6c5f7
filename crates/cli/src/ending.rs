//! What `daglight run` prints at its end, and the exit code. It is printed once: by the program's own code, or by a thread that
//! ends the process because of a signal.

use std::{
    ffi::{OsStr, OsString},
    process::ExitCode,
    sync::atomic::{AtomicU8, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use daglight::{ErrorReport, StopSignal, receive_signals};
use signal_hook::low_level;

use crate::{
    failure::{Failure, print_json},
    say::note,
    spill,
};

const NO_RUN: u8 = 0;
const RUNNING: u8 = 1;
const PRINTING: u8 = 2;
const PRINTED: u8 = 3;

static STATE: AtomicU8 = AtomicU8::new(NO_RUN);
/// The exit code of the run, from when its end is printed.
static EXIT_CODE: AtomicU8 = AtomicU8::new(0);
/// Lines about the whole run that are being written.
static ANNOUNCING: AtomicUsize = AtomicUsize::new(0);

/// How long a process that a signal ends waits for what is just being printed: who reads it may have stopped to.
const PRINT_LIMIT: Duration = Duration::from_secs(2);
/// How long the end waits for a line about the whole run, which is to stand before it.
const ANNOUNCE_LIMIT: Duration = Duration::from_millis(500);
/// How long a process that another thread ends leaves it to that.
const LEAVE_LIMIT: Duration = Duration::from_secs(5);

/// Has a ctrl-c in the first moments end in JSON as well, where that is asked for. As the first thing of the process, before
/// its arguments are read as they should be.
pub(crate) fn answer_signals_early() {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    if arguments.first().is_some_and(|command| command == OsStr::new("run")) {
        let json = arguments.iter().any(|argument| argument == OsStr::new("--json"));
        receive_signals(move |signal| signal_without_run(signal, json));
    }
}

/// From now on there is a run, which the end will be about.
pub(crate) fn run_begins() {
    // Where a signal was faster, the process ends now.
    let _ = STATE.compare_exchange(NO_RUN, RUNNING, Ordering::SeqCst, Ordering::SeqCst);
}

/// Prints the end with the exit code that goes with it, unless that is done or under way: then it waits for that, and the
/// result is `None`.
pub(crate) fn print_once<T>(exit_code: u8, print: impl FnOnce() -> T) -> Option<T> {
    let begin = |state| (state < PRINTING).then_some(PRINTING);
    if STATE.fetch_update(Ordering::SeqCst, Ordering::SeqCst, begin).is_err() {
        wait_until(PRINT_LIMIT, || STATE.load(Ordering::SeqCst) == PRINTED);
        return None;
    }
    // A thread that announces counts itself first and looks at the state afterwards: so either it is waited for here, or it sees the
    // new state and stays silent.
    wait_until(ANNOUNCE_LIMIT, || ANNOUNCING.load(Ordering::SeqCst) == 0);
    let printed = print();
    EXIT_CODE.store(exit_code, Ordering::SeqCst);
    STATE.store(PRINTED, Ordering::SeqCst);
    Some(printed)
}

/// As [`print_once`] of what ends the process. Where something else ends it, that is left the time to.
pub(crate) fn end_with(exit_code: u8, print: impl FnOnce()) -> ExitCode {
    print_once(exit_code, print).map_or_else(left_to_others, |()| ExitCode::from(exit_code))
}

/// Another thread has printed the end, and ends the process.
pub(crate) fn left_to_others() -> ExitCode {
    thread::sleep(LEAVE_LIMIT);
    ExitCode::FAILURE
}

/// The end of a command that did not come to a run, or to its end.
pub(crate) fn failed(failure: Failure, json: bool) -> ExitCode {
    end_with(failure.code(), || _ = failure.print(json))
}

/// Says a line about the whole run, unless its end is printed, or about to be.
pub(crate) fn announce(say: impl FnOnce()) {
    ANNOUNCING.fetch_add(1, Ordering::SeqCst);
    if STATE.load(Ordering::SeqCst) < PRINTING {
        say();
    }
    ANNOUNCING.fetch_sub(1, Ordering::SeqCst);
}

/// What a signal does before there is a run, and when it has ended. The process ends with the code of the signal when this
/// returns.
fn signal_without_run(signal: StopSignal, json: bool) {
    if STATE.load(Ordering::SeqCst) == NO_RUN {
        print_once(signal.exit_code(), || {
            let message = format!("interrupted by {signal} before the run began");
            note!("error: {message}");
            if json {
                print_json(&ErrorReport::new(message));
            }
        });
    }
    let is_printed = wait_until(PRINT_LIMIT, || STATE.load(Ordering::SeqCst) == PRINTED);
    // The folder of a run that was about to begin.
    spill::remove();
    if is_printed {
        // What was printed is how it ended.
        low_level::exit(EXIT_CODE.load(Ordering::SeqCst).into());
    }
}

/// Waits until something is so, and says whether it is.
fn wait_until(limit: Duration, is_so: impl Fn() -> bool) -> bool {
    const INTERVAL: Duration = Duration::from_millis(2);
    let begun = Instant::now();
    while !is_so() {
        if begun.elapsed() >= limit {
            return false;
        }
        thread::sleep(INTERVAL);
    }
    true
}
