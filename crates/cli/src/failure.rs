//! How a command says that it could not do its work.

use std::{error::Error, process::ExitCode};

use daglight::sql::{PipelineError, Place, ScriptError};
use serde::Serialize;

use crate::say::{note, say, shown};

/// A command that ended early, with its exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    error: Box<dyn Error + Send + Sync>,
    place: Option<Box<Place>>,
}

/// An error as `--json` prints it. What is not known is `null`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ErrorJson {
    pub(crate) message: String,
    pub(crate) node: Option<String>,
    pub(crate) file: Option<String>,
    pub(crate) line: Option<usize>,
    pub(crate) column: Option<usize>,
}

impl ErrorJson {
    /// An error of which only the message is known.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), node: None, file: None, line: None, column: None }
    }

    pub(crate) fn at(self, place: &Place) -> Self {
        let Place { path, line, column, .. } = place;
        Self { file: Some(path.clone()), line: Some(*line), column: Some(*column), ..self }
    }

    /// Prints it as the only thing on standard output, where a command ended before it had anything else to print.
    pub(crate) fn print(&self) {
        say!("{:#}", serde_json::json!({ "error": self }));
    }
}

impl Failure {
    /// The input was wrong.
    pub(crate) fn input(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { code: 2, error: error.into(), place: None }
    }

    /// The work failed.
    pub(crate) fn work(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { code: 1, error: error.into(), place: None }
    }

    /// Says why on standard error: the error, then its causes. With `json`, on standard output too.
    pub(crate) fn print(self, json: bool) -> ExitCode {
        note!("error: {}", self.error);
        let causes = std::iter::successors(self.error.source(), |cause| (*cause).source());
        for cause in causes {
            note!("  caused by: {cause}");
        }
        if json {
            self.to_json().print();
        }
        ExitCode::from(self.code)
    }

    /// The first line of each error, for the lines of a script that an error quotes are known by their place.
    fn to_json(&self) -> ErrorJson {
        let errors = std::iter::successors(Some(&*self.error as &dyn Error), |error| (*error).source());
        let lines: Vec<String> =
            errors.map(|error| error.to_string().lines().next().unwrap_or_default().to_owned()).collect();
        let message = shown(&lines.join(": ")).into_owned();
        match &self.place {
            Some(place) => {
                let message = message.strip_prefix(&format!("{place}: ")).unwrap_or(&message);
                ErrorJson::new(message).at(place)
            }
            None => ErrorJson::new(message),
        }
    }
}

impl From<ScriptError> for Failure {
    fn from(error: ScriptError) -> Self {
        Self { place: Some(error.place.clone()), ..Self::input(error) }
    }
}

impl From<PipelineError> for Failure {
    fn from(error: PipelineError) -> Self {
        Self { place: error.place().cloned().map(Box::new), ..Self::input(error) }
    }
}
