//! Tokens in the messages of parsers: `Error unknown token: Foo`, `TokenWithSpan { token: EOF, .. }`. They are words of a text that
//! could not be parsed, and not credentials.

use std::borrow::Cow;

/// The text of Arrow's type parser before the word that it does not know.
const UNKNOWN_TYPE: &str = "Must be a supported arrow type name such as ";

/// Whether the `token` between `in_front` and `after` comes from a parser.
pub(crate) fn is_of_parser(key: &str, in_front: &str, after: &str) -> bool {
    if key.ends_with("_token") {
        // A field of a syntax tree: `opening_token: TokenWithSpan { token: LParen, .. }`.
        let value = after.strip_prefix(": ").unwrap_or_default();
        return ["TokenWithSpan {", "TokenWithLocation {"].iter().any(|token| value.starts_with(token));
    }
    if !["token", "next_token", "tokens"].contains(&key) {
        return false;
    }
    let line = in_front.rsplit('\n').next().unwrap_or_default();
    let line = &line[line.ceil_char_boundary(line.len().saturating_sub(512))..];
    line.ends_with(" unknown ") && line.contains(UNKNOWN_TYPE)
        || ["TokenWithSpan { ", "TokenWithLocation { "].iter().any(|parser| line.ends_with(parser))
        // `{:#?}` has each field on a separate line.
        || ends_with_open_struct(in_front)
}

fn ends_with_open_struct(in_front: &str) -> bool {
    let outside = in_front.trim_end_matches([' ', '\t']).strip_suffix('\n').unwrap_or_default();
    ["TokenWithSpan {", "TokenWithLocation {"].iter().any(|parser| outside.ends_with(parser))
}

/// Whether the literal at `start` of a message is one of the examples in the message about a type, or the word in question.
pub(crate) fn is_example(message: &str, start: usize) -> bool {
    let before = &message[..start];
    let before = &before[before.ceil_char_boundary(before.len().saturating_sub(512))..];
    let Some((_, behind)) = before.rsplit_once(UNKNOWN_TYPE) else { return false };
    behind.len() < 64 && !behind.contains("Error")
}

/// A message with its URLs made illegible, byte by byte: the parts of a URL's path must not count as words of the message, as in
/// `PUT http://169.254.169.254/latest/api/token in 3.1s`. Secrets in URLs are found separately.
pub(crate) fn without_urls(message: &str) -> Cow<'_, str> {
    if !message.contains("://") {
        return message.into();
    }
    let mut out = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(sign) = rest.find("://") {
        let scheme = rest[..sign]
            .trim_end_matches(|c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '.' | '-'));
        let is_end = |c: char| {
            c.is_whitespace() || matches!(c, '\'' | '"' | '`' | '<' | '>' | '(' | ')' | ',' | ';' | '\\')
        };
        let end = rest[sign..].find(is_end).map_or(rest.len(), |length| sign + length);
        out.push_str(scheme);
        out.extend(std::iter::repeat_n('x', end - scheme.len()));
        rest = &rest[end..];
    }
    out.push_str(rest);
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::Redactor;

    #[test]
    fn what_parsers_and_clients_say_is_shown() {
        let redactor = Redactor::default();
        for message in [
            "Parser error: Unsupported type 'Foo'. Must be a supported arrow type name such as 'Int32' or 'Timestamp(ns)'. Error unknown token: Foo",
            "found TokenWithSpan { token: Word(Word { value: \"Foo\", quote_style: None, keyword: NoKeyword }), span: Span(Location(1,8)..Location(1,9)) }",
            "TokenWithSpan { token: EOF, span: Span(..) }",
            "TokenWithSpan {\n    token: EOF,\n}",
            "Parens { opening_token: TokenWithSpan { token: LParen, span: Span(..) }, content: [], closing_token: TokenWithSpan { token: RParen } }",
            "Parens {\n    opening_token: TokenWithSpan {\n        token: LParen,\n    },\n}",
            "Error performing PUT http://169.254.169.254/latest/api/token in 3.106791s, after 10 retries",
            "GET http://metadata/computeMetadata/v1/instance/service-accounts/default/token?audience in 12.5s - Client error",
            "PUT http://127.0.0.1:41231/api/v1/secret/x in 1.25s, status 403",
        ] {
            assert_eq!(redactor.error_text(message), message);
            assert_eq!(redactor.text(message), message);
        }
    }

    #[test]
    fn credentials_beside_them_are_hidden() {
        let redactor = Redactor::default();
        for message in [
            "Error unknown token: hunter2",
            "unknown token: hunter2",
            "Request { token: hunter2 }",
            "TokenWithSpan { secret: hunter2 }",
            "Request { access_token: hunter2 }",
            "opening_token: TokenWithSpan { token: LParen }, password: hunter2",
            "at http://h/token, password = 'hunter2'",
            "token = 'hunter2' at http://h/x",
            "token 'hunter2' at http://h/x",
            "PUT http://u:hunter2@h/token in 1.25s",
            "PUT http://h/x?token=hunter2 in 1.25s",
            "GET 'http://h/x?a=b' with token IN ('hunter2')",
        ] {
            let shown = redactor.error_text(message);
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn as_many_bytes_are_left() {
        let check = |text: &str, expected: &str| {
            assert_eq!(without_urls(text), expected);
            assert_eq!(without_urls(text).len(), text.len());
        };
        check("a s3://b/ö? c", "a xxxxxxxxxx c");
        check("ö'http://h'://", "ö'xxxxxxxx'xxx");
    }
}
