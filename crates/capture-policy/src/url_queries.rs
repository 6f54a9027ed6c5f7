//! The values in the queries of URLs: `https://host/path?name=value&...`.

use std::ops::Range;

use crate::secret::REDACTED;

/// Names of values that grant access, in addition to those of options: OAuth 2.0 and OpenID Connect, SAML, Azure Functions.
const SECRET_NAMES: [&str; 8] = [
    "assertion",
    "code",
    "codeverifier",
    "devicecode",
    "relaystate",
    "samlrequest",
    "samlresponse",
    "usercode",
];
/// The beginning of the parameter names of signed requests at AWS and Google. All of their values are removed together.
const SIGNED: [&str; 2] = ["xamz", "xgoog"];

/// Schemes whose query has no other meaning, such as a file pattern.
const WEB_SCHEMES: [&str; 6] = ["http", "https", "ws", "wss", "ftp", "ftps"];

/// Which values are secret.
pub(crate) struct UrlQueries<'h> {
    /// Whether a name is that of a secret.
    pub(crate) hides: &'h dyn Fn(&str) -> bool,
    /// If set, every value is secret, except those of URLs that begin with one of these.
    pub(crate) all_but: Option<&'h [String]>,
}

impl UrlQueries<'_> {
    /// The positions of the secret values.
    pub(crate) fn secrets(&self, text: &str) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        // After the part that was already read, so that a text consisting only of such markers is read once.
        let mut read = 0;
        let has_urls = text.contains("://");
        for (at, _) in text.match_indices(['?', '#']) {
            // No query begins after whitespace or a quote: `WHERE a ? 'b'`, `#id`.
            let is_behind_url = text[..at].chars().next_back().is_some_and(|c| !ends(c));
            if at < read || !is_behind_url {
                continue;
            }
            let query = &text[at + 1..];
            let end = at + 1 + query.find(ends).unwrap_or(query.len());
            let url = Url::of_query(text, at).filter(|_| has_urls);
            // A fragment contains values only as part of a URL: `Error #a=b`.
            if text.as_bytes()[at] == b'?' || url.is_some() {
                self.read(text, at + 1..end, url.as_ref(), &mut found);
                read = end;
            }
        }
        found
    }

    fn read(&self, text: &str, query: Range<usize>, url: Option<&Url<'_>>, found: &mut Vec<Range<usize>>) {
        let is_whole = self.all_but.is_some_and(|shown| {
            url.is_none_or(|url| !shown.iter().any(|prefix| url.text.starts_with(prefix.as_str())))
        });
        let mut at = query.start;
        for part in text[query.clone()].split_inclusive(['&', ';', '#', '?']) {
            let start = at;
            at += part.len();
            let part = part.trim_end_matches(['&', ';', '#', '?']);
            // Closing punctuation after a URL in a text is not part of it.
            let part =
                if at >= query.end { part.trim_end_matches([')', ']', '}', '.', ',', ':']) } else { part };
            let (name, value) = match part.split_once('=') {
                Some((name, value)) => (name, start + name.len() + 1..start + name.len() + 1 + value.len()),
                // A value without a name, as in a pre-signed link.
                None if is_whole && url.is_some_and(Url::is_web) => ("", start..start + part.len()),
                None => continue,
            };
            let is_secret = is_whole || self.is_secret(name);
            if is_secret && !value.is_empty() && !text[value.start..].starts_with(REDACTED) {
                found.push(value);
            }
        }
    }

    fn is_secret(&self, name: &str) -> bool {
        // An `&` in HTML and JSON.
        let name = name.strip_prefix("amp;").unwrap_or(name);
        let name = unescaped(name);
        let plain: String =
            name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
        SECRET_NAMES.contains(&&*plain)
            || SIGNED.iter().any(|signed| plain.starts_with(signed))
            || (self.hides)(&name)
    }
}

/// Whether a character ends a URL in a text.
fn ends(c: char) -> bool {
    c.is_whitespace() || c.is_control() || matches!(c, '"' | '\'' | '`' | '<' | '>' | '|')
}

/// A URL with a scheme, and what follows it.
struct Url<'t> {
    scheme: &'t str,
    text: &'t str,
}

impl<'t> Url<'t> {
    /// How far back the start of a URL is searched for.
    const LONGEST: usize = 1_024;

    /// The URL whose query begins at `query`.
    fn of_query(text: &'t str, query: usize) -> Option<Self> {
        let from = text.ceil_char_boundary(query.saturating_sub(Self::LONGEST));
        let near = &text[from..query];
        let start = from + near.rfind(ends).map_or(0, |at| next_character(near, at));
        let near = &text[start..query];
        let sign = near.find("://")?;
        let is_outside = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
        let scheme = near[..sign].rfind(is_outside).map_or(0, |at| next_character(near, at));
        Some(Self { scheme: &near[scheme..sign], text: &text[start + scheme..] })
    }

    fn is_web(&self) -> bool {
        WEB_SCHEMES.iter().any(|known| self.scheme.eq_ignore_ascii_case(known))
    }
}

/// The start of the character after the one at `at`.
fn next_character(text: &str, at: usize) -> usize {
    at + text[at..].chars().next().map_or(0, char::len_utf8)
}

