//! Why a script cannot be parsed.

use std::fmt;

use daglight_capture_policy::{Redactor, printable_message};

use crate::{directive::DirectiveError, source::Place};

/// The maximum length shown of a parser message: it may contain a text of any length.
const MESSAGE_COLUMNS: usize = 1_000;

/// Why a script cannot be parsed, and where. `Display` and `Debug` repeat only names from the script; [`ScriptError::shown_by`]
/// shows everything that a policy allows.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct ScriptError {
    /// The place.
    pub place: Box<Place>,
    /// The problem.
    pub problem: ScriptProblem,
}

impl ScriptError {
    /// The problem in the words of the parser, followed by the line with a caret, both as the redactor allows.
    pub fn shown_by(&self, redactor: &Redactor) -> String {
        let Self { place, problem } = self;
        let problem = printable_message(&problem.in_full(), MESSAGE_COLUMNS);
        format!("{place}: {}\n{}", redactor.console_text(&problem), place.quoted_by(redactor))
    }
}

impl fmt::Debug for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a script cannot be parsed. `Display` and `Debug` repeat only names from the script.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScriptProblem {
    /// The SQL is invalid.
    #[error("{}", expectation(message))]
    Syntax {
        /// The message of the parser, which may contain a part of the script.
        message: String,
    },
    /// A comment contains an invalid directive.
    #[error(transparent)]
    Directive(DirectiveError),
    /// A placeholder that no parameter can fill.
    #[error(
        "`{placeholder}` is not a parameter: write `${name}`, and give its value with `--param {name}=VALUE` or \
         `-- param: {name} = VALUE` in the script"
    )]
    ForeignPlaceholder {
        /// The placeholder.
        placeholder: String,
        /// The name that it could have.
        name: String,
    },
}

impl ScriptProblem {
    /// The message including the text found instead.
    fn in_full(&self) -> String {
        match self {
            Self::Syntax { message } => message.clone(),
            Self::Directive(error) => error.in_full(),
            Self::ForeignPlaceholder { .. } => self.to_string(),
        }
    }
}

impl fmt::Debug for ScriptProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Only the part of the parser message about what it expected: what it found is a part of the script.
fn expectation(message: &str) -> &str {
    let expected = message.split_once(", found ").map(|(expected, _)| expected);
    expected
        .filter(|expected| expected.starts_with("expected ") && !expected.contains(['\'', '"', '`']))
        .unwrap_or("the SQL is not well formed")
}

/// Why a statement cannot be parsed, with the line and column.
pub(crate) type StatementProblem = ((usize, usize), ScriptProblem);
