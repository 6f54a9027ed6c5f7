//! The end of the process after a second signal: at once, but not before the bundles say how their runs ended.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use signal_hook::low_level;

use crate::{
    finish,
    interrupt::{Cause, StopSignal},
    last_words::LastWordsOnce,
    run_state::RunState,
    signals,
};

/// How long the process waits for its bundles.
const LIMIT: Duration = Duration::from_secs(1);

/// Whether a second signal has come, which then decides over the exit code.
static HAS_COME: AtomicBool = AtomicBool::new(false);

/// A second signal has come, and ends the process.
pub(crate) fn second_signal_came() {
    HAS_COME.store(true, Ordering::Release);
}

/// Leaves the end of the process to the second signal, if one has come. Whoever was about to end it because of the first
/// one waits here, for a little longer than that takes.
pub(crate) fn leave_to_second_signal() {
    if HAS_COME.load(Ordering::Acquire) {
        // Longer than the other thread takes, with what the program says at last. It ends the process with its own exit code.
        thread::sleep(LIMIT * 5);
    }
}

/// A run that the process ends with.
#[derive(Clone)]
pub(crate) struct Stopping {
    pub(crate) run: Arc<RunState>,
    pub(crate) last_words: Arc<LastWordsOnce>,
}

/// Ends the process with the exit code of the `second` signal. The bundle of each run says that it was interrupted by the
/// `first`, and the program's last words are said, as far as that is done within a second.
pub(crate) fn stop_now(first: StopSignal, second: StopSignal, runs: Vec<Stopping>) {
    let deadline = Instant::now() + LIMIT;
    let runs = match runs.is_empty() {
        // One starts just now.
        true => signals::runs_once_started(deadline),
        false => runs,
    };
    if runs.is_empty() {
        // It takes too long to start. To the program there is none.
        signals::say_without_run(second);
    }
    // Each run on a thread of its own: one whose disk hangs must not take the time of the others.
    let (sender, ended) = mpsc::channel();
    for (index, Stopping { run, .. }) in runs.iter().enumerate() {
        let (run, sender) = (Arc::clone(run), sender.clone());
        let end = move || {
            run.interrupt(Cause::Signal(first));
            // Whatever holds the end up, such as a disk, this is small and comes first.
            finish::record_interruption(&run);
            run.flush_now();
            // Nobody waits for it any longer where the time is over.
            let _ = sender.send((index, run.end_beside_its_work()));
        };
        // Where no thread can be made, what is known so far is said.
        let _ = thread::Builder::new().name("daglight-stop-run".into()).spawn(end);
    }
    // Otherwise the channel never ends, and each second signal would wait the whole limit.
    drop(sender);
    let mut reports: Vec<_> = runs.iter().map(|_| None).collect();
    while let Ok((index, report)) = ended.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        reports[index] = Some(report);
    }
    for (Stopping { run, last_words }, report) in runs.iter().zip(reports) {
        // Also where the end was not in time: a script that reads the JSON of the command gets a document either way.
        last_words.say(&report.unwrap_or_else(|| finish::report_so_far(run)));
    }
    low_level::exit(second.exit_code().into());
}
