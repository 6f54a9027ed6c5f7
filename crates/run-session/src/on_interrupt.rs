//! How a run answers to a signal.

use std::{fmt, time::Duration};

use crate::{finish_report::FinishReport, last_words::LastWords};

/// How a run answers to a signal.
///
/// ```
/// use std::time::Duration;
/// use daglight_run_session::OnInterrupt;
///
/// let answer = OnInterrupt::new()
///     .grace(Duration::from_secs(5))
///     .announce(|line| eprintln!("{line}"));
/// # let _ = answer;
/// ```
#[must_use]
pub struct OnInterrupt {
    pub(crate) grace: Duration,
    pub(crate) announce: Option<Announce>,
    pub(crate) last_words: Option<LastWords>,
}

pub(crate) type Announce = Box<dyn Fn(&str) + Send + Sync>;

impl OnInterrupt {
    /// The defaults: a grace of two seconds, and a warning.
    pub fn new() -> Self {
        Self { grace: Duration::from_secs(2), announce: None, last_words: None }
    }

    /// How long the work may take to give way, before the run and the process are ended without it.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Is called at once when a signal has come, on a thread of Daglight, with a line for the user such as "interrupted,
    /// ending the run; again to stop now". Without it, the line is a warning in the log, or on standard error
    /// where the program shows no log.
    pub fn announce(mut self, announce: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.announce = Some(Box::new(announce));
        self
    }

    /// Is called with the report of the run where the process is about to be ended on a thread of Daglight, because the work
    /// did not give way or a second signal came. The program may be about to say the same at that moment.
    pub fn last_words(mut self, last_words: impl FnOnce(&FinishReport) + Send + 'static) -> Self {
        self.last_words = Some(Box::new(last_words));
        self
    }
}

impl Default for OnInterrupt {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for OnInterrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnInterrupt").field("grace", &self.grace).finish_non_exhaustive()
    }
}
