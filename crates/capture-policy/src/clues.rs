//! Which kinds of credentials may be in a text, by what none of them is without, found in one pass over it.
//!
//! Most texts have none of them, and the patterns themselves are dear: each would look at the whole text by itself.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use crate::{credentials::KEY_BEGIN, named_values, phrase_table::PHRASES, program_options};

/// The kinds of credentials of which a text has a sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Clues(u8);

/// What there may be a sign of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clue {
    /// A private key.
    PrivateKey,
    /// A program that takes a password.
    Program,
    /// A value with its name beside it.
    NamedValue,
    /// One of the phrases, by its place.
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

/// The bit of each phrase has to be in a byte.
const _: () = assert!(PHRASES.len() <= 5);

/// Finds the signs, without regard to case, and the bit of each.
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
        // Without an automaton each kind is looked for.
        let Some((signs, bits)) = SIGNS.as_ref() else { return Self(u8::MAX) };
        // Overlapping, because a sign may stand inside of another one.
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
