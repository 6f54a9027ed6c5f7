//! Credentials that are recognised by the words around them, without a key directly before them.

use std::{ops::Range, sync::OnceLock};

use regex::{Captures, Regex};

use crate::{
    clues::{Clue, Clues},
    named_values,
    phrase_table::PHRASES,
};

/// Each is compiled for the first text that may match: most programs never need one, and compiling takes milliseconds.
static PATTERNS: [OnceLock<Option<Regex>>; PHRASES.len()] = [const { OnceLock::new() }; PHRASES.len()];

/// The positions of such credentials in a text, and of those next to their name. `clues` are those of the text, and `hides` returns
/// whether a name is that of a credential.
pub(crate) fn secrets(text: &str, clues: Clues, hides: impl Fn(&str) -> bool) -> Vec<Range<usize>> {
    let found = |captures: Captures<'_>| {
        let secret = captures.name("secret").or_else(|| {
            let word = captures.name("word")?;
            is_no_language(word.as_str()).then_some(word)
        })?;
        Some(secret.range())
    };
    let mut ranges = match clues.has(Clue::NamedValue) {
        true => named_values::secrets(text, hides),
        false => Vec::new(),
    };
    for (place, (pattern, phrase)) in PATTERNS.iter().zip(&PHRASES).enumerate() {
        if clues.has(Clue::Phrase(place))
            && let Some(pattern) = pattern.get_or_init(|| Regex::new(phrase.pattern).ok())
        {
            ranges.extend(pattern.captures_iter(text).filter_map(found));
        }
    }
    ranges
}

/// Whether a word after `password is` is the password: it has letters and digits, and is not a description of how passwords are
/// stored.
fn is_no_language(word: &str) -> bool {
    let lower = word.to_ascii_lowercase();
    let has = |kind: fn(char) -> bool| lower.chars().any(kind);
    has(char::is_alphabetic)
        && has(|c| c.is_ascii_digit())
        && !["base64", "md5", "sha", "utf", "varchar"].iter().any(|form| lower.starts_with(form))
}

#[cfg(test)]
mod tests {
    use crate::redact::Redactor;

    #[test]
    fn credentials_are_known_by_the_words_around_them() {
        let redactor = Redactor::default();
        for text in [
            "CREATE USER x IDENTIFIED BY 'Zq01 vX7k'",
            "alter user x identified with mysql_native_password by \"Zq01vX7k\"",
            "SELECT 'CREATE USER x IDENTIFIED BY ''Zq01vX7k''' AS c",
            "{'name': 'password', 'value': 'Zq01vX7k'}",
            "SELECT '{''name'': ''api_key'', ''value'': ''Zq01vX7k''}' AS c",
            "\"{\\\"key\\\": \\\"client_secret\\\", \\\"value\\\": \\\"Zq01vX7k\\\"}\"",
            "sqlplus scott/Zq01vX7k@//db:1521/x",
            "SELECT 'user/Zq01vX7k@//db:1521/x' AS c",
            "jdbc:oracle:thin:u/Zq01vX7k@h:1:x",
            "my password is Zq01vX7k",
            "plink -pw Zq01vX7k host",
            "docker login -u a -p Zq01vX7k",
            "openssl enc -aes-256-cbc -k Zq01vX7k -in x",
            "openssl enc -K Zq01vX7k",
            "hmac_key=Zq01vX7k",
            "md5salt=Zq01vX7k",
            "userpass=u:Zq01vX7k",
            "SELECT 'Zq01vX7k' AS signature",
            "SELECT a FROM t WHERE signature IN ('Zq01vX7k')",
            "INSERT INTO t (a, signature) VALUES ('b', 'Zq01vX7k')",
            "SELECT named_struct('signature', 'Zq01vX7k') AS s",
        ] {
            let shown = redactor.sql_text(text);
            assert!(!shown.contains("vX7k") && shown.contains("[redacted]"), "{shown}");
            assert_eq!(redactor.sql_text(&shown), shown);
        }
    }

    #[test]
    fn every_pattern_can_be_compiled() {
        for phrase in &super::PHRASES {
            assert!(super::Regex::new(phrase.pattern).is_ok(), "{}", phrase.pattern);
        }
    }

    #[test]
    fn prose_and_counts_stay() {
        let redactor = Redactor::default();
        for text in [
            "rows identified by id 12",
            "the password is stored hashed",
            "password is sha256-hashed",
            "SELECT password varchar2x, a/b FROM t",
            "https://host/a/b@c",
            "{'name': 'colour', 'value': 'red1234'}",
            "docker run -p 8080:80 x",
            "openssl version -k x",
            "max_tokens=4096, tokens_per_second=12",
        ] {
            assert_eq!(redactor.sql_text(text), text);
        }
    }
}
