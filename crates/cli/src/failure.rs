//! How a command says that it could not do its work.

use std::{error::Error, process::ExitCode};

use crate::say::note;

/// A command that ended early, with its exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    error: Box<dyn Error + Send + Sync>,
}

impl Failure {
    /// The input was wrong.
    pub(crate) fn input(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { code: 2, error: error.into() }
    }

    /// The work failed.
    pub(crate) fn work(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { code: 1, error: error.into() }
    }

    /// Says why on standard error: the error, then its causes.
    pub(crate) fn print(self) -> ExitCode {
        note!("error: {}", self.error);
        let causes = std::iter::successors(self.error.source(), |cause| (*cause).source());
        for cause in causes {
            note!("  caused by: {cause}");
        }
        ExitCode::from(self.code)
    }
}
