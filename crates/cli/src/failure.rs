//! Reporting that a command failed.

use std::{
    error::Error,
    path::{Path, PathBuf},
    process::ExitCode,
};

use daglight::{
    ErrorReport,
    settings::SettingsError,
    sql::{PipelineError, Place, ScriptError},
};

use crate::say::{self, shown};

/// A command that ended early, with its exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    error: Box<dyn Error + Send + Sync>,
    place: Option<Box<Place>>,
    /// The error as the policy allows, with the line to which it refers.
    shown: Option<String>,
    /// Whether DataFusion or Arrow has created its causes, or the error itself if it has none.
    is_of_engine: bool,
    /// The file to which it refers, and the line, if there is no place in a script.
    file: Option<(PathBuf, Option<usize>)>,
}

/// The error with its place in a script.
pub(crate) fn at_place(error: ErrorReport, place: &Place) -> ErrorReport {
    error.in_file(Path::new(&place.path)).at(place.line, Some(place.column))
}

/// Prints an error as the only output on standard output, if a command ended before it printed anything else.
pub(crate) fn print_json(error: &ErrorReport) {
    say::document(&format!("{:#}", serde_json::json!({ "error": error })));
}

impl Failure {
    /// Invalid input.
    pub(crate) fn input(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { code: 2, error: error.into(), place: None, shown: None, is_of_engine: false, file: None }
    }

    /// Invalid input, according to DataFusion or Arrow: their messages may repeat values.
    pub(crate) fn of_engine(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { is_of_engine: true, ..Self::input(error) }
    }

    /// The work failed.
    pub(crate) fn work(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { code: 1, error: error.into(), place: None, shown: None, is_of_engine: false, file: None }
    }

    /// Replaces the text by one that the policy allows.
    pub(crate) fn shown_as(self, text: String) -> Self {
        Self { shown: Some(text), ..self }
    }

    /// Sets the file to which it refers, and the line if known, starting at 1.
    pub(crate) fn in_file(self, file: &Path, line: Option<usize>) -> Self {
        Self { file: Some((file.to_owned(), line)), ..self }
    }

    /// The exit code.
    pub(crate) const fn code(&self) -> u8 {
        self.code
    }

    /// Prints the error and its causes to standard error, and with `json` also to standard output.
    pub(crate) fn print(self, json: bool) -> ExitCode {
        let mut messages = self.messages().into_iter();
        say::error(&format!("error: {}", messages.next().unwrap_or_default()));
        messages.for_each(|cause| say::error(&format!("  caused by: {cause}")));
        if json {
            print_json(&self.report());
        }
        ExitCode::from(self.code)
    }

    /// The error and its causes.
    pub(crate) fn messages(&self) -> Vec<String> {
        let mut messages = Vec::new();
        let mut next = Some(&*self.error as &dyn Error);
        while let Some(error) = next {
            let shown = self.shown.clone().filter(|_| messages.is_empty());
            let text = shown.unwrap_or_else(|| error.to_string());
            next = error.source();
            let is_of_engine = self.is_of_engine && (next.is_none() || !messages.is_empty());
            let message = if is_of_engine { say::shown_of_engine(&text) } else { text };
            // Wrappers of the engine repeat the error that they wrap.
            if messages.last() != Some(&message) {
                messages.push(message);
            }
        }
        messages
    }

    /// The first line of each error, because the script lines that an error quotes are available as its place.
    fn report(&self) -> ErrorReport {
        let messages = self.messages();
        let lines: Vec<&str> =
            messages.iter().map(|message| message.lines().next().unwrap_or_default()).collect();
        let message = shown(&lines.join(": ")).into_owned();
        match (&self.place, &self.file) {
            (Some(place), _) => {
                let message = message.strip_prefix(&format!("{place}: ")).unwrap_or(&message);
                at_place(ErrorReport::new(message), place)
            }
            (None, Some((file, line))) => {
                let error = ErrorReport::new(message).in_file(file);
                line.map_or_else(|| error.clone(), |line| error.clone().at(line, None))
            }
            (None, None) => ErrorReport::new(message),
        }
    }
}

impl From<ScriptError> for Failure {
    fn from(error: ScriptError) -> Self {
        let shown = Some(error.shown_by(say::redactor()));
        Self { place: Some(error.place.clone()), shown, ..Self::input(error) }
    }
}

impl From<PipelineError> for Failure {
    fn from(error: PipelineError) -> Self {
        let place = error.place().cloned().map(Box::new);
        let file = error.path().map(|path| (PathBuf::from(path), None));
        let shown = Some(error.shown_by(say::redactor()));
        Self { place, file, shown, ..Self::input(error) }
    }
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        let file = error.file().map(|(file, line)| (file.to_owned(), line));
        Self { file, ..Self::input(error) }
    }
}
