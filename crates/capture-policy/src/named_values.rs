//! Credentials in pairs of a name and a value that are in separate fields, in any notation:
//! `{'name': 'password', 'value': 'x'}`, `name=password value=x`, `Option { key: Some("password"), value: Some("x") }`,
//! `named_struct(Utf8("name"), Utf8("password"), Utf8("value"), Utf8("x"))`, `<name>password</name><value>x</value>`.
//!
//! Fields in the same pair of brackets belong together, or without brackets those that are close to each other. A repeated field
//! begins the next entry.

use std::ops::Range;

use crate::{
    closing_quote::closing_quote,
    credentials::{quote, word},
};

/// The last word of a field that contains a name.
const NAMES: [&str; 14] = [
    "attribute",
    "env",
    "field",
    "header",
    "key",
    "name",
    "option",
    "param",
    "parameter",
    "property",
    "setting",
    "tag",
    "var",
    "variable",
];
/// The last word of a field that contains the value.
const VALUES: [&str; 2] = ["val", "value"];

/// The maximum number of bytes between two fields of an entry without brackets.
const NEAR: usize = 512;
/// The maximum length in bytes of a name, including quotes.
const LONGEST_NAME: usize = 256;
/// At deeper nesting, brackets are treated as a single pair.
const DEEPEST: usize = 128;
/// For how many unclosed quotes the whole text is read, so that the work stays linear.
const MOST_UNCLOSED: usize = 32;
/// What may surround a value, such as `Some(` or `String(Owned(`: the maximum depth.
const MOST_WRAPPERS: usize = 4;

/// The content of a field of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    Name,
    Value,
}

/// The content of the field with this name: `option_name`, `ParameterKey` and `name` are alike.
pub(crate) fn field(name: &str) -> Option<Field> {
    let part = name.rsplit(['_', '-', '.', ' ', '@']).next().unwrap_or_default();
    let camel = part.char_indices().rev().find(|(at, c)| *at > 0 && c.is_ascii_uppercase());
    let is_camel = part.contains(|c: char| c.is_ascii_lowercase());
    let last = camel.filter(|_| is_camel).map_or(part, |(at, _)| &part[at..]);
    let is_in = |words: &[&str]| words.iter().any(|word| last.eq_ignore_ascii_case(word));
    if is_in(&NAMES) { Some(Field::Name) } else { is_in(&VALUES).then_some(Field::Value) }
}

/// A text without this, in any case, has no field for a value.
pub(crate) const SIGN: &str = "val";

/// The positions of the values whose names are hidden, in a text with the sign of one. `hides` returns whether a name is that of a
/// credential.
pub(crate) fn secrets(text: &str, hides: impl Fn(&str) -> bool) -> Vec<Range<usize>> {
    let mut reader =
        Reader { text, hides, frames: vec![Frame::default()], open: [0; 3], unclosed: 0, found: Vec::new() };
    reader.read();
    reader.found
}

/// The fields of an entry read so far.
#[derive(Debug, Default)]
struct Entry {
    has_name: bool,
    is_hidden: bool,
    value: Option<Range<usize>>,
    /// The end of its last field.
    end: usize,
}

/// An open scope: the text itself, or a pair of brackets.
#[derive(Debug, Default)]
struct Frame {
    closes: Option<u8>,
    /// Where it begins, if it is the value of a field.
    is_value_from: Option<usize>,
    entry: Entry,
}

struct Reader<'a, H> {
    text: &'a str,
    hides: H,
    frames: Vec<Frame>,
    /// The number of open brackets of each kind.
    open: [usize; 3],
    unclosed: usize,
    found: Vec<Range<usize>>,
}

/// A value that was read.
struct Read {
    range: Range<usize>,
    /// Where reading continues.
    end: usize,
}

fn kind(closing: u8) -> usize {
    match closing {
        b'}' => 0,
        b']' => 1,
        _ => 2,
    }
}

