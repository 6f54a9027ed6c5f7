//! What interrupts a run: a signal that asks the process to end, or a stall that does not give way.

use std::{fmt, time::Duration};

use daglight_bundle_report::display::elapsed;

use crate::location::StatementPlace;

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
pub(crate) enum StopCause {
    Signal(StopSignal),
    /// Code that made no progress, and could not be given up alone.
    Stall {
        reason: String,
    },
}

impl StopCause {
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

impl fmt::Display for StopCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(signal) => signal.fmt(f),
            Self::Stall { .. } => f.write_str("a stall"),
        }
    }
}

/// What has interrupted a run, and what ran then.
pub(crate) struct Interruption {
    pub(crate) cause: StopCause,
    /// How long the run had gone on.
    pub(crate) after: Duration,
    /// The node that had run for the longest.
    pub(crate) node: Option<String>,
    /// The statement that ran, where no node did.
    pub(crate) statement: Option<StatementPlace>,
}

impl Interruption {
    /// What is said of a node that it has ended, after so long.
    pub(crate) fn of_node(&self, after: Duration) -> String {
        format!("interrupted by {} after {}", self.cause, elapsed(after))
    }
}
