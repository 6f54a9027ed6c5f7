//! The name of a DAG.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The longest name that the tracking server stores.
const MAX_LENGTH: usize = 255;

/// A validated DAG name, by convention `namespace::name_vN`.
///
/// A name identifies all versions and runs of a pipeline, so it must not change with each of them: names that contain a commit
/// hash, a timestamp or a UUID are rejected.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DagName(String);

impl DagName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DagName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<DagName> for String {
    fn from(name: DagName) -> Self {
        name.0
    }
}

/// Why a name was rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DagNameError {
    /// The name has no characters.
    #[error("a DAG name cannot be empty: write one such as sales::daily_orders_v1")]
    Empty,
    /// The name is longer than the tracking server stores.
    #[error("DAG name \"{begin}…\" has {length} characters: expected at most {MAX_LENGTH}")]
    TooLong {
        /// The first characters of the name.
        begin: String,
        /// The number of characters in the name.
        length: usize,
    },
    /// The name has a non-printable character.
    #[error("DAG name {name:?} contains a control character")]
    ControlCharacter {
        /// The name.
        name: String,
    },
    /// The name has a part that changes from run to run.
    #[error(
        "DAG name {name:?} contains {what} ({part}): a name stands for every run of the pipeline; \
         write {suggestion:?} and let Daglight tag the runs"
    )]
    Changing {
        /// The name.
        name: String,
        /// What kind of part it is.
        what: &'static str,
        /// The part itself.
        part: String,
        /// The name without the part.
        suggestion: String,
    },
}

impl TryFrom<String> for DagName {
    type Error = DagNameError;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        if name.trim().is_empty() {
            return Err(DagNameError::Empty);
        }
        let length = name.chars().count();
        if length > MAX_LENGTH {
            return Err(DagNameError::TooLong { begin: name.chars().take(40).collect(), length });
        }
        if name.chars().any(char::is_control) {
            return Err(DagNameError::ControlCharacter { name });
        }
        if let Some((what, part)) = changing_part(&name) {
            let part = part.to_owned();
            let suggestion = suggestion(&name);
            return Err(DagNameError::Changing { name, what, part, suggestion });
        }
        Ok(Self(name))
    }
}

impl FromStr for DagName {
    type Err = DagNameError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        name.to_owned().try_into()
    }
}

impl TryFrom<&str> for DagName {
    type Error = DagNameError;

    fn try_from(name: &str) -> Result<Self, Self::Error> {
        name.parse()
    }
}

/// The first part of a name that changes from run to run, and what kind of part it is.
fn changing_part(name: &str) -> Option<(&'static str, &str)> {
    if let Some(uuid) = uuid_in(name) {
        return Some(("a UUID", uuid));
    }
    if let Some(time) = time_in(name) {
        return Some(("a timestamp", time));
    }
    for word in name.split(|c: char| !c.is_ascii_alphanumeric()) {
        // `git describe` writes a `g` before the hash.
        if is_commit_hash(word) || word.strip_prefix('g').is_some_and(is_commit_hash) {
            return Some(("a commit hash", word));
        }
        let digits = word.split(|c: char| !c.is_ascii_digit());
        if let Some(time) = digits.into_iter().find(|digits| is_unix_time(digits)) {
            return Some(("a timestamp", time));
        }
    }
    None
}

/// Seven to sixty-four hexadecimal digits of the same case, with both letters and numerals, that are not a word.
fn is_commit_hash(word: &str) -> bool {
    let numerals = word.bytes().filter(u8::is_ascii_digit).count();
    let is_hex = |letters: std::ops::RangeInclusive<u8>| {
        word.bytes().all(|byte| byte.is_ascii_digit() || letters.contains(&byte))
    };
    (7..=64).contains(&word.len())
        && numerals > 0
        && numerals < word.len()
        && (is_hex(b'a'..=b'f') || is_hex(b'A'..=b'F'))
        && !is_word(word)
}

/// Letters with one numeral in the middle or at the end, such as `face2face`, or letters followed by a number, such as `decade10`.
/// About one in forty short hashes looks like this, and no long one.
fn is_word(word: &str) -> bool {
    let letters = word.bytes().take_while(u8::is_ascii_alphabetic).count();
    let numerals = word.bytes().filter(u8::is_ascii_digit).count();
    let one_numeral = numerals == 1 && letters > 0;
    let with_number = letters >= 4 && letters + numerals == word.len();
    word.len() <= 12 && (one_numeral || with_number)
}

