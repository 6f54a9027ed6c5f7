//! Determines which kinds of credentials a text may contain, in a single pass: each kind has signs, at least one of which is always
//! present.
//!
//! Most texts contain none of them, and the patterns themselves are expensive: each would search the whole text.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use crate::{credentials::KEY_BEGIN, named_values, phrase_table::PHRASES, program_options};

/// The kinds of credentials for which a text has a sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Clues(u8);

/// A kind of credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clue {
    /// A private key.
    PrivateKey,
    /// A program that takes a password.
    Program,
    /// A value next to its name.
    NamedValue,
    /// One of the phrases, by index.
    Phrase(usize),
}

impl Clue {
    const fn bit(self) -> u8 {
        match self {
            Self::PrivateKey => 1,
            Self::Program => 1 << 1,
            Self::NamedValue => 1 << 2,
            Self::Phrase(place) => 1 << (3 + place),
        }
    }
}

/// The bit of each phrase must fit into a byte.
const _: () = assert!(PHRASES.len() <= 5);

/// Finds the signs, ignoring case, and the bit of each.
static SIGNS: LazyLock<Option<(AhoCorasick, Vec<u8>)>> = LazyLock::new(|| {
    let of_phrases = PHRASES
        .iter()
        .enumerate()
        .flat_map(|(place, phrase)| phrase.signs.iter().map(move |sign| (*sign, Clue::Phrase(place).bit())));
    let (signs, bits): (Vec<&str>, Vec<u8>) = program_options::names()
        .map(|name| (name, Clue::Program.bit()))
        .chain(of_phrases)
        .chain([(KEY_BEGIN, Clue::PrivateKey.bit()), (named_values::SIGN, Clue::NamedValue.bit())])
        .unzip();
    let found =
        AhoCorasick::builder().ascii_case_insensitive(true).kind(Some(AhoCorasickKind::DFA)).build(signs);
    Some((found.ok()?, bits))
});

impl Clues {
    pub(crate) fn of(text: &str) -> Self {
        // Without an automaton, every kind is searched for.
        let Some((signs, bits)) = SIGNS.as_ref() else { return Self(u8::MAX) };
        // Overlapping, because one sign may contain another.
        let found = signs.find_overlapping_iter(text).map(|found| bits[found.pattern().as_usize()]);
        Self(found.fold(0, |all, bit| all | bit))
    }

    pub(crate) const fn has(self, clue: Clue) -> bool {
        self.0 & clue.bit() != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[Clue]) {
        let bits = expected.iter().fold(0, |all, clue| all | clue.bit());
        assert_eq!(Clues::of(text), Clues(bits), "{text}");
    }

    #[test]
    fn signs_are_found_in_any_case_and_inside_of_each_other() {
        check("FilterExec: x@1 > 1", &[]);
        check("-----BEGIN RSA PRIVATE KEY-----", &[Clue::PrivateKey]);
        check("mysqldump -phunter2", &[Clue::Program]);
        check("VALUES", &[Clue::NamedValue]);
        check("IDENTIFIED BY 'x'", &[Clue::Phrase(0)]);
        check("u/x@//host and jdbc:ORACLE:thin:u/x@host", &[Clue::Phrase(1), Clue::Phrase(2)]);
        for name in ["PassWord", "passphrase", "passwd", "kennwort", "passwort", "pa\u{17f}\u{17f}word"] {
            check(&format!("the {name} is x1"), &[Clue::Phrase(3)]);
        }
    }
}