impl<H: Fn(&str) -> bool> Reader<'_, H> {
    fn read(&mut self) {
        let bytes = self.text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            match bytes[at] {
                b'{' => self.opens(b'}', None),
                b'[' => self.opens(b']', None),
                b'(' => self.opens(b')', None),
                closing @ (b'}' | b']' | b')') => self.closes(closing, at + 1),
                byte if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') => {
                    let word = word(&self.text[at..]);
                    at = match field(word) {
                        Some(field) => self.field(field, at, word),
                        None => at + word.len(),
                    };
                    continue;
                }
                byte if byte.is_ascii() => {}
                _ => {
                    // A word of letters that are not ASCII, or one such character.
                    let rest = &self.text[at..];
                    at += word(rest).len().max(rest.chars().next().map_or(1, char::len_utf8));
                    continue;
                }
            }
            at += 1;
        }
        while self.frames.len() > 1 {
            self.pop(bytes.len());
        }
        self.end_entry();
    }

    fn top(&mut self) -> &mut Frame {
        if self.frames.is_empty() {
            self.frames.push(Frame::default());
        }
        let last = self.frames.len() - 1;
        &mut self.frames[last]
    }

    fn opens(&mut self, closes: u8, is_value_from: Option<usize>) {
        if self.frames.len() < DEEPEST {
            self.open[kind(closes)] += 1;
            self.frames.push(Frame { closes: Some(closes), is_value_from, entry: Entry::default() });
        }
    }

    fn closes(&mut self, closing: u8, end: usize) {
        // Brackets in a text need not be balanced.
        while self.open[kind(closing)] > 0 && self.frames.len() > 1 {
            if self.pop(end) == Some(closing) {
                break;
            }
        }
    }

    /// Closes the innermost brackets. A single item in them belongs to the enclosing scope: `(name = 'a') AND (value = 'x')`.
    fn pop(&mut self, end: usize) -> Option<u8> {
        let is_half = |entry: &Entry| entry.has_name != entry.value.is_some();
        let alone = is_half(&self.top().entry);
        let entry = if alone { std::mem::take(&mut self.top().entry) } else { Entry::default() };
        self.end_entry();
        let frame = self.frames.pop()?;
        let closes = frame.closes?;
        self.open[kind(closes)] -= 1;
        if let Some(start) = frame.is_value_from {
            self.add(Field::Value, false, start..end);
        } else if alone && closes == b')' {
            match entry.value {
                Some(value) => self.add(Field::Value, false, value),
                None => self.add(Field::Name, entry.is_hidden, entry.end..entry.end),
            }
        }
        Some(closes)
    }

    fn end_entry(&mut self) {
        let entry = std::mem::take(&mut self.top().entry);
        if let Some(value) = entry.value.filter(|value| entry.is_hidden && !value.is_empty()) {
            self.found.push(value);
        }
    }

    fn add(&mut self, field: Field, is_hidden: bool, range: Range<usize>) {
        let entry = &self.top().entry;
        let is_repeated = match field {
            Field::Name => entry.has_name,
            Field::Value => entry.value.is_some(),
        };
        if is_repeated {
            self.end_entry();
        }
        let entry = &mut self.top().entry;
        entry.end = range.end;
        match field {
            Field::Name => {
                entry.has_name = true;
                entry.is_hidden = is_hidden;
            }
            Field::Value => entry.value = Some(range),
        }
    }

    /// Reads the field whose name is `word`, at `start`. Returns where reading continues.
    fn field(&mut self, field: Field, start: usize, word: &str) -> usize {
        let behind_name = start + word.len();
        let is_open = self.top().closes.is_some();
        let end = self.top().entry.end;
        if !is_open && (end + NEAR < start || self.text[end..start].contains("\n\n")) {
            self.end_entry();
        }
        let Some(sign) = Sign::behind(self.text, start, behind_name) else { return behind_name };
        if sign.is_wrapped {
            self.closes(b')', start);
        }
        let bytes = self.text.as_bytes();
        if let Some(bracket @ (b'{' | b'[')) = bytes.get(sign.value).copied() {
            if field == Field::Value {
                self.opens(if bracket == b'{' { b'}' } else { b']' }, Some(sign.value));
                return sign.value + 1;
            }
            return sign.value;
        }
        let Some(read) = self.value(field, &sign) else { return behind_name };
        let value = &self.text[read.range.clone()];
        let is_hidden = field == Field::Name && (self.hides)(value);
        self.add(field, is_hidden, read.range);
        read.end
    }

    fn value(&mut self, field: Field, sign: &Sign<'_>) -> Option<Read> {
        let mut at = sign.value;
        let mut wrappers = 0;
        while wrappers < MOST_WRAPPERS
            && let Some(length) = wrapper(&self.text[at..])
        {
            at += length;
            wrappers += 1;
        }
        let rest = &self.text[at..];
        let prefix =
            rest.bytes().take(2).take_while(|byte| byte.is_ascii_alphabetic() || *byte == b'&').count();
        if let Some((length, _)) = quote(&rest[prefix..])
            && let Some(mut read) = self.quoted(field, at + prefix, length, sign.quote)
        {
            let closing = self.text[read.end..].bytes().take(wrappers).take_while(|byte| *byte == b')');
            read.end += closing.count();
            return Some(read);
        }
        if sign.is_comma {
            return None;
        }
        let rest = match field {
            Field::Name => &rest[..rest.floor_char_boundary(LONGEST_NAME)],
            Field::Value => rest,
        };
        let length = bare(rest, sign, self.top().closes);
        (length > 0).then(|| Read { range: at..at + length, end: at + length })
    }

    /// The content of the quotes that open at `open` with this length; `outer` are those around the name of the field.
    fn quoted(&mut self, field: Field, open: usize, length: usize, outer: &str) -> Option<Read> {
        let rest = &self.text[open..];
        let opening = if outer.len() > 1 && rest.starts_with(outer) { outer } else { &rest[..length] };
        let inside = &rest[opening.len()..];
        let looked_at = match field {
            Field::Name => &inside[..inside.floor_char_boundary(LONGEST_NAME)],
            Field::Value if self.unclosed >= MOST_UNCLOSED => return None,
            Field::Value => inside,
        };
        let is_doubled = opening.len() == 2 && !opening.starts_with('\\');
        let end = match is_doubled {
            true => looked_at.find(opening).unwrap_or(looked_at.len()),
            false => closing_quote(looked_at, opening),
        };
        if !looked_at[end..].starts_with(opening) {
            self.unclosed += usize::from(field == Field::Value);
            return None;
        }
        let start = open + opening.len();
        Some(Read { range: start..start + end, end: start + end + opening.len() })
    }
}