/// Seconds, milliseconds, microseconds or nanoseconds since 1970.
fn is_unix_time(digits: &str) -> bool {
    matches!(digits.len(), 10 | 13 | 16 | 19)
}

/// A UUID, with dashes, with underscores, or without separators.
fn uuid_in(name: &str) -> Option<&str> {
    let groups = [8, 4, 4, 4, 12];
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_uuid = |candidate: &&str| {
        let parts: Vec<&str> = candidate.split(['-', '_']).collect();
        parts.len() == groups.len()
            && parts.iter().zip(groups).all(|(part, length)| part.len() == length && is_hex(part))
    };
    // From every position, because a UUID may follow a name without a separator.
    let separated = (0..name.len()).find_map(|start| name.get(start..start + 36).filter(is_uuid));
    let mut words = name.split(|c: char| !c.is_ascii_alphanumeric());
    separated.or_else(|| words.find(|word| word.len() == 32 && is_hex(word) && is_commit_hash(word)))
}

/// A date such as 2026-11-21, 2026_11_21 or 20261121, anywhere in the name, including a following time of day.
fn time_in(name: &str) -> Option<&str> {
    (0..name.len()).find_map(|start| {
        let rest = name.get(start..)?;
        let follows_digit = name[..start].ends_with(|c: char| c.is_ascii_digit());
        let date = date_length(rest).filter(|_| !follows_digit)?;
        Some(&rest[..date + time_of_day_length(&rest[date..])])
    })
}

/// The length of the date at the beginning of a text; including the time of day if that follows without a separator.
fn date_length(text: &str) -> Option<usize> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if matches!(digits, 8 | 12 | 14) && is_date(&text[..4], &text[4..6], &text[6..8]) {
        return Some(digits);
    }
    let sign = text.get(4..5).filter(|sign| ["-", "_", "."].contains(sign))?;
    let is_separated = text.get(7..8) == Some(sign) && digits == 4;
    let ends = !text.get(10..)?.starts_with(|c: char| c.is_ascii_digit());
    (is_separated && ends && is_date(&text[..4], text.get(5..7)?, text.get(8..10)?)).then_some(10)
}

fn is_date(year: &str, month: &str, day: &str) -> bool {
    let number =
        |part: &str| part.parse::<u32>().ok().filter(|_| part.bytes().all(|byte| byte.is_ascii_digit()));
    number(year).is_some_and(|year| (1970..2200).contains(&year))
        && number(month).is_some_and(|month| (1..=12).contains(&month))
        && number(day).is_some_and(|day| (1..=31).contains(&day))
}

/// The length of the time of day after a date, such as `T08:30:00.5Z`, `_083000` or ` 08-30`; 0 if there is none.
fn time_of_day_length(text: &str) -> usize {
    let time = text.trim_start_matches(['T', 't', '_', '-', ' ']);
    let is_apart = (1..=2).contains(&(text.len() - time.len()));
    let end = time.find(|c: char| !(c.is_ascii_digit() || "-:.".contains(c))).unwrap_or(time.len());
    let digits = time[..end].bytes().filter(u8::is_ascii_digit).count();
    let begins = time.starts_with(|c: char| c.is_ascii_digit());
    let is_paired =
        time[..end].split(['-', ':', '.']).next().is_some_and(|first| first.len().is_multiple_of(2));
    if !is_apart || !begins || !is_paired || digits < 4 {
        return 0;
    }
    let end = time[..end].trim_end_matches(['-', ':', '.']).len();
    let zone = usize::from(time[end..].starts_with(['Z', 'z']));
    text.len() - time.len() + end + zone
}

