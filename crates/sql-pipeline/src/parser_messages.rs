//! The messages of SQL parsers, as they are shown.

use datafusion::{error::DataFusionError, sql::sqlparser::parser::ParserError};

/// What is said of a statement that the parser gives up because of its depth.
pub(crate) const TOO_DEEP: &str =
    "the statement is nested too deep: `SET datafusion.sql_parser.recursion_limit` allows more";

/// The words of the parser, without those of DataFusion around them.
pub(crate) fn parser_message(error: &DataFusionError) -> String {
    match error {
        DataFusionError::SQL(error, _) => match error.as_ref() {
            ParserError::ParserError(message) | ParserError::TokenizerError(message) => message.clone(),
            ParserError::RecursionLimitExceeded => TOO_DEEP.to_owned(),
        },
        DataFusionError::Diagnostic(_, error) => parser_message(error),
        other => other.strip_backtrace(),
    }
}

/// Takes the position off the end of a message of sqlparser, where it writes it.
pub(crate) fn split_position(message: &str) -> (&str, Option<(usize, usize)>) {
    let position = message.rsplit_once(" at Line: ").and_then(|(text, position)| {
        let (line, column) = position.split_once(", Column: ")?;
        Some((text, (line.trim().parse().ok()?, column.trim().parse().ok()?)))
    });
    // Names in single quotes have no position, which sqlparser writes as zeros.
    let position = position.map(|(text, at): (&str, (usize, usize))| (text, Some(at).filter(|at| at.0 > 0)));
    position.unwrap_or((message, None))
}

/// The message in the words of this crate.
pub(crate) fn tidied(message: &str) -> String {
    let message = message
        .strip_prefix("Expected: ")
        .and_then(|rest| rest.rsplit_once(", found: "))
        .map(|(expected, found)| {
            // Its value may be secret. The place says which one it is.
            let found = match found {
                text if text.contains('\'') || text.matches('$').count() > 1 => "a string",
                number if number.starts_with(|c: char| c.is_ascii_digit()) => "a number",
                other => other,
            };
            format!("expected {expected}, found {found}")
        })
        .unwrap_or_else(|| message.to_owned());
    match message.strip_suffix("found EOF") {
        Some(start) => format!("{start}found the end of the statement"),
        None => message,
    }
}
