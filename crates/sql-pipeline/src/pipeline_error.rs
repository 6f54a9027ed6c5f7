//! Why a script cannot become a pipeline.

use std::fmt;

use daglight_capture_policy::Redactor;
use daglight_run_identity::{DagError, DagNameError};

use crate::{
    conflict::Conflict,
    script_error::ScriptError,
    source::{LineOfScript, Place},
    undefined::{UndefinedKind, UndefinedReason},
    unsupported::UnsupportedStatement,
};

/// Why a script cannot become a pipeline. `Display` and `Debug` repeat only names from the script; [`PipelineError::shown_by`]
/// shows everything that a policy allows.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// Two nodes with the same name.
    #[error("{place}: the name {name:?} is taken by the node at {first_line}")]
    DuplicateName {
        /// The name.
        name: String,
        /// The line of the first statement with that name.
        first_line: LineOfScript,
        /// The second statement with that name.
        place: Box<Place>,
    },
    /// A node with the name of a parameter or a parameter table.
    #[error("{place}: the name {name:?} is taken by a parameter or a parameter table")]
    NamedLikeInput {
        /// The name.
        name: String,
        /// The statement with that name.
        place: Box<Place>,
    },
    /// A table or view that already exists when it is created.
    #[error(
        "{place}: {relation:?} is defined already, at {first_line}: \
         write CREATE OR REPLACE, drop it first, or give this one another name"
    )]
    AlreadyDefined {
        /// The table or view.
        relation: String,
        /// The line of the first definition.
        first_line: LineOfScript,
        /// The second definition.
        place: Box<Place>,
    },
    /// A table, schema, function or prepared statement that cannot exist when its statement is reached.
    #[error("{place}: {kind} {name:?} {reason}")]
    Undefined {
        /// What it is.
        kind: UndefinedKind,
        /// Its name.
        name: String,
        /// Why it is missing.
        reason: UndefinedReason,
        /// Where the statement names it.
        place: Box<Place>,
    },
    /// A statement that the session will reject because of what exists when it is reached.
    #[error("{place}: {conflict}")]
    Conflict {
        /// The conflict.
        conflict: Conflict,
        /// Where the statement names it.
        place: Box<Place>,
    },
    /// A statement that the session cannot run.
    #[error("{place}: {statement}")]
    Unsupported {
        /// What it is.
        statement: UnsupportedStatement,
        /// Where it starts.
        place: Box<Place>,
    },
    /// A parameter without a value.
    #[error(
        "{place}: the parameter `{name}` has no value: write --param {name}=VALUE, or `-- param: {name} = VALUE` in the script"
    )]
    MissingParameter {
        /// The parameter.
        name: String,
        /// The first place that reads it.
        place: Box<Place>,
    },
    /// A parameter within a text, which is not replaced.
    #[error("{place}: `${name}` stands within a text, where it is not read as a parameter: write {instead}")]
    ParameterInText {
        /// The name, without `$`.
        name: String,
        /// What to write instead, as text.
        instead: String,
        /// The text.
        place: Box<Place>,
    },
    /// A value for a parameter that does not exist.
    #[error("{path}: no statement reads a parameter `{name}`{}", did_you_mean(.nearest))]
    UnknownParameter {
        /// The script.
        path: String,
        /// The parameter.
        name: String,
        /// The parameter with the most similar name.
        nearest: Option<String>,
    },
    /// A default for a parameter that no statement reads.
    #[error("{place}: no statement reads the parameter `{name}`{}", did_you_mean(.nearest))]
    UnusedDeclaration {
        /// The parameter.
        name: String,
        /// The parameter with the most similar name.
        nearest: Option<String>,
        /// The declaration.
        place: Box<Place>,
    },
    /// A value whose type differs from that of the default.
    #[error("parameter `{name}` expects {} (its default at {place} is one)", with_article(.wanted))]
    ParameterType {
        /// The parameter.
        name: String,
        /// The value.
        value: String,
        /// The name of the default's type.
        wanted: &'static str,
        /// The declaration.
        place: Box<Place>,
    },
    /// A parameter value that is invalid where the script reads it.
    #[error(transparent)]
    Value(ScriptError),
    /// A file name that is not a valid DAG name.
    #[error("the script's file name is not a valid DAG name: pass --dag-name, or PipelineOptions::dag_name")]
    DagName(#[source] DagNameError),
    /// A description that is not a valid DAG.
    #[error(transparent)]
    Dag(#[from] DagError),
}

impl PipelineError {
    /// The place in the script to which the error refers.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::DuplicateName { place, .. }
            | Self::NamedLikeInput { place, .. }
            | Self::Undefined { place, .. }
            | Self::Conflict { place, .. }
            | Self::Unsupported { place, .. }
            | Self::AlreadyDefined { place, .. }
            | Self::MissingParameter { place, .. }
            | Self::UnusedDeclaration { place, .. }
            | Self::ParameterInText { place, .. }
            | Self::ParameterType { place, .. } => Some(place),
            Self::Value(error) => Some(&error.place),
            Self::UnknownParameter { .. } | Self::DagName(_) | Self::Dag(_) => None,
        }
    }

    /// The problem, followed by the line with a caret, both as the redactor allows.
    pub fn shown_by(&self, redactor: &Redactor) -> String {
        let message = self.to_string();
        match self {
            Self::Value(error) => error.shown_by(redactor),
            Self::ParameterType { value, .. } => {
                redactor.console_text(&format!("{message}, found {}", redactor.setting_value(value)))
            }
            error => match error.place() {
                Some(place) => format!("{}\n{}", redactor.console_text(&message), place.quoted_by(redactor)),
                None => redactor.console_text(&message),
            },
        }
    }

    /// The script to which the error refers, if any.
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::UnknownParameter { path, .. } => Some(path),
            error => error.place().map(|place| place.path.as_str()),
        }
    }
}

impl fmt::Debug for PipelineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

pub(crate) fn did_you_mean(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

/// The name of a type with its article.
fn with_article(kind: &str) -> String {
    let article = if kind.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {kind}")
}
