//! Whether a second signal ends the process.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

/// How long the process waits for its bundles.
pub(crate) const LIMIT: Duration = Duration::from_secs(1);

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
