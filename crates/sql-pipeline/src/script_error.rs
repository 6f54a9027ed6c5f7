//! Why a script cannot be read.

use std::fmt;

use daglight_capture_policy::{Redactor, printable_message};

use crate::{directive::DirectiveError, source::Place};

/// How much of a parser's message is shown: it may name a text of any length.
const MESSAGE_COLUMNS: usize = 1_000;

/// Why a script cannot be read, and where. `Display` and `Debug` repeat nothing of the script but names;
/// [`ScriptError::shown_by`] says all that a policy allows.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct ScriptError {
    /// Where.
    pub place: Box<Place>,
    /// Why.
    pub problem: ScriptProblem,
}

impl ScriptError {
    /// What is wrong, in the parser's words, and below that the line with a caret, both as the redactor lets it be shown.
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

/// Why a script cannot be read. `Display` and `Debug` repeat nothing of the script but names.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScriptProblem {
    /// The SQL is not well formed.
    #[error("{}", expectation(message))]
    Syntax {
        /// The parser's words, in which a part of the script may stand.
        message: String,
    },
    /// A comment holds a directive that cannot be taken.
    #[error(transparent)]
    Directive(DirectiveError),
    /// A placeholder that no parameter can fill.
    #[error(
        "`{placeholder}` is not a parameter: write `${name}`, and give its value with `--param {name}=VALUE` or \
         `-- param: {name} = VALUE` in the script"
    )]
    ForeignPlaceholder {
        /// What stands there.
        placeholder: String,
        /// The name that it could have.
        name: String,
    },
}

impl ScriptProblem {
    /// With what stands there instead.
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

/// Of the parser's words those about what it expected: what it found is a part of the script.
fn expectation(message: &str) -> &str {
    let expected = message.split_once(", found ").map(|(expected, _)| expected);
    expected
        .filter(|expected| expected.starts_with("expected ") && !expected.contains(['\'', '"', '`']))
        .unwrap_or("the SQL is not well formed")
}

/// Why a statement cannot be read, at a line and column.
pub(crate) type StatementProblem = ((usize, usize), ScriptProblem);
