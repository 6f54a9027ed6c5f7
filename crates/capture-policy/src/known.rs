//! Texts that are hidden wherever they stand, because they are known: credentials, and the literals of statements where
//! the policy shows none.

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

/// Characters of the shortest text that is hidden because it is known.
const SHORTEST: usize = 4;
/// How many declared credentials are remembered. The first one is the key of the tracker.
const MOST_NAMED: usize = 10_000;
/// Credentials that are learned from texts, and literals. What a script has more of is found by its shape and place
/// alone.
const MOST_SECRETS: usize = 1_000;
pub(crate) const MOST_VALUES: usize = 10_000;
/// Bytes of the longest literal that is remembered.
const LONGEST_VALUE: usize = 1_024;

#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    secrets: Vec<Secret>,
    /// How many of them were learned.
    learned: usize,
    of_secrets: OnceLock<Option<AhoCorasick>>,
    /// Credentials that could be any word: hidden where they stand as a whole one, in plans and in errors alone.
    words: HashSet<String>,
    of_words: OnceLock<Option<AhoCorasick>>,
    values: HashSet<String>,
    of_values: OnceLock<Option<AhoCorasick>>,
    /// Names whose values are credentials, because a statement reads them as such.
    names: HashSet<String>,
    /// What the statements of a script say about columns.
    pub(crate) columns: Arc<ScriptColumns>,
    /// What the URLs begin with whose queries are shown.
    pub(crate) shown_queries: Vec<String>,
    /// The dialects of the script.
    pub(crate) dialects: Dialects,
}

impl Known {
    /// Adds a credential that was named as one. It has room of its own, whatever was learned.
    pub(crate) fn add_secret(&mut self, secret: &str) {
        if self.secrets.len() - self.learned < MOST_NAMED {
            self.add(secret);
        }
    }

    /// Adds a credential that was found in a text.
    pub(crate) fn learn_secret(&mut self, secret: &str) {
        // Counted apart from those that were named: a script with a thousand literals must not take the place of the
        // key of the tracker.
        if self.learned < MOST_SECRETS && self.add(secret) {
            self.learned += 1;
        }
    }

    /// True where it was added: it is new, and long enough.
    fn add(&mut self, secret: &str) -> bool {
        let is_new = secret.chars().count() >= SHORTEST
            // Otherwise hiding the word "redacted" would match the replacement text itself.
            && !REDACTED.contains(secret)
            && self.secrets.iter().all(|other| other.expose() != secret);
        if is_new {
            self.secrets.push(Secret::new(secret));
            // Built again with the next text, and not with each secret: a script teaches hundreds in a row.
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

    /// Adds a credential that was found in a text, and is too short or plain to be hidden everywhere.
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

    /// The text with every known literal replaced, where it stands as a word.
    pub(crate) fn without_values<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.values.is_empty() {
            return text.into();
        }
        let matcher = self.of_values.get_or_init(|| matcher(self.values.iter().map(String::as_str)));
        replaced(text, matcher.as_ref(), "?", is_whole_word)
    }

    /// A plan or the message of an error with every credential replaced that is a word in it.
    pub(crate) fn without_words<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.words.is_empty() {
            return text.into();
        }
        let matcher = self.of_words.get_or_init(|| matcher(self.words.iter().map(String::as_str)));
        replaced(text, matcher.as_ref(), REDACTED, is_whole_word)
    }
}

/// Whether a text is one between what stands before and after it.
fn is_whole_word(before: &str, after: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    !before.ends_with(is_name) && !after.starts_with(is_name)
}

fn matcher<'a>(texts: impl Iterator<Item = &'a str>) -> Option<AhoCorasick> {
    // The other kinds search faster and take long to build: seconds for a text of some kilobytes.
    AhoCorasick::builder()
        .kind(Some(AhoCorasickKind::NoncontiguousNFA))
        .match_kind(MatchKind::LeftmostLongest)
        // Engines print identifiers in small letters, and a literal that was taken for one comes back so in their
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
        // A literal such as `main` is hidden where it stands alone, and not in `domain`.
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