/// The name without the changing parts, with one separator where such a part was in the middle.
fn suggestion(name: &str) -> String {
    let is_sign = |c: &char| "_-.@+ ".contains(*c);
    let mut kept = name.to_owned();
    // Repeated until nothing that changes is left: a name may contain both a date and a hash.
    while let Some((_, part)) = changing_part(&kept) {
        let (before, after) = kept.split_once(part).unwrap_or((&kept, ""));
        let sign =
            after.chars().next().filter(is_sign).or_else(|| before.chars().next_back().filter(is_sign));
        let before = before.trim_end_matches(|c| is_sign(&c));
        let after = after.trim_start_matches(|c| is_sign(&c));
        let sign = sign.filter(|_| !before.ends_with(':')).map(String::from).unwrap_or_default();
        kept = format!("{before}{sign}{after}");
    }
    let kept = kept.trim_matches(|c| is_sign(&c) || c == ':');
    if kept.is_empty() { "pipeline_v1".to_owned() } else { kept.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_refused(name: &str, what: &str, suggested: &str) {
        match DagName::try_from(name) {
            Err(DagNameError::Changing { what: found, suggestion, .. }) => {
                assert_eq!((found, suggestion.as_str()), (what, suggested));
            }
            other => panic!("{name:?} returned {other:?}"),
        }
    }

    #[test]
    fn names_that_change_with_each_run_are_refused() {
        check_refused("sales::orders_4f2a9bc", "a commit hash", "sales::orders");
        check_refused("orders_2026-11-21", "a timestamp", "orders");
        check_refused("orders_20261121T0830", "a timestamp", "orders");
        check_refused("sales::orders_2026-11-21T08:30:00Z_v1", "a timestamp", "sales::orders_v1");
        check_refused("orders_20261121_083000", "a timestamp", "orders");
        check_refused("orders-202611210830-v1", "a timestamp", "orders-v1");
        check_refused("2026.11.21 orders", "a timestamp", "orders");
        check_refused("a_2026-11-21_4f2a9bc_b", "a timestamp", "a_b");
        check_refused("20261121", "a timestamp", "pipeline_v1");
        check_refused("orders_1795237787", "a timestamp", "orders");
        check_refused("orders_1795237787123456", "a timestamp", "orders");
        check_refused("orders20261121", "a timestamp", "orders");
        check_refused("orders_1234567a", "a commit hash", "orders");
        check_refused("face2face_4f2a9bc", "a commit hash", "face2face");
        check_refused("orders_v1-3-g4f2a9bc", "a commit hash", "orders_v1-3");
        check_refused("orders_4F2A9BC1", "a commit hash", "orders");
        check_refused("sales::orders_4f2a9bc_v1", "a commit hash", "sales::orders_v1");
        check_refused("sales::4f2a9bc_v1", "a commit hash", "sales::v1");
        check_refused("orders-0198c5f0-7a0e-7d5f-8a53-0c9f9f4c2b11", "a UUID", "orders");
        check_refused("orders_0198C5F0_7A0E_7D5F_8A53_0C9F9F4C2B11_v1", "a UUID", "orders_v1");
        check_refused("orders_0198c5f07a0e7d5f8a530c9f9f4c2b11", "a UUID", "orders");
    }

    #[test]
    fn ordinary_names_are_taken() {
        for name in [
            "codeintel::semantic_v1",
            "tpch",
            "Größe_v12",
            "facade",
            "sales::face2face_v1",
            "face2face_decade10",
            "decaf4bed",
            "orders 2026",
            "deadbeef",
            "top_1000000",
            "a::b_v1.2.3",
            "orders_2026_11",
            "size_1234_56_78",
            "日次::売上_v1",
        ] {
            assert_eq!(DagName::try_from(name).map(|name| name.to_string()), Ok(name.to_owned()));
        }
    }

    #[test]
    fn empty_and_endless_names_are_refused() {
        assert_eq!(DagName::try_from("  "), Err(DagNameError::Empty));
        assert!(DagName::try_from("ü".repeat(255)).is_ok());
        let error = DagName::try_from("x".repeat(256)).unwrap_err().to_string();
        assert!(
            error.contains("\"xxxx") && error.contains("256 characters: expected at most 255"),
            "{error}"
        );
    }

    #[test]
    fn what_is_suggested_is_taken() {
        for name in [
            "a_1795237787_1795237787",
            "2026-11-21-4f2a9bc",
            "::4f2a9bc",
            "x4f2a9bc1_20261121",
            "é2026-11-21é",
        ] {
            match DagName::try_from(name) {
                Err(DagNameError::Changing { suggestion, .. }) => {
                    assert!(DagName::try_from(suggestion.as_str()).is_ok(), "{suggestion} for {name}");
                }
                other => panic!("{name:?} returned {other:?}"),
            }
        }
    }
}