/// A name with percent escapes such as `%41` decoded.
fn unescaped(name: &str) -> String {
    if !name.contains('%') {
        return name.to_owned();
    }
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let [first, left @ ..] = rest {
        let digits = left.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.filter(|_| *first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &left[2..];
            }
            None => {
                bytes.push(*first);
                rest = left;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use crate::{CaptureSettings, Policy, Profile, redact::tests::check};

    fn policy(profile: Profile) -> Policy {
        Policy::new(profile.name(), CaptureSettings::of_profile(profile), [])
    }

    /// URLs in various forms, with `MARKER` as the secret.
    const SECRETS: &[&str] = &[
        "https://h/x.csv?sig=MARKER",
        "https://h/x?sv=2024-11-04&se=2026-01-01T00%3A00%3A00Z&sp=r&sig=MARKER%2Fa%3D",
        "https://h/x?key=MARKER&a=1",
        "https://h/f?code=MARKER==",
        "https://h/cb?state=1&code=MARKER",
        "GET /cb?code=MARKER HTTP/1.1",
        "/app#/cb?code=MARKER",
        "(see https://h/x?auth=MARKER)",
        "https://h/x?access_token=MARKER",
        "https://h/cb#access_token=MARKER&token_type=bearer",
        "https://h/x?X-Amz-Algorithm=A&X-Amz-Credential=MARKER%2F2026&X-Amz-Signature=MARKER",
        "https://h/x?x-amz-security-token=MARKER",
        "https://h/x?X-Goog-Signature=MARKER&X-Goog-Credential=MARKER",
        "https://h/x?Signature=MARKER&Key-Pair-Id=MARKER",
        "https://h/x?a=1&amp;sig=MARKER",
        "https://h/x?a=1;sig=MARKER",
        "https://h/x?%73ig=MARKER",
        "https://h/x?SIG=MARKER",
        "https://h/x?a=1?sig=MARKER",
        "HTTP error: request to https://h/x?sig=MARKER failed, retried https://h/y?key=MARKER",
        "{\"url\": \"https://h/x?sig=MARKER\"}",
        "SELECT * FROM 'https://h/x.csv?sig=MARKER'",
        "https://h/x?jwt=MARKER, https://h/x?session=MARKER; https://h/x?pwd=MARKER",
        "abfss://c@a.dfs.core.windows.net/x?sig=MARKER",
        "https://h/größe?sig=MARKER日",
    ];

    #[test]
    fn secrets_in_queries_are_hidden_in_every_text_under_every_profile() {
        for profile in [Profile::Dev, Profile::Ci, Profile::Prod] {
            let policy = policy(profile);
            let redactor = policy.redactor();
            for text in SECRETS {
                let shown = [
                    redactor.text(text),
                    redactor.error_text(text),
                    redactor.sql_text(text),
                    redactor.plan_text(text),
                    redactor.name_text(text),
                    redactor.comment_text(text),
                    redactor.source_line(text),
                    redactor.console_text(text),
                    redactor.console_error(text),
                    policy.capture(*text).to_text(),
                ];
                for (kind, shown) in shown.iter().enumerate() {
                    assert!(!shown.contains("MARKER"), "{profile:?}, kind {kind}: {text:?} is {shown:?}");
                }
            }
        }
    }

    #[test]
    fn without_literals_every_value_of_a_query_is_hidden() {
        let policy = policy(Profile::Prod);
        let redactor = policy.redactor();
        for text in [
            "https://h/x?customer=MARKER&b=MARKER",
            "https://h/x?MARKER",
            "see /a?q=MARKER",
            "https://h/x#a=MARKER",
        ] {
            for shown in [redactor.text(text), redactor.error_text(text), redactor.name_text(text)] {
                assert!(!shown.contains("MARKER"), "{text:?} is {shown:?}");
            }
        }
        let of = |text: &str| redactor.text(text);
        assert_eq!(of("https://h/x?a=1&b=2"), "https://h/x?a=[redacted]&b=[redacted]");
        assert_eq!(of(&of("https://h/x?a=1&b=2")), "https://h/x?a=[redacted]&b=[redacted]");
        // Patterns of files.
        assert_eq!(of("s3://b/part-?.parquet"), "s3://b/part-?.parquet");
        redactor.show_queries_of("https://jaeger/search?traceID=");
        assert_eq!(of("https://jaeger/search?traceID=4f2a"), "https://jaeger/search?traceID=4f2a");
        assert_eq!(
            of("https://jaeger/search?traceID=4f2a&key=x"),
            "https://jaeger/search?traceID=4f2a&key=[redacted]"
        );
        assert_eq!(of("https://other/search?traceID=4f2a"), "https://other/search?traceID=[redacted]");
    }

    #[test]
    fn what_is_not_a_secret_stays() {
        for text in [
            "https://host/path?q=1&page=2#top",
            "https://h/x?country_code=CH&encode=1&zipcode=8000",
            "WHERE a ? 'key' AND b ?| c",
            "is it a key? = no",
            "issue #12: key",
            "SELECT a FROM t WHERE b = ?",
        ] {
            check(text, text);
        }
        check("https://h/x?sig=a&b=1", "https://h/x?sig=[redacted]&b=1");
        check("(https://h/x?sig=a).", "(https://h/x?sig=[redacted]).");
    }

    #[test]
    fn a_text_of_nothing_but_signs_is_read_once() {
        for text in ["a?".repeat(9_000), "a?b=".repeat(9_000), "x://a?".repeat(9_000), "a# ".repeat(9_000)] {
            check(&text, &text);
        }
    }
}
