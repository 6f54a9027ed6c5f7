//! Finding credentials by the key they stand under and by the shape they have.

use serde_json::Value;

/// What stands where a credential was.
pub const REDACTED: &str = "[redacted]";

const KEYS: [&str; 11] = [
    "accesskey",
    "apikey",
    "authorization",
    "connectionstring",
    "cookie",
    "credential",
    "passphrase",
    "passwd",
    "password",
    "secret",
    "token",
];

/// Replaces credentials in texts and JSON values by [`REDACTED`].
#[derive(Debug, Clone)]
pub struct Redactor {
    keys: Vec<String>,
}

impl Redactor {
    /// Knows the usual names of credentials, and `extra` ones. Case, dashes, underscores and dots do not matter, and
    /// a key that contains a name counts: `X-Api-Key` and `db_password_2` are both hidden.
    pub fn new<S: AsRef<str>>(extra: impl IntoIterator<Item = S>) -> Self {
        let extra = extra.into_iter().map(|key| normalized(key.as_ref())).filter(|key| !key.is_empty());
        Self { keys: KEYS.into_iter().map(str::to_owned).chain(extra).collect() }
    }

    /// Whether the value under `key` is hidden, whatever it is.
    pub fn hides_key(&self, key: &str) -> bool {
        let key = normalized(key);
        self.keys.iter().any(|hidden| key.contains(hidden.as_str()))
    }

    /// The text with every credential replaced that can be told by its shape: user and password in URLs, bearer and
    /// basic tokens, private keys, AWS access keys, and `key=value` pairs with a hidden key.
    pub fn text(&self, text: &str) -> String {
        if let Some(start) = text.find("-----BEGIN ")
            && text[start..].lines().next().is_some_and(|line| line.contains("PRIVATE KEY"))
        {
            return format!("{}{REDACTED}", self.text(&text[..start]));
        }
        let mut out = String::with_capacity(text.len());
        let mut after_scheme = false;
        for (word, separator) in words(text) {
            if after_scheme && !word.is_empty() {
                out.push_str(REDACTED);
                after_scheme = false;
            } else {
                self.word(word, &mut out);
                if !word.is_empty() {
                    after_scheme = word.eq_ignore_ascii_case("bearer") || word.eq_ignore_ascii_case("basic");
                }
            }
            out.push_str(separator);
        }
        out
    }

    /// The value with every credential in it replaced, however deep it is.
    pub fn value(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(&text)),
            Value::Array(items) => items.into_iter().map(|item| self.value(item)).collect(),
            Value::Object(entries) => entries
                .into_iter()
                .map(|(key, value)| {
                    let value = if self.hides_key(&key) { REDACTED.into() } else { self.value(value) };
                    (self.text(&key), value)
                })
                .collect(),
            other => other,
        }
    }

    fn word(&self, word: &str, out: &mut String) {
        if let Some((scheme, rest)) = word.split_once("://") {
            let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
            out.push_str(scheme);
            out.push_str("://");
            match authority.rsplit_once('@') {
                Some((_, host)) => {
                    out.push_str(REDACTED);
                    out.push('@');
                    out.push_str(host);
                }
                None => out.push_str(authority),
            }
            for (index, part) in path.split('&').enumerate() {
                if index > 0 {
                    out.push('&');
                }
                self.pair(part, out);
            }
        } else if is_aws_access_key(word) {
            out.push_str(REDACTED);
        } else {
            self.pair(word, out);
        }
    }

    fn pair(&self, pair: &str, out: &mut String) {
        match pair.split_once('=') {
            Some((key, value)) if !value.is_empty() && self.hides_key(key) => {
                out.push_str(key);
                out.push('=');
                out.push_str(REDACTED);
            }
            _ => out.push_str(pair),
        }
    }
}

impl Default for Redactor {
    fn default() -> Self {
        Self::new::<&str>([])
    }
}

fn normalized(key: &str) -> String {
    key.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Splits a text into words and the separator behind each; joined again they are the text.
fn words(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split_inclusive(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | ';' | '(' | ')')).map(
        |piece| {
            let end = piece
                .char_indices()
                .next_back()
                .filter(|(_, c)| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | ';' | '(' | ')'))
                .map_or(piece.len(), |(at, _)| at);
            piece.split_at(end)
        },
    )
}

fn is_aws_access_key(word: &str) -> bool {
    word.len() == 20
        && (word.starts_with("AKIA") || word.starts_with("ASIA"))
        && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(Redactor::default().text(text), expected);
    }

    #[test]
    fn credentials_in_texts_are_replaced() {
        check("postgres://me:pw@db:5432/x", "postgres://[redacted]@db:5432/x");
        check("see https://host/a?token=abc&b=1", "see https://host/a?token=[redacted]&b=1");
        check("Authorization: Bearer abc.def", "Authorization: Bearer [redacted]");
        check("key AKIAABCDEFGHIJKLMNOP end", "key [redacted] end");
        check("password=hunter2 user=me", "password=[redacted] user=me");
        check("a -----BEGIN RSA PRIVATE KEY-----\nabc", "a [redacted]");
    }

    #[test]
    fn ordinary_texts_stay_as_they_are() {
        check("SELECT 'a', \"b\"\n FROM t;", "SELECT 'a', \"b\"\n FROM t;");
        check("https://host/path?q=1", "https://host/path?q=1");
        check("", "");
    }

    #[test]
    fn keys_are_found_whatever_their_spelling_and_depth() {
        let value = json!({"a": {"X-Api-Key": "k", "n": [{"dbPassword": {"deep": 1}}]}, "rows": 3});
        assert_eq!(
            Redactor::default().value(value),
            json!({"a": {"X-Api-Key": REDACTED, "n": [{"dbPassword": REDACTED}]}, "rows": 3})
        );
    }

    #[test]
    fn configured_keys_are_hidden_too() {
        let redactor = Redactor::new(["patient-id"]);
        assert!(redactor.hides_key("PATIENT_ID"));
        assert!(!redactor.hides_key("patient_name"));
    }
}
