//! Comparisons of columns in texts: `a.token = b.token`, `token@1 = trim(token@1)`, `password = $1`. The operand after the operator
//! is a column, a function of columns or a placeholder, and not a credential, although it follows the name of one.
//!
//! The text may be anything, and `password = hunter` a line of a configuration. So a name counts as a column only if it equals the
//! name before the operator, or if the preceding words are those of a query or a plan.

use crate::{closing_quote::closing_quote, secret::REDACTED};

/// How many bytes before a comparison are inspected.
const IN_FRONT: usize = 512;
/// The maximum length of a call in bytes.
const LONGEST_CALL: usize = 1_024;

/// A name, a comparison operator, and the other operand.
pub(crate) struct Comparison<'a> {
    /// The text before the name.
    pub(crate) in_front: &'a str,
    /// The name, with its qualifiers: `a.token`.
    pub(crate) key: &'a str,
    /// Whether it has the number that physical plans append to the name of a column. Such texts have no quotes.
    pub(crate) is_indexed: bool,
    /// The text starting at the value.
    pub(crate) value: &'a str,
}

impl Comparison<'_> {
    /// Whether the value contains no literal. `is_parameter` returns whether a placeholder is a known parameter.
    pub(crate) fn has_no_literal(&self, is_parameter: impl Fn(&str) -> bool) -> bool {
        let value = self.value;
        let ends = |length: usize| {
            value[length..]
                .chars()
                .next()
                .is_none_or(|c| c.is_whitespace() || matches!(c, ',' | ')' | ']' | ';'))
        };
        if let Some(query) = value.strip_prefix('(') {
            let query = query.trim_start();
            return query.get(..6).is_some_and(|word| word.eq_ignore_ascii_case("select"))
                && query[6..].starts_with(char::is_whitespace);
        }
        if let Some(name) = value.strip_prefix(['?', '$', ':']) {
            let name = &name[..name.find(|c: char| !is_name(c)).unwrap_or(name.len())];
            let is_number = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
            let is_known = match value.as_bytes()[0] {
                b'?' => name.is_empty(),
                b'$' => is_number || !name.is_empty() && (is_parameter(name) || self.is_in_query()),
                _ => !name.is_empty() && self.is_in_query(),
            };
            return is_known && ends(1 + name.len());
        }
        let Some(path) = path(value) else { return false };
        if let Some(length) = call(value) {
            let arguments =
                value[path.length..length].replace(REDACTED, "").replace("''", "").replace("\"\"", "");
            return ends(length) && self.are_columns(&arguments);
        }
        ends(path.length)
            && match self.is_indexed {
                true => path.is_indexed,
                false => {
                    self.is_same(path.last) || is_name_of_column(&value[..path.length]) && self.is_in_query()
                }
            }
    }

    /// Whether the arguments of a call are only columns, numbers and calls, and include this column.
    fn are_columns(&self, arguments: &str) -> bool {
        if arguments.contains(['\'', '"', '`']) {
            return false;
        }
        let mut has_same = false;
        let mut rest = arguments;
        while let Some(start) = rest.find(|c: char| is_name(c)) {
            rest = &rest[start..];
            if rest.starts_with(|c: char| c.is_ascii_digit()) {
                rest = rest.trim_start_matches(|c: char| is_name(c) || c == '.');
                continue;
            }
            let Some(path) = path(rest) else { return false };
            let is_called = rest[path.length..].starts_with('(');
            if self.is_indexed && !is_called && !path.is_indexed {
                return false;
            }
            has_same |= !is_called && self.is_same(path.last);
            rest = &rest[path.length..];
        }
        has_same || self.is_indexed || self.is_in_query()
    }

    /// Whether a column has the same name as the compared one.
    fn is_same(&self, name: &str) -> bool {
        let own = self.key.rsplit('.').next().unwrap_or_default();
        !own.is_empty() && own.eq_ignore_ascii_case(name)
    }

    /// Whether the preceding words are those of a query or a plan, where a condition begins here.
    fn is_in_query(&self) -> bool {
        const BEGIN: [&str; 11] =
            ["on", "where", "and", "or", "having", "when", "not", "filter:", "join:", "select", "set"];
        const VERBS: [&str; 7] = ["select ", "update ", "delete ", "merge ", "join ", "join: ", "filter: "];
        let from = self.in_front.ceil_char_boundary(self.in_front.len().saturating_sub(IN_FRONT));
        let in_front = self.in_front[from..].to_ascii_lowercase();
        // The table of a quoted column: `a."token"`.
        let outside = in_front.trim_end_matches(['"', '`']);
        let table = outside.strip_suffix('.').map(|table| table.trim_end_matches(|c| is_name(c) || c == '.'));
        let outside = table.unwrap_or(outside).trim_end_matches(['(', ' ', '\n', '\t', '\r']);
        let word = outside.rsplit(|c: char| c.is_whitespace() || c == '(').next().unwrap_or_default();
        BEGIN.contains(&word) && VERBS.iter().any(|verb| in_front.contains(verb))
    }
}

/// The length of a call at the beginning of a text, including its closing parenthesis.
pub(crate) fn call(text: &str) -> Option<usize> {
    let text = &text[..text.floor_char_boundary(LONGEST_CALL)];
    let name = text.find(|c: char| !is_name(c)).filter(|end| *end > 0 && text[*end..].starts_with('('))?;
    let mut depth = 0_usize;
    let mut at = name;
    while let Some(byte) = text.as_bytes().get(at) {
        match byte {
            b'(' => depth += 1,
            b')' if depth == 1 => return Some(at + 1),
            b')' => depth -= 1,
            b'\n' => return None,
            b'\'' | b'"' => at += 1 + closing_quote(&text[at + 1..], &text[at..=at]),
            _ => {}
        }
        at += 1;
    }
    None
}