/// The text between the name of a field and its value.
struct Sign<'a> {
    /// The quotes around the name of the field; empty if there are none.
    quote: &'a str,
    is_comma: bool,
    is_equals: bool,
    is_element: bool,
    /// Whether the name is in its own brackets, which end here.
    is_wrapped: bool,
    /// The start of the value.
    value: usize,
}

impl<'a> Sign<'a> {
    fn behind(text: &'a str, start: usize, end: usize) -> Option<Self> {
        let rest = &text[end..];
        let marks = quote(rest).map_or(0, |(length, mark)| {
            // Within a literal, quotes are doubled.
            let is_doubled = rest[length..].starts_with(mark) && text[..start].ends_with(&rest[..=length]);
            length + usize::from(is_doubled)
        });
        // Without a matching opening quote, they end an enclosing text.
        let marks = if text[..start].ends_with(&rest[..marks]) { marks } else { 0 };
        let quote = &rest[..marks];
        let mut behind = &rest[marks..];
        // The end of `Utf8("name")`.
        let wrapped = behind.strip_prefix(')').filter(|_| marks > 0 && text[..start - marks].ends_with('('));
        behind = wrapped.unwrap_or(behind);
        if let Some(index) = behind.strip_prefix('@') {
            behind = index.trim_start_matches(|c: char| c.is_ascii_digit());
        }
        let is_element = text[..start].ends_with('<') && behind.starts_with('>');
        let trimmed = behind.trim_start_matches([' ', '\t']);
        let blank = trimmed.len() < behind.len();
        let signs = [":=", "=>", "==", "=", ":", ","];
        let sign = match signs.into_iter().find(|sign| trimmed.starts_with(sign)) {
            _ if is_element => ">",
            Some(":") if trimmed.starts_with("::") => return None,
            Some(",") if marks == 0 => return None,
            Some(sign) => sign,
            None if !blank => return None,
            // `key: "a" value { string_value: "x" }`, `'name' 'password'`, `--name password`.
            None if trimmed.starts_with('{') => "",
            None if marks > 0 && crate::credentials::quote(trimmed).is_some() => "",
            None if text[start..].starts_with("--") => "",
            None => return None,
        };
        let value = if is_element { &behind[1..] } else { &trimmed[sign.len()..] };
        let value = match sign {
            "," => value.trim_start(),
            _ => value.trim_start_matches([' ', '\t']),
        };
        Some(Self {
            quote,
            is_comma: sign == ",",
            is_equals: sign == "=" || sign == "==" || text[start..].starts_with("--"),
            is_element,
            is_wrapped: wrapped.is_some(),
            value: text.len() - value.len(),
        })
    }
}

