//! What `daglight run` prints at its end. It is printed once: by the program's own code, or by a thread that ends the
//! process because of a signal.

use std::{
    sync::atomic::{AtomicU8, Ordering},
    thread,
    time::{Duration, Instant},
};

use daglight::{ErrorReport, StopSignal};

use crate::{failure::print_json, say::note};

const NO_RUN: u8 = 0;
const RUNNING: u8 = 1;
const PRINTING: u8 = 2;
const PRINTED: u8 = 3;

static STATE: AtomicU8 = AtomicU8::new(NO_RUN);

/// How long a process that a signal ends waits for what is just being printed: who reads it may have stopped to.
const PRINT_LIMIT: Duration = Duration::from_secs(1);

/// From now on there is a run, which the end will be about.
pub(crate) fn run_begins() {
    // Where a signal was faster, the process ends now.
    let _ = STATE.compare_exchange(NO_RUN, RUNNING, Ordering::AcqRel, Ordering::Acquire);
}

/// Prints the end, unless that is done or under way: then it waits for that, and the result is `None`.
pub(crate) fn print_once<T>(print: impl FnOnce() -> T) -> Option<T> {
    let begin = |state| (state < PRINTING).then_some(PRINTING);
    if STATE.fetch_update(Ordering::AcqRel, Ordering::Acquire, begin).is_err() {
        wait_for_print();
        return None;
    }
    let printed = print();
    STATE.store(PRINTED, Ordering::Release);
    Some(printed)
}

/// What a signal does before there is a run, and when it has ended.
pub(crate) fn signal_without_run(signal: StopSignal, json: bool) {
    if STATE.load(Ordering::Acquire) == NO_RUN {
        print_once(|| {
            let message = format!("interrupted by {signal} before the run began");
            note!("error: {message}");
            if json {
                print_json(&ErrorReport::new(message));
            }
        });
    }
    wait_for_print();
}

fn wait_for_print() {
    const INTERVAL: Duration = Duration::from_millis(5);
    let begun = Instant::now();
    while STATE.load(Ordering::Acquire) != PRINTED && begun.elapsed() < PRINT_LIMIT {
        thread::sleep(INTERVAL);
    }
}