/// The name of a column with its qualifiers.
struct Path<'a> {
    length: usize,
    /// Its last part, without quotes.
    last: &'a str,
    is_indexed: bool,
}

fn path(text: &str) -> Option<Path<'_>> {
    let mut at = 0;
    loop {
        let rest = &text[at..];
        let (last, length) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let end = quoted.find(['"', '\n'])?;
                (&quoted[..end], end + 2)
            }
            None => {
                let end = rest.find(|c: char| !is_name(c)).unwrap_or(rest.len());
                (&rest[..end], end)
            }
        };
        if last.is_empty() || last.starts_with(|c: char| c.is_ascii_digit()) || at + length > text.len() {
            return None;
        }
        at += length;
        if text[at..].starts_with('.') && text[at + 1..].starts_with(|c: char| is_name(c) || c == '"') {
            at += 1;
            continue;
        }
        let digits = text[at..]
            .strip_prefix('@')
            .map_or(0, |behind| behind.bytes().take_while(u8::is_ascii_digit).count());
        let index = if digits > 0 { digits + 1 } else { 0 };
        return Some(Path { length: at + index, last, is_indexed: index > 0 });
    }
}

/// Whether a text looks like a column: lower-case words, either with a table before them or without digits.
fn is_name_of_column(text: &str) -> bool {
    text.len() <= 64
        && !text.contains('"')
        && text.chars().all(|c| c.is_lowercase() || matches!(c, '_' | '.') || c.is_ascii_digit())
        && (text.contains('.') || !text.contains(|c: char| c.is_ascii_digit()))
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use crate::redact::Redactor;

    #[test]
    fn columns_functions_of_columns_and_placeholders_stay() {
        let redactor = Redactor::default();
        for text in [
            "SELECT * FROM a JOIN b ON a.token = b.token AND a.id = b.id",
            "SELECT * FROM a JOIN b ON a.\"token\" = b.\"token\"",
            "SELECT * FROM a WHERE \"token\" = \"b\".\"token\"",
            "ON a.token = b.token AND a.id = b.id",
            "SELECT 1 FROM t WHERE token = trim(token) AND id > 0",
            "SELECT 1 FROM t WHERE token != substr(other_column, 1, 3) AND id > 0",
            "SELECT 1 FROM t WHERE (token = other_column)",
            "UPDATE a SET token = upper(token)",
            "UPDATE a SET token = b.token, x = 1",
            "SELECT 1 FROM u JOIN n ON u.password = n.x",
            "SELECT u.password = n.x FROM u, n",
            "SELECT 1 FROM t WHERE token = (SELECT max(x) FROM u)",
            "Inner Join: Filter: a.token = b.token",
            "Inner Join: Filter: u.password = n.x",
            "  Inner Join: u.password = n.x, u.id = n.id",
            "Filter: t.token = btrim(t.token) AND t.id > Int64(0)",
            "FilterExec: token@1 = token@3 AND id@0 > 1",
            "FilterExec: token@1 = btrim(token@1) AND id@0 > 1",
            "NestedLoopJoinExec: join_type=Inner, filter=token@0 < token@1",
            "HashJoinExec: mode=CollectLeft, join_type=Inner, on=[(token@1, token@0)]",
            "SELECT 1 FROM t WHERE password = $1 OR password = ? OR token = $tok OR token = :tok",
        ] {
            assert_eq!(redactor.text(text), text);
            assert_eq!(redactor.sql_text(text), text);
            assert_eq!(redactor.plan_text(text), text);
            assert_eq!(redactor.error_text(text), text);
        }
    }

    #[test]
    fn literals_go_with_all_of_their_call() {
        let redactor = Redactor::default();
        for (text, expected) in [
            ("FilterExec: token@1 = zqmk AND id@0 > 1", "FilterExec: token@1 = [redacted] AND id@0 > 1"),
            ("FilterExec: token@1 = upper(zqmk) AND x", "FilterExec: token@1 = [redacted] AND x"),
            ("FilterExec: token@1 = concat(token@1, zqmk)", "FilterExec: token@1 = [redacted]"),
            ("Filter: a.token = Utf8(\"zq mk\") AND b = 1", "Filter: a.token = [redacted] AND b = 1"),
            ("Filter: a.token = upper(Utf8(\"zq)mk\")) AND b", "Filter: a.token = [redacted] AND b"),
            ("token = coalesce(token, 'zq') AND x", "token = [redacted] AND x"),
            ("password = zqmk", "password = [redacted]"),
            ("db.password = zq.mk", "db.password = [redacted]"),
            ("and password = zqmk", "and password = [redacted]"),
            ("password=zq(mk) x", "password=[redacted] x"),
            ("password=$zq", "password=[redacted]"),
            ("password = password-zq", "password = [redacted]"),
            ("SELECT a FROM t WHERE password = zqMk01", "SELECT a FROM t WHERE password = [redacted]"),
        ] {
            assert_eq!(redactor.text(text), expected);
            assert_eq!(redactor.text(expected), expected);
        }
        assert_eq!(
            redactor.sql_text("SELECT 1 FROM t WHERE token = coalesce(token, 'zq') AND x"),
            "SELECT 1 FROM t WHERE token = coalesce(token, '[redacted]') AND x"
        );
    }
}