/// The length of what opens around a value: `Some(`, `Utf8(`.
fn wrapper(text: &str) -> Option<usize> {
    let looked_at = &text.as_bytes()[..text.len().min(32)];
    let name = looked_at.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
    let opens = name > 0 && looked_at[0].is_ascii_alphabetic() && looked_at.get(name) == Some(&b'(');
    let behind = text.get(name + 1..)?;
    let behind = &behind[..behind.floor_char_boundary(64)];
    let inner =
        behind.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '(' | '&' | '\\'));
    (opens && inner.starts_with(['"', '\'', '`'])).then_some(name + 1)
}

/// The length of an unquoted value. `closes` is the bracket that ends the enclosing scope.
fn bare(text: &str, sign: &Sign<'_>, closes: Option<u8>) -> usize {
    let bytes = text.as_bytes();
    let until_blank = sign.is_equals && closes.is_none();
    let end = bytes.iter().enumerate().position(|(at, byte)| match byte {
        b'\n' => true,
        b'<' => sign.is_element,
        _ if sign.is_element => false,
        b',' => begins_field(&text[at + 1..]),
        byte if Some(*byte) == closes => true,
        b' ' | b'\t' | b'\r' | b'&' | b';' | b'"' | b'\'' | b'`' => until_blank,
        _ => false,
    });
    text[..end.unwrap_or(text.len())].trim_end().trim_end_matches([',', '/', '>']).len()
}

