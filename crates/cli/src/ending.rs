//! The output of `daglight run` at its end, and the exit code. It is printed once: either by the main code, or by a thread that
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
    say::{note, output_is_incomplete},
    spill,
};

const NO_RUN: u8 = 0;
const RUNNING: u8 = 1;
const PRINTING: u8 = 2;
const PRINTED: u8 = 3;

static STATE: AtomicU8 = AtomicU8::new(NO_RUN);
/// The exit code of the run, set when its end is printed.
static EXIT_CODE: AtomicU8 = AtomicU8::new(0);
/// The number of lines about the whole run that are being written.
static ANNOUNCING: AtomicUsize = AtomicUsize::new(0);

/// How long a process that is ended by a signal waits for output in progress: its reader may have stopped reading.
const PRINT_LIMIT: Duration = Duration::from_secs(2);
/// How long the end waits for a line about the whole run, which must come before it.
const ANNOUNCE_LIMIT: Duration = Duration::from_millis(500);
/// How long to wait for another thread that is ending the process.
const LEAVE_LIMIT: Duration = Duration::from_secs(5);

/// Makes an early ctrl-c also print JSON, if requested. Called first of all in the process, before its arguments are properly
/// parsed.
pub(crate) fn answer_signals_early() {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    if arguments.first().is_some_and(|command| command == OsStr::new("run")) {
        let json = arguments.iter().any(|argument| argument == OsStr::new("--json"));
        receive_signals(move |signal| signal_without_run(signal, json));
    }
}

/// From now on there is a run to report at the end.
pub(crate) fn run_begins() {
    // If a signal was faster, the process is already ending.
    let _ = STATE.compare_exchange(NO_RUN, RUNNING, Ordering::SeqCst, Ordering::SeqCst);
}

/// Prints the end with its exit code, unless this was already done or is in progress: then it waits for that, and returns `None`.
pub(crate) fn print_once<T>(exit_code: u8, print: impl FnOnce() -> T) -> Option<T> {
    let begin = |state| (state < PRINTING).then_some(PRINTING);
    if STATE.fetch_update(Ordering::SeqCst, Ordering::SeqCst, begin).is_err() {
        wait_until(PRINT_LIMIT, || STATE.load(Ordering::SeqCst) == PRINTED);
        return None;
    }
    // A thread that announces counts itself first and checks the state afterwards: so it is either waited for here, or sees the new
    // state and prints nothing.
    wait_until(ANNOUNCE_LIMIT, || ANNOUNCING.load(Ordering::SeqCst) == 0);
    let printed = print();
    // What was printed may have been the first that could not be written.
    let exit_code = if exit_code == 0 && output_is_incomplete() { 1 } else { exit_code };
    EXIT_CODE.store(exit_code, Ordering::SeqCst);
    STATE.store(PRINTED, Ordering::SeqCst);
    Some(printed)
}

/// Like [`print_once`], for output that ends the process. If another thread ends it, that one gets time to do so.
pub(crate) fn end_with(exit_code: u8, print: impl FnOnce()) -> ExitCode {
    print_once(exit_code, print).map_or_else(left_to_others, |()| ExitCode::from(exit_code))
}

/// Another thread has printed the end, and is ending the process.
pub(crate) fn left_to_others() -> ExitCode {
    thread::sleep(LEAVE_LIMIT);
    ExitCode::FAILURE
}

/// The end of a command that failed before or during a run.
pub(crate) fn failed(failure: Failure, json: bool) -> ExitCode {
    end_with(failure.code(), || _ = failure.print(json))
}

/// Prints a line about the whole run, unless its end was already printed, or is about to be.
pub(crate) fn announce(say: impl FnOnce()) {
    ANNOUNCING.fetch_add(1, Ordering::SeqCst);
    if STATE.load(Ordering::SeqCst) < PRINTING {
        say();
    }
    ANNOUNCING.fetch_sub(1, Ordering::SeqCst);
}

/// Handles a signal before the start of a run, and after its end. The process ends with the code of the signal when this returns.
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
    // The folder of a run that was about to start.
    spill::remove();
    if is_printed {
        // The printed output already shows how it ended.
        low_level::exit(EXIT_CODE.load(Ordering::SeqCst).into());
    }
}

/// Waits until a condition is true, and returns whether it is.
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
