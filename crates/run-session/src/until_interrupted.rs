//! Work of a run that ends when its process is asked to: by ctrl-c, a request to terminate, or a terminal that goes away.

use std::{future::Future, pin::pin};

use futures::future::{Either, select};

use crate::{interruption::Interrupted, on_interrupt::OnInterrupt, run::Run, signals};

impl Run {
    /// Does `work` until it is done, or until the process is asked to end: by ctrl-c (SIGINT), SIGTERM or SIGHUP. Then the
    /// work is dropped, run and open nodes are `interrupted`, and the signal comes back as an error. Finish the run as
    /// always, and end the process with [`Interrupted::exit_code`].
    ///
    /// Signals are received by a thread of Daglight, so this needs no particular runtime, and holds whatever the
    /// program's threads do:
    /// - Work that does not give way within two seconds ([`OnInterrupt::grace`]), because it computes without an `await`
    ///   on the only thread of the runtime for example, is not waited for: the run is ended beside it, and the process
    ///   exits with that code. The same holds where [`Run::finish`] is done, and its caller does not come to see it.
    /// - A second signal ends the process as soon as the bundle says that the run was interrupted, which it waits for
    ///   one second at most, with the exit code of that second signal, whatever kind the first one was; a third does not wait.
    /// - A signal that comes when the work is done and the run is at its end makes that end wait for servers no longer.
    /// - A signal that the process was started to ignore, as `nohup` does for SIGHUP, stays ignored.
    ///
    /// Once this was called, and while no run is under way, a signal ends the process as if nothing received it, unless
    /// the program had its own handler before.
    ///
    /// A signal that comes between the start of the run and this call ends the process at once, and the run is closed as one
    /// whose process has ended; [`Telemetry::start_interruptible_run`](crate::Telemetry::start_interruptible_run) leaves no such gap.
    ///
    /// Without this, such a signal ends the process at once. What was recorded is kept all the same, and
    /// [`sync_run`](crate::sync_run) closes the run later.
    ///
    /// # Errors
    /// When a signal came.
    ///
    /// ```no_run
    /// # use daglight_run_session::{Run, Telemetry, RunOptions};
    /// # async fn pipeline(run: &Run) -> Result<(), String> { Ok(()) }
    /// # async fn example(run: Run) -> Result<(), String> {
    /// let result = run.until_interrupted(pipeline(&run)).await;
    /// run.finish().await;
    /// result.unwrap_or_else(|interrupted| std::process::exit(interrupted.exit_code().into()))
    /// # }
    /// ```
    pub async fn until_interrupted<T>(&self, work: impl Future<Output = T>) -> Result<T, Interrupted> {
        self.until_interrupted_with(OnInterrupt::new(), work).await
    }

    /// As [`Run::until_interrupted`], with another answer.
    ///
    /// # Errors
    /// When a signal came.
    pub async fn until_interrupted_with<T>(
        &self,
        answer: OnInterrupt,
        work: impl Future<Output = T>,
    ) -> Result<T, Interrupted> {
        // Declared before the work: it says that the work has given way once that is dropped.
        let watch = signals::watch(self.state(), answer);
        // The signal is polled first: work that is always ready, such as a loop over data in memory, would otherwise
        // never be interrupted.
        match select(pin!(watch.interrupted()), pin!(work)).await {
            Either::Left((signal, _)) => Err(Interrupted { signal }),
            Either::Right((result, _)) => Ok(result),
        }
    }
}