/// Whether a text begins with the name of a field and its separator.
fn begins_field(text: &str) -> bool {
    let text = &text[..text.floor_char_boundary(64)];
    let text = text.trim_start().trim_start_matches(['"', '\'', '`', '\\']);
    let name = word(text);
    let behind = text[name.len()..].trim_start_matches(['"', '\'', '`', '\\']).trim_start();
    !name.is_empty() && behind.starts_with([':', '='])
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::redact::Redactor;

    fn hides(name: &str) -> bool {
        let name = name.to_lowercase();
        name.contains("password") || name.contains("api_key")
    }

    /// Every word with `zq` is a credential, and nothing else is.
    #[track_caller]
    fn check(text: &str) {
        let found = secrets(text, hides);
        let mut left = text.to_owned();
        for range in found.iter().rev() {
            assert!(text[range.clone()].contains("zq"), "{:?} in {text}", &text[range.clone()]);
            left.replace_range(range.clone(), "");
        }
        assert!(!left.contains("zq"), "{left} of {text}");
    }

    #[test]
    fn pairs_in_every_notation() {
        for text in [
            "{'name': 'password', 'value': 'zq it'}",
            "{\"name\": \"db_password\", \"value\": \"zq\", \"type\": \"a\"}",
            "{\"value\":\"zq\",\"name\":\"password\"}",
            "{\"name\": \"password\", \"type\": \"a\", \"value\": \"zq\"}",
            "{name: password, value: zq one}",
            "{name: password, value: zq, one, n: 1}",
            "{name=password, value=zq one}",
            "[{name: a, value: b}, {name: password, value: zq}, {name: c, value: d}]",
            "name=password value=zq",
            "name=a value=b name=password value=zq name=c value=d",
            "name = 'password' AND value = 'zq'",
            "UPDATE s SET value = 'zq' WHERE name = 'password'",
            "(name = 'password') AND (value = 'zq')",
            "name@0 = password AND value@1 = zq",
            "Name=password,Value=zq",
            "ParameterKey=password,ParameterValue=zq",
            "Setting { name: \"password\", value: \"zq\" }",
            "Setting { key: Some(\"password\"), value: Some(\"zq\") }",
            "KeyValue { key: Key(Static(\"password\")), value: String(Owned(\"zq\")) }",
            "Setting {\n    name: \"password\",\n    value: \"zq\",\n}",
            "named_struct(Utf8(\"name\"), Utf8(\"password\"), Utf8(\"value\"), Utf8(\"zq\"))",
            "named_struct('name', 'password', 'value', 'zq')",
            "SELECT '{''name'': ''password'', ''value'': ''zq''}' AS c",
            r#""{\"key\": \"password\", \"value\": \"zq\"}""#,
            r#""{\\\"key\\\": \\\"password\\\", \\\"value\\\": \\\"zq\\\"}""#,
            r#"{"key":"password","value":{"stringValue":"zq"}}"#,
            r#"attributes { key: "password" value { string_value: "zq" } }"#,
            "- name: DB_PASSWORD\n  value: zq one\n- name: b\n  value: c",
            "<property>\n<name>password</name>\n<value>zq, 'a</value>\n</property>",
            "<add key=\"password\" value=\"zq\"/><add key=\"a\" value=\"b\"/>",
            "set --name password --value zq --rows 3",
            "?name=password&value=zq&rows=3",
            "option: password, value: zq",
            "`name`: `password`, `value`: `zq`",
            "{name: größe, value: a}, {name: password, value: zqß}",
            "{\"note\": \"a ( b\", \"name\": \"password\", \"value\": \"zq\"}",
            "{'name': 'password', 'value': b'zq'}",
            "name: 'password', value: 'zq",
        ] {
            check(text);
            let redactor = Redactor::default();
            let once = redactor.text(text);
            assert!(!once.contains("zq"), "{once} of {text}");
            assert_eq!(redactor.text(&once), once, "redacted a second time");
        }
    }

    #[test]
    fn other_pairs_stay() {
        for text in [
            "{name: colour, value: red}, {name: password}, {value: red}",
            "name: password\n\nvalue: red",
            "name::password value::red",
            "the name password has no value",
            "[{\"name\": \"password\"}, {\"name\": \"a\", \"value\": \"b\"}]",
            "username=password values=3",
            "",
        ] {
            assert_eq!(secrets(text, hides), Vec::<Range<usize>>::new(), "{text}");
        }
        let far = format!("name=password {} value=red", "a ".repeat(NEAR));
        assert!(secrets(&far, hides).is_empty());
    }

    #[test]
    fn fields_have_many_names() {
        for (name, expected) in [
            ("name", Some(Field::Name)),
            ("option_name", Some(Field::Name)),
            ("ParameterKey", Some(Field::Name)),
            ("KEY", Some(Field::Name)),
            ("headerValue", Some(Field::Value)),
            ("username", None),
            ("values", None),
            ("", None),
        ] {
            assert_eq!(field(name), expected, "{name}");
        }
    }

    /// Prints how the time grows with the length of hostile texts; the test itself checks only that reading them terminates.
    #[test]
    fn hostile_texts_are_read_to_their_end() {
        for part in [
            "value: '",
            "value: \"\\",
            "value: {",
            "name: {value: [",
            "name('",
            "value=Some(Some(Some(Some(Some(",
            "value,",
            "<value>",
            "{(}",
            "name: 'password', ",
            "value=a,",
            "ä",
        ] {
            let text = part.repeat(2_000_000 / part.len());
            let start = Instant::now();
            let found = secrets(&text, hides).len();
            println!("{part}: {found} in {:?}", start.elapsed());
        }
        let backslashes: String =
            (0..1_500).map(|count| format!("value: {}\"", "\\".repeat(count))).collect();
        assert!(secrets(&backslashes, hides).is_empty());
    }
}
