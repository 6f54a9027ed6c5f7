//! The messages of SQL parsers, in the form in which they are shown.

use datafusion::{error::DataFusionError, sql::sqlparser::parser::ParserError};

/// The message for a statement that the parser gives up on because of its nesting depth.
pub(crate) const TOO_DEEP: &str =
    "the statement is nested too deep: `SET datafusion.sql_parser.recursion_limit` allows more";

/// The message of the parser, without the text that DataFusion adds.
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

/// Splits the position off the end of a sqlparser message, if there is one.
pub(crate) fn split_position(message: &str) -> (&str, Option<(usize, usize)>) {
    let position = message.rsplit_once(" at Line: ").and_then(|(text, position)| {
        let (line, column) = position.split_once(", Column: ")?;
        Some((text, (line.trim().parse().ok()?, column.trim().parse().ok()?)))
    });
    // Names in single quotes have no position, which sqlparser writes as zeros.
    let position = position.map(|(text, at): (&str, (usize, usize))| (text, Some(at).filter(|at| at.0 > 0)));
    position.unwrap_or((message, None))
}

/// The message, reworded by this crate.
pub(crate) fn tidied(message: &str) -> String {
    let message = message
        .strip_prefix("Expected: ")
        .and_then(|rest| rest.rsplit_once(", found: "))
        .map(|(expected, found)| {
            // The value may be secret. The position shows which one it is.
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
