//! Values after keys in free text, as in `password=x`, `"token": "x"`, a header or a connection string: where they begin and end.

use std::ops::Range;

use crate::{
    closing_quote::closing_quote,
    compared_columns::call,
    credentials::{block, is_encoded, quote},
    secret::REDACTED,
};

/// The separators between a key and its value; after whitespace also `<` and `>`.
const SIGNS: [&str; 9] = ["=>", ":=", "==", "!=", "<>", "<=", ">=", "=", ":"];

/// The text between a key and its value.
pub(crate) struct Separator {
    /// The operator, such as `=` or `:`. `None` for whitespace only.
    sign: Option<&'static str>,
    key_is_quoted: bool,
    /// Whether the value is on another line.
    breaks_line: bool,
    /// The number of bytes from the end of the key to the value.
    length: usize,
}

impl Separator {
    /// Looks only at the next few characters, so that it can be called for every word.
    pub(crate) fn after_key(key: &str, after: &str) -> Option<Self> {
        if !after.starts_with(['=', ':', '!', '<', '>', '@', '"', '\'', '`', '\\', ' ', '\n', '\t', '\r']) {
            return None;
        }
        let key_quote = quote(after).map_or(0, |(length, _)| length);
        let key_is_quoted = key_quote > 0;
        let behind = without_column_index(&after[key_quote..]);
        let sign_and_value = behind.trim_start();
        let is_apart = sign_and_value.len() < behind.len();
        let sign = SIGNS.into_iter().find(|sign| sign_and_value.starts_with(sign));
        let sign =
            sign.or_else(|| ["<", ">"].into_iter().find(|sign| is_apart && sign_and_value.starts_with(sign)));
        // `tokens.sql:3:8: t: ...`, `secrets.json: not found`.
        if sign == Some(":") && names_file(key) {
            return None;
        }
        let blank = &sign_and_value[sign.map_or(0, str::len)..];
        let value = blank.trim_start();
        // `--token <TOKEN>`, as in the help of a command.
        if is_option(key) && !key_is_quoted && stands_for_value(sign_and_value) {
            return None;
        }
        let has_value = match sign {
            Some(_) => !sign_and_value.starts_with("::"),
            None if !is_apart => false,
            None if is_option(key) && !key_is_quoted => true,
            None => quote(value).is_some_and(|(_, mark)| key_is_quoted || mark == '\''),
        };
        has_value.then(|| Self {
            sign,
            key_is_quoted,
            breaks_line: blank[..blank.len() - value.len()].contains('\n'),
            length: after.len() - value.len(),
        })
    }

    /// The text from the value on, if the separator compares; `after` is the text after the key.
    pub(crate) fn compared<'t>(&self, after: &'t str) -> Option<&'t str> {
        (self.sign.is_some_and(|sign| !matches!(sign, ":" | "=>" | ":="))).then(|| &after[self.length..])
    }

    /// Whether it is a colon, which also follows the name of what an error is about.
    pub(crate) fn is_colon(&self) -> bool {
        self.sign == Some(":")
    }

    /// The position of the value in `after`, the text after the key; `before` is the character before the key.
    pub(crate) fn value(&self, before: Option<char>, after: &str) -> Option<Range<usize>> {
        let value = &after[self.length..];
        let found = match quote(value) {
            Some((opening, _)) => opening..opening + closing_quote(&value[opening..], &value[..opening]),
            None if self.breaks_line => 0..0,
            None => 0..self.bare(before, value),
        };
        (!found.is_empty()).then(|| self.length + found.start..self.length + found.end)
    }

    /// The length of an unquoted value.
    fn bare(&self, before: Option<char>, value: &str) -> usize {
        let end = match (self.sign, self.key_is_quoted) {
            // A header or a YAML line, in the quotes with which it was opened.
            (Some(":"), false) => match before.filter(|mark| is_quote(*mark)) {
                Some(mark) => value.find(['\n', mark]),
                None => value.find('\n'),
            },
            _ if value.starts_with(['{', '[']) => Some(block(value)),
            (_, true) => value.find([',', '}', ']', '\n']),
            (Some("="), false) => {
                Some(call(value).unwrap_or_else(|| until_space(value)).max(until_next_pair(value)))
            }
            (_, false) => Some(call(value).unwrap_or_else(|| until_space(value))),
        };
        value[..end.unwrap_or(value.len())].trim_end().len()
    }
}

