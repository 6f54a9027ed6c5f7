//! The end of the process after a second signal: at once, but not before the bundles say how their runs ended.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::Instant,
};

use signal_hook::low_level;

use crate::{
    finish_facts::report_so_far,
    interruption::{StopCause, StopSignal},
    manifest_file::record_interruption,
    second_signal::LIMIT,
    signal_registry::{self, Stopping},
};

/// Ends the process with the exit code of the `second` signal. The bundle of each run says that it was interrupted by the
/// `first`, and the program's last words are said, as far as that is done within a second.
pub(crate) fn stop_now(first: StopSignal, second: StopSignal, runs: Vec<Stopping>) {
    let deadline = Instant::now() + LIMIT;
    let runs = match runs.is_empty() {
        // One starts just now.
        true => signal_registry::runs_once_started(deadline),
        false => runs,
    };
    if runs.is_empty() {
        // The start takes too long: for the program, there is no run.
        signal_registry::say_without_run(second);
    }
    // Each run on a separate thread: one whose disk hangs must not take the time of the others.
    let (sender, ended) = mpsc::channel();
    for (index, Stopping { run, .. }) in runs.iter().enumerate() {
        let (run, sender) = (Arc::clone(run), sender.clone());
        let end = move || {
            run.interrupt(StopCause::Signal(first));
            // Whatever holds the end up, such as a disk, this is small and comes first.
            record_interruption(&run);
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
        last_words.say(&report.unwrap_or_else(|| report_so_far(run)));
    }
    low_level::exit(second.exit_code().into());
}
