//! Runs that end because their process is asked to.

use std::future::{Future, pending};

use tokio::signal::unix::{SignalKind, signal};

use crate::Run;

impl Run {
    /// Does `work` until it is done, or until the process is asked to end: by ctrl-c (SIGINT) or SIGTERM. Then the work is
    /// dropped, nodes in it that are open end as failures, the run is a failure that names the signal, and `None` comes
    /// back. Finish the run as always, and end the process.
    ///
    /// Without this, such a signal ends the process at once. What was recorded is kept all the same, and
    /// [`sync_run`](crate::sync_run) closes the run later.
    ///
    /// It needs a tokio runtime whose IO driver is enabled. Once it was called, these signals do not end the process by
    /// themselves any more.
    ///
    /// ```no_run
    /// # use daglight_run_session::{Run, Telemetry, RunOptions};
    /// # async fn pipeline(run: &Run) -> Result<(), String> { Ok(()) }
    /// # async fn example(run: Run) -> Result<(), String> {
    /// let result = run.until_interrupted(pipeline(&run)).await;
    /// run.finish().await;
    /// result.unwrap_or_else(|| std::process::exit(130))
    /// # }
    /// ```
    pub async fn until_interrupted<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        // The first reason of a failure stays, and what the end of the work says must not be that.
        let interrupted = async { self.fail(format!("interrupted by {}", interruption().await)) };
        tokio::select! {
            biased;
            () = interrupted => None,
            result = work => Some(result),
        }
    }
}

/// Waits for ctrl-c or a request to terminate. Where signals cannot be listened to, for ever.
async fn interruption() -> &'static str {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => "ctrl-c",
        _ = terminate.recv() => "SIGTERM",
    }
}
