//! Texts that are hidden everywhere because they are known: credentials, and the literals of statements if the policy hides
//! literals.

use std::{
    borrow::Cow,
    collections::HashSet,
    sync::{Arc, OnceLock},
};

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use crate::{
    rewritten::resumed,
    script_columns::ScriptColumns,
    secret::{REDACTED, Secret},
    sql_values::Dialects,
};

/// The minimum length in characters of a known text that is hidden.
const SHORTEST: usize = 4;
/// The maximum number of declared credentials. The first one is the key of the tracker.
const MOST_NAMED: usize = 10_000;
/// The maximum number of learned credentials and literals. Beyond that, credentials of a script are found only by shape and
/// position.
const MOST_SECRETS: usize = 1_000;
pub(crate) const MOST_VALUES: usize = 10_000;
/// The maximum length in bytes of a literal that is remembered.
const LONGEST_VALUE: usize = 1_024;

#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    secrets: Vec<Secret>,
    /// How many of them were learned.
    learned: usize,
    of_secrets: OnceLock<Option<AhoCorasick>>,
    /// Credentials that could be ordinary words: hidden only as whole words, and only in plans and errors.
    words: HashSet<String>,
    of_words: OnceLock<Option<AhoCorasick>>,
    values: HashSet<String>,
    of_values: OnceLock<Option<AhoCorasick>>,
    /// Names whose values are credentials, because a statement uses them as such.
    names: HashSet<String>,
    /// What the statements of a script reveal about columns.
    pub(crate) columns: Arc<ScriptColumns>,
    /// The beginnings of URLs whose queries are shown.
    pub(crate) shown_queries: Vec<String>,
    /// The dialects of the script.
    pub(crate) dialects: Dialects,
}

impl Known {
    /// Adds a declared credential. These have their own limit, independent of learned ones.
    pub(crate) fn add_secret(&mut self, secret: &str) {
        if self.secrets.len() - self.learned < MOST_NAMED {
            self.add(secret);
        }
    }

    /// Adds a credential that was found in a text.
    pub(crate) fn learn_secret(&mut self, secret: &str) {
        // Counted separately from declared ones: a script with a thousand literals must not displace the key of the tracker.
        if self.learned < MOST_SECRETS && self.add(secret) {
            self.learned += 1;
        }
    }

    /// Returns true if it was added: it is new and long enough.
    fn add(&mut self, secret: &str) -> bool {
        let is_new = secret.chars().count() >= SHORTEST
            // Otherwise hiding the word "redacted" would match the replacement text itself.
            && !REDACTED.contains(secret)
            && self.secrets.iter().all(|other| other.expose() != secret);
        if is_new {
            self.secrets.push(Secret::new(secret));
            // Rebuilt for the next text instead of for each secret: a script adds hundreds in a row.
            self.of_secrets = OnceLock::new();
        }
        is_new
    }

    pub(crate) fn add_value(&mut self, value: &str) {
        if value.chars().count() >= SHORTEST
            && value.len() <= LONGEST_VALUE
            && self.values.len() < MOST_VALUES
            && self.values.insert(value.to_owned())
        {
            self.of_values = OnceLock::new();
        }
    }

    /// Adds a credential that was found in a text, but is too short or plain to be hidden everywhere.
    pub(crate) fn learn_word(&mut self, word: &str) {
        if word.chars().count() >= SHORTEST
            && word.len() <= LONGEST_VALUE
            && !REDACTED.contains(word)
            && self.words.len() < MOST_SECRETS
            && self.words.insert(word.to_owned())
        {
            self.of_words = OnceLock::new();
        }
    }

    pub(crate) fn add_name(&mut self, name: &str) {
        if self.names.len() < MOST_SECRETS {
            self.names.insert(name.to_owned());
        }
    }

    pub(crate) fn has_name(&self, name: &str) -> bool {
        self.names.contains(name.trim_start_matches('$'))
    }

    /// The text with every known credential replaced.
    pub(crate) fn without_secrets<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.secrets.is_empty() {
            return text.into();
        }
        let matcher = self.of_secrets.get_or_init(|| matcher(self.secrets.iter().map(Secret::expose)));
        replaced(text, matcher.as_ref(), REDACTED, |_, _| true)
    }

    /// The text with every known literal replaced if it is a whole word.
    pub(crate) fn without_values<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.values.is_empty() {
            return text.into();
        }
        let matcher = self.of_values.get_or_init(|| matcher(self.values.iter().map(String::as_str)));
        replaced(text, matcher.as_ref(), "?", is_whole_word)
    }

    /// A plan or an error message with every credential replaced that is a whole word in it.
    pub(crate) fn without_words<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.words.is_empty() {
            return text.into();
        }
        let matcher = self.of_words.get_or_init(|| matcher(self.words.iter().map(String::as_str)));
        replaced(text, matcher.as_ref(), REDACTED, is_whole_word)
    }
}

/// Whether a text is a whole word, given the text before and after it.
fn is_whole_word(before: &str, after: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    !before.ends_with(is_name) && !after.starts_with(is_name)
}

fn matcher<'a>(texts: impl Iterator<Item = &'a str>) -> Option<AhoCorasick> {
    // The other kinds search faster but take long to build: seconds for a few kilobytes.
    AhoCorasick::builder()
        .kind(Some(AhoCorasickKind::NoncontiguousNFA))
        .match_kind(MatchKind::LeftmostLongest)
        // Engines print identifiers in lower case, so a literal that was mistaken for an identifier appears in lower case in their
        // messages.
        .ascii_case_insensitive(true)
        .build(texts)
        .ok()
}

fn replaced<'a>(
    text: &'a str,
    matcher: Option<&AhoCorasick>,
    replacement: &str,
    counts: impl Fn(&str, &str) -> bool,
) -> Cow<'a, str> {
    let Some(matcher) = matcher else { return text.into() };
    let mut out = String::new();
    let mut written = 0;
    for found in matcher.find_iter(text) {
        // A literal such as `main` is hidden as a separate word, but not in `domain`.
        if counts(&text[..found.start()], &text[found.end()..]) {
            out.push_str(&text[written..found.start()]);
            out.push_str(replacement);
            written = found.end();
        }
    }
    resumed(text, written, out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_learned_takes_no_room_from_what_is_named() {
        let mut known = Known::default();
        for number in 0..2 * MOST_SECRETS {
            known.learn_secret(&format!("learned {number:04}."));
        }
        known.add_secret("hunter2");
        assert_eq!(known.without_secrets("hunter2"), REDACTED);
        assert_eq!(known.without_secrets("learned 0999."), REDACTED);
        assert_eq!(known.secrets.len(), MOST_SECRETS + 1);
    }
}
