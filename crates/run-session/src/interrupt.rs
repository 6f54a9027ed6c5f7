//! Runs that end because their process is asked to: by ctrl-c, a request to terminate, or a terminal that goes away.

use std::{fmt, future::Future, pin::pin, sync::Arc, time::Duration};

use daglight_bundle_report::display::elapsed;
use futures::future::{Either, select};

use crate::{
    finish::FinishReport, last_words::LastWords, node_run::OpenNode, open_statements::StatementPlace,
    run::Run, run_log::FailedPart, run_state::RunState, signals,
};

/// A signal that asks a process to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StopSignal {
    /// SIGINT, which ctrl-c sends.
    Interrupt,
    /// SIGTERM, which supervisors send.
    Terminate,
    /// SIGHUP: the terminal was closed.
    Hangup,
}

impl StopSignal {
    /// Its name, such as `SIGINT`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
            Self::Hangup => "SIGHUP",
        }
    }

    /// The exit code by which shells know a program that the signal has ended: 128 and its number.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
            Self::Hangup => 129,
        }
    }
}

impl fmt::Display for StopSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interrupt => f.write_str("ctrl-c (SIGINT)"),
            Self::Terminate | Self::Hangup => f.write_str(self.name()),
        }
    }
}

/// The work of a run was given up because its process was asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("interrupted by {signal}")]
#[non_exhaustive]
pub struct Interrupted {
    /// What asked it.
    pub signal: StopSignal,
}

impl Interrupted {
    /// The exit code that the program should end with: 130 for ctrl-c, 143 for SIGTERM, 129 for SIGHUP.
    pub const fn exit_code(self) -> u8 {
        self.signal.exit_code()
    }
}

/// What has interrupted a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cause {
    Signal(StopSignal),
    /// Code that made no progress, and could not be given up alone.
    Stall {
        reason: String,
    },
}

impl Cause {
    /// Its name, as a tag has it.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Signal(signal) => signal.name(),
            Self::Stall { .. } => "stall",
        }
    }

    /// The exit code of the process that ends because of it.
    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::Signal(signal) => signal.exit_code(),
            Self::Stall { .. } => 1,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(signal) => signal.fmt(f),
            Self::Stall { .. } => f.write_str("a stall"),
        }
    }
}

/// What has interrupted a run, and what ran then.
pub(crate) struct Interruption {
    pub(crate) cause: Cause,
    /// How long the run had gone on.
    pub(crate) after: Duration,
    /// The node that had run for the longest.
    pub(crate) node: Option<String>,
    /// The statement that ran, where no node did.
    pub(crate) statement: Option<StatementPlace>,
}

impl Interruption {
    /// What is said of a node that it has ended.
    pub(crate) fn of_node(&self, node: &OpenNode) -> String {
        format!("interrupted by {} after {}", self.cause, elapsed(node.interrupted_after()))
    }
}

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
    /// the program had a handler of its own before.
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

impl RunState {
    /// Whether the run has come to its end.
    pub(crate) fn is_ending(&self) -> bool {
        self.end.has_begun()
    }

    /// The end of the run does not wait for servers any longer.
    pub(crate) fn flush_now(&self) {
        self.end.flush_now();
    }

    /// Marks the run as interrupted, and says so as its reason, unless it has failed already. The first cause counts: false
    /// where there was one, or the run has come to its end, whose status stays what it was.
    pub(crate) fn interrupt(&self, cause: Cause) -> bool {
        let after = self.context.started.elapsed();
        let (nodes, statements) = (self.open_nodes(), self.open_statements.list());
        // A statement outside of nodes is named only where no node ran: an error about one of each would name two
        // places for one interruption.
        let statement = statements.first().filter(|_| nodes.is_empty());
        let statement = statement.and_then(|statement| statement.place.clone());
        let node = nodes.first().map(|node| node.name().to_owned());
        let why = match &cause {
            Cause::Signal(_) => String::new(),
            Cause::Stall { reason } => format!(": {reason}"),
        };
        let by = cause.to_string();
        let of_node =
            |node: &Arc<OpenNode>| format!("{} ran ({})", node.name(), elapsed(node.interrupted_after()));
        let running: Vec<String> = nodes
            .iter()
            .map(of_node)
            .chain(statements.iter().map(|statement| statement.describe()))
            .collect();
        let doing = match running.is_empty() {
            true => "while no node ran".to_owned(),
            false => format!("while {}", running.join(" and ")),
        };
        let in_words = elapsed(after);
        let reason =
            self.context.policy.capture(format!("interrupted by {by} after {in_words}, {doing}{why}"));
        let interruption = Interruption { cause, after, node, statement };
        // In one step, so that no end begins in between: what it has told the server would be another status than the
        // bundle's. The nodes are listed before this: once it is set, they end as interrupted, and are no longer open.
        self.end.unless_begun(|| {
            let is_first = self.interruption.set(interruption).is_ok();
            if is_first {
                self.log.fail(FailedPart::Interrupted, reason);
            }
            is_first
        }) == Some(true)
    }
}
