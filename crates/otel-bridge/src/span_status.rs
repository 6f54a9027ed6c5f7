//! The status of a span.

use std::fmt;

/// How the work of a span ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpanStatus {
    /// It succeeded.
    Ok,
    /// It failed.
    Error,
    /// It was cancelled before it was done.
    Cancelled,
    /// It was not done at all.
    Skipped,
}

impl SpanStatus {
    /// The value of the status attribute.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
        }
    }
}

impl fmt::Display for SpanStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