/// The position of the token after the name of an authentication scheme.
pub(crate) fn token_of_scheme(word: &str, after: &str) -> Option<Range<usize>> {
    let is_basic = word.eq_ignore_ascii_case("basic");
    if !is_basic && !word.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let token = after.trim_start_matches([' ', '\t']);
    let start = after.len() - token.len();
    let token = &token[..until_space(token)];
    let is_token = start > 0 && !token.is_empty() && (!is_basic || is_encoded(token));
    is_token.then(|| start..start + token.len())
}

/// Whether a value may follow the word after only whitespace. A single dash is a minus in SQL, so options with one dash are listed.
fn is_option(word: &str) -> bool {
    word.starts_with("--") || ["-pw", "-pass", "-passwd", "-password"].contains(&word)
}

/// Whether a word is the name of a file: text after it and a colon is then about the file.
fn names_file(word: &str) -> bool {
    const ENDINGS: [&str; 18] = [
        "arrow", "avro", "csv", "gz", "html", "json", "jsonl", "log", "md", "ndjson", "parquet", "py", "rs",
        "sql", "toml", "tsv", "txt", "yaml",
    ];
    let ending = word.rsplit_once('.').filter(|(name, _)| !name.is_empty()).map(|(_, ending)| ending);
    ending.is_some_and(|ending| ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known)))
}

/// Whether a text begins with a placeholder in angle brackets: `<TOKEN>`, `<NAME=VALUE>`.
fn stands_for_value(text: &str) -> bool {
    let word = text.strip_prefix('<').and_then(|rest| rest.split_once('>')).map(|(word, _)| word);
    word.is_some_and(|word| {
        !word.is_empty()
            && word.len() < 64
            && word.bytes().all(|byte| byte.is_ascii_uppercase() || matches!(byte, b'_' | b'-' | b'='))
    })
}

/// Whether a text ends with a place in a script and a space, as in errors before the name of a node: `etl/shop.sql:16:1: `.
pub(crate) fn ends_with_place(text: &str) -> bool {
    let before_number = |text: &str| {
        let rest = text.trim_end_matches(|c: char| c.is_ascii_digit());
        (rest.len() < text.len()).then(|| rest.strip_suffix(':').map(str::len)).flatten()
    };
    let Some(text) = text.strip_suffix(": ") else { return false };
    let Some(line) = before_number(text) else { return false };
    let Some(script) = before_number(&text[..line]) else { return false };
    let script = &text[..script];
    let command = script.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('_');
    script.ends_with(".sql") || script.ends_with("stdin") || command.ends_with("command")
}

fn is_quote(c: char) -> bool {
    matches!(c, '"' | '\'' | '`')
}

/// Removes the `@2` that physical plans of DataFusion append to the name of a column.
fn without_column_index(behind: &str) -> &str {
    let index = behind.strip_prefix('@').map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()));
    index.unwrap_or(behind)
}

/// The end of an unquoted value, without surrounding punctuation. In plan notation, `Utf8("a b")` is one value.
fn until_space(value: &str) -> usize {
    if value.starts_with(REDACTED) {
        return REDACTED.len();
    }
    let ends = |c: char| c.is_whitespace() || is_quote(c) || matches!(c, '&' | ';');
    let end = value.find(ends).unwrap_or(value.len());
    let quoted = &value[end..];
    if value[..end].ends_with('(')
        && let Some((opening, _)) = quote(quoted)
    {
        let closing = opening + closing_quote(&quoted[opening..], &quoted[..opening]) + opening;
        let end = (end + closing).min(value.len());
        return end + usize::from(value[end..].starts_with(')'));
    }
    value[..end].trim_end_matches([',', '.', ')', ']', '}', '>', '\\']).len()
}

/// The number of bytes within which the next pair of a connection string must begin.
const NEXT_PAIR_WITHIN: usize = 256;

/// The end of a value in a connection string, which may contain spaces: `Password=a b;Database=x`. `None` if no other pair follows
/// nearby: this is called for every key, and must not read to the end of the line each time.
fn until_next_pair(value: &str) -> usize {
    let value = &value[..value.floor_char_boundary(NEXT_PAIR_WITHIN)];
    let line = &value[..value.find(['\n', '"', '\'', '`', '(', ')', ',', '&']).unwrap_or(value.len())];
    let Some((password, behind)) = line.split_once(';') else { return 0 };
    let name = behind.split(['=', ';']).next().unwrap_or_default();
    let is_pair = behind.contains('=') && !name.trim().is_empty();
    let is_name = name.chars().all(|c| c.is_alphanumeric() || matches!(c, ' ' | '_' | '-'));
    if is_pair && is_name && !password.contains('=') { password.len() } else { 0 }
}
