//! Errors of the code that runs, as a run records them: with their causes.

use std::{borrow::Cow, error::Error, iter::successors};

use datafusion::error::DataFusionError;

/// Causes that are recorded of one error, so that a chain that repeats itself ends.
const MAX_CAUSES: usize = 32;

/// What the code of a run may fail with: every [`Error`], the boxes and reports that hold one (`Box<dyn Error>`,
/// `anyhow::Error`, `eyre::Report`), and plain text.
///
/// `Kind` is found by the compiler: it keeps these apart, because no trait covers them all. Code that is generic over its
/// error writes `E: RunError<Kind>` with a second type parameter, or demands [`Error`] itself.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an error that a run can record",
    note = "implement `std::error::Error` for it, or pass its text on: `.map_err(|error| error.to_string())`"
)]
pub trait RunError<Kind> {
    /// The message of the error and those of its causes, the outermost first. None of them repeats what stands in the one
    /// before.
    fn messages(&self) -> Vec<String>;
}

/// The kinds of errors that [`RunError`] keeps apart.
pub mod error_kind {
    /// A type that implements [`Error`](std::error::Error).
    #[derive(Debug)]
    pub enum Typed {}

    /// A type that holds an error of any type and may be sent between threads, such as `anyhow::Error`.
    #[derive(Debug)]
    pub enum Boxed {}

    /// A box with an error that may not be sent between threads.
    #[derive(Debug)]
    pub enum Local {}

    /// Plain text.
    #[derive(Debug)]
    pub enum Text {}
}

impl<E: Error> RunError<error_kind::Typed> for E {
    fn messages(&self) -> Vec<String> {
        let causes = successors(self.source(), |cause| (*cause).source()).map(ToString::to_string);
        without_repetitions(std::iter::once(self.to_string()).chain(causes))
    }
}

impl<E: AsRef<dyn Error + Send + Sync>> RunError<error_kind::Boxed> for E {
    fn messages(&self) -> Vec<String> {
        RunError::<error_kind::Typed>::messages(&self.as_ref())
    }
}

impl RunError<error_kind::Local> for Box<dyn Error> {
    fn messages(&self) -> Vec<String> {
        RunError::<error_kind::Typed>::messages(&self.as_ref())
    }
}

impl RunError<error_kind::Local> for Box<dyn Error + Send> {
    fn messages(&self) -> Vec<String> {
        RunError::<error_kind::Typed>::messages(&self.as_ref())
    }
}

macro_rules! texts {
    ($($text:ty),*) => {$(
        impl RunError<error_kind::Text> for $text {
            fn messages(&self) -> Vec<String> {
                vec![self.to_string()]
            }
        }
    )*};
}
texts!(String, &String, &str, Cow<'_, str>, Box<str>);

/// What the code of a node or stage failed with.
pub(crate) struct RecordedError {
    /// The type, as a program's source has it.
    pub(crate) error_type: &'static str,
    messages: Vec<String>,
}

impl RecordedError {
    pub(crate) fn of<Kind, E: RunError<Kind>>(error: &E) -> Self {
        Self { error_type: std::any::type_name::<E>(), messages: error.messages() }
    }

    /// For what ended code without returning an error.
    pub(crate) fn new(error_type: &'static str, message: impl Into<String>) -> Self {
        Self { error_type, messages: vec![message.into()] }
    }

    /// The error and its causes in one line, as far as the messages are in one.
    pub(crate) fn text(&self) -> String {
        self.messages.join(": ")
    }

    /// The error and its causes, in lines.
    pub(crate) fn lines(&self) -> Vec<String> {
        // In lines as the page of the tracker shows them: what went wrong first, and below why.
        let first = self.messages.iter().take(1).cloned();
        let causes = self.messages.iter().skip(1).map(|cause| format!("caused by: {cause}"));
        let lines: Vec<String> = first.chain(causes).collect();
        lines.iter().flat_map(|message| message.lines().map(str::to_owned)).collect()
    }
}

/// Messages that say something new, without the backtraces that DataFusion may add. Many errors repeat their cause in
/// their own message.
fn without_repetitions(messages: impl Iterator<Item = String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for message in messages.take(MAX_CAUSES) {
        // The backtrace is that of the engine, of which a reader of a run knows nothing.
        let message = message.split(DataFusionError::BACK_TRACE_SEP).next().unwrap_or_default().trim_end();
        // Many errors print their cause within their own message.
        if !kept.iter().any(|earlier| earlier.contains(message)) {
            kept.push(message.to_owned());
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum LoadError {
        #[error("cannot load the orders")]
        Read(#[source] ReadError),
        #[error("cannot load: {0}")]
        Repeats(#[source] io::Error),
        #[error(transparent)]
        Transparent(#[from] ReadError),
    }

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read orders.csv")]
    struct ReadError(#[source] io::Error);

    fn read_error() -> ReadError {
        ReadError(io::Error::other("disk on fire"))
    }

    #[track_caller]
    fn check<Kind>(error: impl RunError<Kind>, expected: &[&str]) {
        assert_eq!(error.messages(), expected);
    }

    const CHAIN: [&str; 3] = ["cannot load the orders", "cannot read orders.csv", "disk on fire"];

    #[test]
    fn every_kind_of_error_has_its_causes() {
        let error = || LoadError::Read(read_error());
        check(error(), &CHAIN);
        let borrowed = &error();
        check(borrowed, &CHAIN);
        check(std::sync::Arc::new(error()), &CHAIN);
        check(Box::new(error()), &CHAIN);
        check::<error_kind::Local>(Box::new(error()) as Box<dyn Error>, &CHAIN);
        check::<error_kind::Local>(Box::new(error()) as Box<dyn Error + Send>, &CHAIN);
        check(Box::new(error()) as Box<dyn Error + Send + Sync>, &CHAIN);
        check(anyhow::Error::new(error()), &CHAIN);
        check(anyhow::Error::new(read_error()).context("cannot load the orders"), &CHAIN);
        check(
            DataFusionError::External(Box::new(error())),
            &["External error: cannot load the orders", CHAIN[1], CHAIN[2]],
        );
        check(LoadError::from(read_error()), &CHAIN[1..]);
    }

    #[test]
    fn texts_are_errors_too() {
        for text in ["the door is shut", ""] {
            check(text, &[text]);
            check(text.to_owned(), &[text]);
            check(Cow::from(text), &[text]);
            check(Box::<str>::from(text), &[text]);
        }
        check(anyhow::anyhow!("the door is shut"), &["the door is shut"]);
    }

    #[test]
    fn a_cause_that_the_message_repeats_stands_there_once() {
        check(LoadError::Repeats(io::Error::other("disk on fire")), &["cannot load: disk on fire"]);
        let context = DataFusionError::Plan("no table t".to_owned()).context("while planning");
        check(context, &["while planning\ncaused by\nError during planning: no table t"]);
        let traced = format!("no table t{}0: frame", DataFusionError::BACK_TRACE_SEP);
        check(DataFusionError::Plan(traced), &["Error during planning: no table t"]);
    }

    #[test]
    fn causes_have_lines_of_their_own() {
        let recorded = RecordedError::of(&LoadError::Read(read_error()));
        assert_eq!(recorded.text(), CHAIN.join(": "));
        assert_eq!(
            recorded.lines(),
            ["cannot load the orders", "caused by: cannot read orders.csv", "caused by: disk on fire"]
        );
    }
}
