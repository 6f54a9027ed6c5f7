//! A single directive in a comment: its syntax, and why one is invalid.

use std::fmt;

use daglight_materializers::CheckProblem;

use crate::{
    parameter::ParameterDeclaration,
    parser_messages::{split_position, tidied},
    source::LineOfScript,
    split::CommentLine,
};

/// The words that, followed by a colon, start a directive.
pub(crate) const DIRECTIVES: [&str; 4] = ["tag", "node", "param", "expect"];

/// The syntax of directives, for messages.
const TAG_FORM: &str = "a tag is written `-- tag: key=value`, without spaces in the key";
const NAME_FORM: &str = "a node's name is written `-- node: name`, without spaces";
const PARAMETER_FORM: &str = "a parameter's default is written `-- param: name = value`";
const SEVERITY_FORM: &str =
    "the severity of a check is written `-- expect(warn): ...` or `-- expect(fail): ...`";

/// Why a directive is invalid. `Display` and `Debug` repeat only names from it.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DirectiveError {
    /// A tag that is not a key with a value.
    #[error("{}, but this one is not", TAG_FORM)]
    Tag {
        /// The text found instead.
        found: String,
    },
    /// A key with two values.
    #[error("the tag {key:?} has a value already")]
    DuplicateTag {
        /// The key.
        key: String,
    },
    /// A text that is not a valid name.
    #[error("{}, but this one is not", NAME_FORM)]
    NodeName {
        /// The text found instead.
        found: String,
    },
    /// A second name.
    #[error("the node has a name already: {name:?}")]
    DuplicateNodeName {
        /// The first name.
        name: String,
    },
    /// A default that is not a name with a value.
    #[error("{}, but this one is not", PARAMETER_FORM)]
    Parameter {
        /// The text found instead.
        found: String,
    },
    /// A second default.
    #[error("the parameter {name:?} has a default already, at {first_line}")]
    DuplicateParameter {
        /// The name.
        name: String,
        /// Where the first default is.
        first_line: LineOfScript,
    },
    /// A directive above a statement that is not a node.
    #[error("`{directive}:` applies to a node, but the statement below is not a node")]
    NotANode {
        /// `tag`, `node` or `expect`.
        directive: &'static str,
    },
    /// A check that cannot be parsed.
    #[error("{problem}")]
    Check {
        /// The problem.
        problem: CheckProblem,
    },
    /// Neither `warn` nor `fail`.
    #[error("{}, but this one is not", SEVERITY_FORM)]
    Severity {
        /// The text found instead.
        found: String,
    },
    /// A check above a statement that returns or writes no rows.
    #[error(
        "`expect:` applies to a statement that returns or writes rows, but the statement below changes a table"
    )]
    NoRows,
}

impl DirectiveError {
    /// The message including the text found instead.
    pub(crate) fn in_full(&self) -> String {
        let instead = |form: &str, found: &str| format!("{form}, but this one is {found:?}");
        match self {
            Self::Tag { found } => instead(TAG_FORM, found),
            Self::NodeName { found } => instead(NAME_FORM, found),
            Self::Parameter { found } => instead(PARAMETER_FORM, found),
            Self::Severity { found } => instead(SEVERITY_FORM, found),
            Self::Check { problem: CheckProblem::Condition { message } } => {
                format!("{self}: {}", tidied(split_position(message).0))
            }
            _ => self.to_string(),
        }
    }
}

impl fmt::Debug for DirectiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A [`DirectiveError`] and its line and column.
pub(crate) type Misplaced = (DirectiveError, (usize, usize));

/// A directive.
pub(crate) struct Directive<'l> {
    pub(crate) name: &'static str,
    /// The option in parentheses after the name, which only a check may have.
    pub(crate) option: Option<&'l str>,
    pub(crate) argument: &'l str,
}

/// The directive in a line.
pub(crate) fn directive(line: &CommentLine) -> Option<Directive<'_>> {
    let text = line.text.trim();
    // After code, `-- node: x` is a remark about that line.
    DIRECTIVES.into_iter().filter(|_| line.own_line).find_map(|name| {
        let (option, rest) = option_of(name, text.strip_prefix(name)?);
        let argument = rest.strip_prefix(':')?.trim();
        Some(Directive { name, option, argument })
    })
}

/// Splits off the option in parentheses, if the directive supports one.
pub(crate) fn option_of<'t>(name: &str, text: &'t str) -> (Option<&'t str>, &'t str) {
    let option = text.strip_prefix('(').filter(|_| name == "expect").and_then(|rest| rest.split_once(')'));
    option.map_or((None, text), |(option, rest)| (Some(option.trim()), rest))
}

pub(crate) fn node_name(argument: &str) -> Result<String, DirectiveError> {
    if argument.is_empty() || argument.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(DirectiveError::NodeName { found: argument.to_owned() });
    }
    Ok(argument.to_owned())
}

pub(crate) fn tag(pair: &str) -> Result<(String, String), DirectiveError> {
    match pair.split_once('=').map(|(key, value)| (key.trim(), value.trim())) {
        Some((key, value)) if !key.is_empty() && !value.is_empty() && !key.contains(char::is_whitespace) => {
            Ok((key.to_owned(), value.to_owned()))
        }
        _ => Err(DirectiveError::Tag { found: pair.trim().to_owned() }),
    }
}

pub(crate) fn parameter(
    argument: &str,
    documentation: Option<String>,
    at: (usize, usize),
) -> Result<ParameterDeclaration, DirectiveError> {
    let refused = || DirectiveError::Parameter { found: argument.to_owned() };
    let (name, value) = argument.split_once('=').ok_or_else(refused)?;
    let (name, value) = (name.trim(), value.trim());
    let unquoted = value.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    if !is_name || value.is_empty() {
        return Err(refused());
    }
    Ok(ParameterDeclaration {
        name: name.to_owned(),
        // SQL doubles quotes within a string.
        default: unquoted.map_or_else(|| value.to_owned(), |text| text.replace("''", "'")),
        quoted: unquoted.is_some(),
        documentation,
        line: at.0,
        column: at.1,
        file: 0,
    })
}
