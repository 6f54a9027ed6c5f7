//! Ctrl-c, and the signal to terminate: remembered, so that what was started can be ended in order.

use std::{sync::mpsc, thread, time::Duration};

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};

/// What a shell expects of a program that ctrl-c ended.
pub(crate) const EXIT_CODE: u8 = 130;

/// How long after the failure of a step its signal may be heard.
const HEARD_WITHIN: Duration = Duration::from_millis(500);

/// The error of a task that was interrupted; there is nothing to explain.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub(crate) struct Interrupted;

/// From its making on, a signal no longer ends this process by itself. Foreground children still get the terminal's
/// ctrl-c and end on their own.
pub(crate) struct Interrupt {
    signals: mpsc::Receiver<()>,
}

impl Interrupt {
    pub(crate) fn listen() -> Result<Self> {
        let (sender, signals) = mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let guard = runtime.enter();
        let mut interrupt = signal(SignalKind::interrupt()).context("listening for ctrl-c")?;
        let mut terminate =
            signal(SignalKind::terminate()).context("listening for the signal to terminate")?;
        drop(guard);
        thread::spawn(move || {
            runtime.block_on(async {
                loop {
                    tokio::select! {
                        _ = interrupt.recv() => {}
                        _ = terminate.recv() => {}
                    }
                    if sender.send(()).is_err() {
                        return;
                    }
                }
            });
        });
        Ok(Self { signals })
    }

    /// Stops the task here if a signal has come.
    pub(crate) fn check(&self) -> Result<(), Interrupted> {
        match self.signals.try_recv() {
            Ok(()) => Err(Interrupted),
            Err(_) => Ok(()),
        }
    }

    /// Turns the failure of a step into [`Interrupted`] when a signal was its cause.
    pub(crate) fn explain<T>(&self, result: Result<T>) -> Result<T> {
        // A child may die of the signal before the thread that hears it here gets its turn.
        if result.is_err() && self.signals.recv_timeout(HEARD_WITHIN).is_ok() {
            return Err(Interrupted.into());
        }
        self.check()?;
        result
    }

    /// Waits for a signal.
    pub(crate) fn wait(&self) {
        let _ = self.signals.recv();
    }
}
