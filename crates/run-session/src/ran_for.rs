//! How long something has run.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

/// Since when something runs, and how long it had run when it was interrupted. Nothing that it did after that counts.
#[derive(Debug)]
pub(crate) struct RanFor {
    started: Instant,
    interrupted_after: OnceLock<Duration>,
}

impl RanFor {
    /// It begins.
    pub(crate) fn now() -> Self {
        Self { started: Instant::now(), interrupted_after: OnceLock::new() }
    }

    /// How long it has run until now.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// How long it had run when this was called first: by what interrupts it.
    pub(crate) fn interrupted(&self) -> Duration {
        *self.interrupted_after.get_or_init(|| self.started.elapsed())
    }
}
