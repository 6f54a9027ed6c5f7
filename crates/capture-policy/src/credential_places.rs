//! Finding credentials by their key or by their shape.

use std::ops::Range;

use crate::{
    clues::{Clue, Clues},
    compared_columns::Comparison,
    credentials::{Authority, authority, aws_secret, private_key, shaped_credential, value_in_word, word},
    key_layouts::PlacedKey,
    key_names::{takes_user, user_and_password},
    key_values::{Separator, ends_with_place, token_of_scheme},
    parser_words::is_of_parser,
    path_users::users_of_paths,
    phrases,
    program_options::program_password,
    redact::Redactor,
};

impl Redactor {
    /// The positions of the credentials that [`Redactor::text`] finds. They may overlap.
    pub(crate) fn credentials(&self, text: &str) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        let mut at = 0;
        let behind = |at: usize, find: fn(&str) -> Option<Range<usize>>| {
            find(&text[at..]).map(|range| at + range.start..at + range.end)
        };
        // These two span lines and words, so the word reader below sees only the text between them.
        let clues = Clues::of(text);
        let mut key = clues.has(Clue::PrivateKey).then(|| behind(0, private_key)).flatten();
        let mut password = clues.has(Clue::Program).then(|| behind(0, program_password)).flatten();
        while let Some(first) =
            [&key, &password].into_iter().flatten().min_by_key(|range| range.start).cloned()
        {
            // Each part only once: searching the rest again after every match would be quadratic for a file of keys.
            self.scan(&text[at..first.start], at, &mut found);
            at = first.end;
            found.push(first);
            // The match of the other kind remains the next one of its kind, unless it is already passed.
            if key.as_ref().is_some_and(|range| range.start < at) {
                key = behind(at, private_key);
            }
            if password.as_ref().is_some_and(|range| range.start < at) {
                password = behind(at, program_password);
            }
        }
        self.scan(&text[at..], at, &mut found);
        // On the whole text instead of the parts between matches, because a phrase may refer to a word elsewhere in the line.
        found.extend(phrases::secrets(text, clues, |name| self.hides_key(name)));
        found.extend(users_of_paths(text));
        found.extend(self.secrets_of_queries(text));
        found
    }

    /// Adds the positions of credentials in a text that begins at `offset`.
    fn scan(&self, text: &str, offset: usize, out: &mut Vec<Range<usize>>) {
        let mut at = 0;
        while let Some(first) = text[at..].chars().next() {
            let rest = &text[at..];
            let word = word(rest);
            if word.is_empty() {
                let before = text[..at].chars().next_back();
                if matches!(first, '/' | '+')
                    && let Some(secret) = aws_secret(rest, before)
                {
                    out.push(offset + at..offset + at + secret.end);
                    at += secret.end;
                } else {
                    at += first.len_utf8();
                }
                continue;
            }
            // Whole words only: `token` inside `tokenizer` is not a key.
            let found = self.look_at(word, rest, &text[..at]);
            if let Some(secret) = found.secret {
                out.push(offset + at + secret.start..offset + at + secret.end);
            }
            at += found.length;
        }
    }

    /// Inspects the word at the beginning of `rest`, and what belongs to it; `in_front` is the text before it.
    fn look_at(&self, word: &str, rest: &str, in_front: &str) -> Found {
        let before = in_front.chars().next_back();
        if let Some(secret) = shaped_credential(word, rest, before) {
            let length = secret.end;
            return Found { secret: Some(secret), length };
        }
        let after = &rest[word.len()..];
        let in_rest = |range: Range<usize>, offset: usize| range.start + offset..range.end + offset;
        // Before keys: in `token://user:pw@host` the word is a scheme, and the user of the URL must be hidden.
        if let Some(place) = after.strip_prefix("://") {
            let start = word.len() + "://".len();
            let Authority { user, end } = authority(place);
            return Found { secret: user.map(|user| in_rest(user, start)), length: start + end };
        }
        if takes_user(word) {
            let blank = after.len() - after.trim_start_matches([' ', '=', '"', '\'']).len();
            if let Some(length) = user_and_password(&after[blank..]).filter(|_| blank > 0) {
                let start = word.len() + blank;
                return Found { secret: Some(start..start + length), length: start + length };
            }
        }
        let placed = PlacedKey { in_front, key: word, after };
        if placed.is_laid_out()
            && self.hides_key(word)
            && let Some(value) = placed.value()
        {
            let length = word.len() + value.end;
            return Found { secret: Some(in_rest(value, word.len())), length };
        }
        let separator = Separator::after_key(word, after)
            .filter(|_| self.hides_key(word) || signs_url(word, in_front))
            // A node may be called `tokens`, followed by its error.
            .filter(|separator| !(separator.is_colon() && ends_with_place(in_front)))
            .filter(|_| !is_of_parser(word, in_front, after));
        if let Some(value) = separator.as_ref().and_then(|separator| separator.compared(after)) {
            let is_indexed = after.trim_start_matches('"').starts_with('@');
            let comparison = Comparison { in_front, key: word, is_indexed, value };
            if comparison.has_no_literal(|name| self.known().has_name(name)) {
                return Found { secret: None, length: rest.len() - value.len() };
            }
        }
        let value = separator
            .and_then(|separator| separator.value(before, after))
            .or_else(|| token_of_scheme(word, after));
        if value.is_none()
            && let Some(secret) = value_in_word(word, |name| self.hides_key(name))
        {
            return Found { secret: Some(secret), length: word.len() };
        }
        let length = word.len() + value.as_ref().map_or(0, |value| value.end);
        Found { secret: value.map(|value| in_rest(value, word.len())), length }
    }
}

/// Whether a parameter of a URL grants access to anyone who has the URL: `?AWSAccessKeyId=a&Signature=s`. Elsewhere a signature is
/// not a credential.
fn signs_url(word: &str, in_front: &str) -> bool {
    word.eq_ignore_ascii_case("signature") && in_front.ends_with(['?', '&'])
}

/// The result of inspecting a word.
struct Found {
    /// The position of a credential, relative to the beginning of the word.
    secret: Option<Range<usize>>,
    /// How many bytes can be skipped.
    length: usize,
}
