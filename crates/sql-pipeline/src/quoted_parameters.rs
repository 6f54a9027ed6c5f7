//! Parameters within a text, such as `INTERVAL '$n days'`, where they are not replaced.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::literals::{defines_function, type_in_front};

/// A name after a `$` in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QuotedParameter {
    pub(crate) name: String,
    /// What to write instead.
    pub(crate) instead: String,
    /// The line and column of the text.
    pub(crate) at: (u64, u64),
}

/// The first of these in a statement: in a typed string, which no engine can parse, or any that `is_meant`.
pub(crate) fn quoted_parameter(
    tokens: &[TokenWithSpan],
    is_meant: impl Fn(&str) -> bool,
) -> Option<QuotedParameter> {
    if defines_function(tokens) {
        return None;
    }
    tokens.iter().enumerate().find_map(|(place, token)| {
        let Token::SingleQuotedString(text) = &token.token else { return None };
        let type_name = type_in_front(tokens, place);
        let name = names(text).find(|name| type_name.is_some() || is_meant(name))?;
        Some(QuotedParameter {
            name: name.to_owned(),
            instead: instead(text, name, type_name),
            at: (token.span.start.line, token.span.start.column),
        })
    })
}

/// The names after each `$` in a text. Numbers are excluded: `$1` is an amount, or a group of a regular expression.
fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split('$').skip(1).filter_map(|rest| {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        Some(&rest[..end]).filter(|name| !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()))
    })
}

fn instead(text: &str, name: &str, type_name: Option<&str>) -> String {
    let rest = text.strip_prefix('$').and_then(|rest| rest.strip_prefix(name)).map(str::trim);
    match (type_name, rest) {
        (Some(type_name), Some("")) => format!("{type_name} ${name}"),
        (Some("INTERVAL"), Some(unit)) if unit.chars().all(char::is_alphabetic) => {
            let unit = unit.to_uppercase();
            format!("INTERVAL ${name} {}", unit.strip_suffix('S').unwrap_or(&unit))
        }
        (Some(type_name), _) => format!("{type_name} ${name}, with all of the text as the value"),
        (None, Some("")) => format!("${name} without quotes"),
        (None, _) => format!("'...' || ${name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::Script;

    #[track_caller]
    fn check(sql: &str, expected: Option<(&str, &str)>) {
        let script = Script::parse("a.sql", sql).unwrap();
        let found = quoted_parameter(&script.statements()[0].tokens(), |name| name == "day");
        let found = found.as_ref().map(|found| (found.name.as_str(), found.instead.as_str()));
        assert_eq!(found, expected, "{sql}");
    }

    #[test]
    fn parameters_in_texts_are_found() {
        check("SELECT now() - INTERVAL '$n days'", Some(("n", "INTERVAL $n DAY")));
        check("SELECT INTERVAL '$n'", Some(("n", "INTERVAL $n")));
        check(
            "SELECT INTERVAL '1 month $n days'",
            Some(("n", "INTERVAL $n, with all of the text as the value")),
        );
        check("SELECT DATE '$from'", Some(("from", "DATE $from")));
        check("SELECT a FROM t WHERE b = '$day'", Some(("day", "$day without quotes")));
        check("SELECT 'on $day' AS x", Some(("day", "'...' || $day")));
    }

    #[test]
    fn other_texts_are_texts() {
        check("SELECT '$other', '$1', 'a$', '$', \"$day\", $day", None);
        check("SELECT INTERVAL '1 day', DATE '1995-01-01'", None);
    }
}
