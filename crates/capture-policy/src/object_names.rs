//! Quoted names of functions, tables, columns and similar objects in error messages: `Function 'sum' failed to match any
//! signature`, `table 'datafusion.public.tokens' not found`.

use std::ops::Range;

/// The words that precede a name, in lower case.
const KINDS: [&str; 27] = [
    "aggregate",
    "alias",
    "analyzer rule",
    "argument",
    "catalog",
    "column",
    "did you mean",
    "expression",
    "field",
    "format",
    "function",
    "index",
    "node",
    "operator",
    "optimizer rule",
    "parameter",
    "relation",
    "rule",
    "schema",
    "sequence",
    "setting",
    "table",
    "to type",
    "type",
    "types",
    "variable",
    "view",
];
/// What a message states about a name, after it.
const SAID: [&str; 32] = [
    "already exists",
    "and",
    "are",
    "aren't",
    "at",
    "cannot",
    "contains",
    "could not",
    "did not",
    "does not",
    "doesn't",
    "expected",
    "expects",
    "fail",
    "failed",
    "failed to",
    "for",
    "from",
    "has",
    "in",
    "is ambiguous",
    "is deprecated",
    "is not",
    "is unknown",
    "must",
    "needs",
    "not found",
    "not supported",
    "of",
    "requires",
    "that",
    "with",
];
/// The maximum length in bytes of a name that is inspected.
const LONGEST: usize = 256;

/// Whether the text in quotes at `range` is the name of the object that the message is about. It has the form of a name, follows a
/// word for its kind, and is followed by a statement about it: SQL has no literals in such places.
pub(crate) fn is_name(message: &str, range: &Range<usize>) -> bool {
    let (Some(name), Some(before), Some(behind)) =
        (message.get(range.clone()), message.get(..range.start), message.get(range.end..))
    else {
        return false;
    };
    let mark = ['\'', '"', '`'].into_iter().find(|mark| before.ends_with(*mark) && behind.starts_with(*mark));
    let Some(mark) = mark else { return false };
    let before = before.strip_suffix(mark).unwrap_or(before);
    let before =
        before[before.ceil_char_boundary(before.len().saturating_sub(32))..].trim_end().to_lowercase();
    let behind = behind.strip_prefix(mark).unwrap_or(behind);
    let is_kind = |kind: &str| {
        before
            .strip_suffix(kind)
            .is_some_and(|front| !front.ends_with(|c: char| c.is_alphanumeric() || c == '_'))
    };
    // `invalid value 'token' for '--param <NAME=VALUE>'`.
    if before.ends_with("for") && is_option(name) {
        return true;
    }
    has_form_of_name(name) && KINDS.iter().any(|kind| is_kind(kind)) && is_said_of_name(behind)
}

/// Whether a text is an option in the notation of command line parsers, with a word for its value.
fn is_option(text: &str) -> bool {
    let (option, value) = text.split_once(' ').unwrap_or((text, "<>"));
    let name = option.strip_prefix("--").unwrap_or_default();
    let word = value.strip_prefix('<').and_then(|value| value.split_once('>')).map(|(word, _)| word);
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
        && word.is_some_and(|word| {
            word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'=' | b'.' | b'_' | b'/'))
        })
}

/// Parts separated by dots, optionally followed by the argument types of a function in parentheses.
fn has_form_of_name(name: &str) -> bool {
    let name = match name.split_once('(') {
        Some((name, arguments)) if arguments.ends_with(')') => name,
        _ => name,
    };
    let is_part = |part: &str| {
        part.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_alphanumeric() || c == '_')
    };
    name.len() <= LONGEST && name.split('.').all(is_part)
}

fn is_said_of_name(behind: &str) -> bool {
    let said = behind.trim_start();
    let ends = said.is_empty() || said.starts_with(['?', '!']) || said == ".";
    let sentence_ends = behind.starts_with(". ") || behind.starts_with(".\n");
    ends || sentence_ends
        || behind.starts_with(' ')
            && SAID.iter().any(|word| {
                said.strip_prefix(word)
                    .is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
            })
}

#[cfg(test)]
mod tests {
    use crate::redact::Redactor;

    #[test]
    fn what_an_error_speaks_of_is_shown() {
        let redactor = Redactor::default();
        for message in [
            "Function 'sum' failed to match any signature, errors: Function 'sum' requires Int64, but received String.",
            "Internal error: Function 'date_trunc' failed to match any signature",
            "Invalid function 'token'. Did you mean 'to_hex'?",
            "table 'datafusion.public.orders' not found, password",
            "column 'password' not found in table 'orders'",
            "The signature of function 'regexp_like' does not have the argument 'flags'",
            "the type 'Float32' is not that of the signature",
            "for column 'amount' at line 3, column 'password' is text",
            "No function matches the given signature and argument types 'sum(Utf8)'.",
            "View 'v' doesn't exist, token",
        ] {
            assert_eq!(redactor.error_text(message), message);
        }
    }

    #[test]
    fn options_of_the_command_are_shown() {
        let redactor = Redactor::default();
        for message in [
            "error: invalid value '--pass' for '--jobs <N>': expected a whole number, 1 or more",
            "error: invalid value 'token' for '--param <NAME=VALUE>': expected NAME=VALUE, such as region=ASIA",
            "error: unexpected value 'password' for '--json' found; no more were expected",
            "error: unexpected argument '--pass' found",
            "  tip: a similar argument exists: '--token'",
            "Usage: daglight serve --token <TOKEN> [DIR]",
        ] {
            assert_eq!(redactor.console_text(message), message);
        }
        let shown = redactor
            .console_text("error: invalid value 'hunter2' for '--token <TOKEN>': expected eight letters");
        assert_eq!(shown, "error: invalid value '[redacted]' for '--token <TOKEN>': expected eight letters");
    }

    #[test]
    fn literals_are_not_names() {
        let redactor = Redactor::default();
        for message in [
            "Cannot cast string 'hunter2' as password",
            "expected password = 'hunter2'",
            "SELECT 'hunter2' AS signature",
            "password of column = 'hunter2' with x",
            "password of type 'hunter2!' failed",
            "near password LIKE 'hunter2' for",
            "password IN ('hunter2') in",
            "the password 'hunter2' is not valid",
            "with key 'password' 'hunter2'",
        ] {
            let shown = redactor.error_text(message);
            assert!(!shown.contains("hunter2"), "{shown}");
        }
        // A credential of the script stays hidden, whatever an error states about it.
        redactor.learn("CREATE TABLE u AS SELECT 'hunter2' AS password");
        assert_eq!(redactor.error_text("Function 'hunter2' failed"), "Function '[redacted]' failed");
    }
}
