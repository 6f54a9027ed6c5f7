//! The name of a DAG.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The longest name that the tracking server stores.
const MAX_LENGTH: usize = 255;

/// A validated DAG name, by convention `namespace::name_vN`.
///
/// A name stands for all versions and runs of a pipeline, so it must not change with each of them: names that contain
/// a commit hash, a timestamp or a UUID are refused.
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

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DagNameError {
    /// The name has no characters.
    #[error("a DAG name cannot be empty: write one such as sales::daily_orders_v1")]
    Empty,
    /// The name is longer than the tracking server stores.
    #[error("DAG name of {length} characters: expected at most 255")]
    TooLong {
        /// Characters of the name.
        length: usize,
    },
    /// The name has a character that is not shown.
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
            return Err(DagNameError::TooLong { length });
        }
        if name.chars().any(char::is_control) {
            return Err(DagNameError::ControlCharacter { name });
        }
        if let Some((what, part)) = changing_part(&name) {
            let part = part.to_owned();
            let suggestion = without(&name, &part);
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

fn changing_part(name: &str) -> Option<(&'static str, &str)> {
    if let Some(uuid) = uuid_in(name) {
        return Some(("a UUID", uuid));
    }
    if let Some(date) = date_in(name) {
        return Some(("a timestamp", date));
    }
    for word in name.split(|c: char| !c.is_ascii_alphanumeric()) {
        if let Some((date, time)) = word.split_once(['T', 't'])
            && is_compact_date(date)
            && time.bytes().take(4).filter(u8::is_ascii_digit).count() == 4
        {
            return Some(("a timestamp", word));
        }
        // As `git describe` writes them, a `g` stands before the hash.
        if is_commit_hash(word) || word.strip_prefix('g').is_some_and(is_commit_hash) {
            return Some(("a commit hash", word));
        }
        let digits = word.split(|c: char| !c.is_ascii_digit());
        if let Some(time) = digits.into_iter().find(|digits| is_unix_time(digits) || is_compact_date(digits))
        {
            return Some(("a timestamp", time));
        }
    }
    None
}

/// Seven to sixty-four hexadecimal digits of one case, letters and numerals among them.
fn is_commit_hash(word: &str) -> bool {
    let numerals = word.bytes().filter(u8::is_ascii_digit).count();
    let is_hex = |letters: std::ops::RangeInclusive<u8>| {
        word.bytes().all(|byte| byte.is_ascii_digit() || letters.contains(&byte))
    };
    (7..=64).contains(&word.len())
        && numerals > 0
        && numerals < word.len()
        && (is_hex(b'a'..=b'f') || is_hex(b'A'..=b'F'))
}

/// Seconds, milliseconds, microseconds or nanoseconds since 1970.
fn is_unix_time(digits: &str) -> bool {
    matches!(digits.len(), 10 | 13 | 16 | 19)
}

fn uuid_in(name: &str) -> Option<&str> {
    let groups = [8, 4, 4, 4, 12];
    (0..name.len()).filter(|&start| name.is_char_boundary(start)).find_map(|start| {
        let candidate = name.get(start..start + 36)?;
        let parts: Vec<&str> = candidate.split('-').collect();
        let is_uuid = parts.len() == groups.len()
            && parts.iter().zip(groups).all(|(part, length)| {
                part.len() == length && part.bytes().all(|byte| byte.is_ascii_hexdigit())
            });
        is_uuid.then_some(candidate)
    })
}

/// A date such as 2026-11-21 or 2026_11_21, wherever it stands.
fn date_in(name: &str) -> Option<&str> {
    (0..name.len()).filter(|&start| name.is_char_boundary(start)).find_map(|start| {
        let candidate = name.get(start..start + 10)?;
        let bytes = candidate.as_bytes();
        let separated = matches!(bytes[4], b'-' | b'_' | b'.') && bytes[7] == bytes[4];
        let compact = format!("{}{}{}", candidate.get(..4)?, candidate.get(5..7)?, candidate.get(8..)?);
        (separated && is_compact_date(&compact)).then_some(candidate)
    })
}

fn is_compact_date(word: &str) -> bool {
    let number = |range| word.get(range).and_then(|part: &str| part.parse::<u32>().ok());
    matches!(word.len(), 8 | 12 | 14)
        && word.bytes().all(|byte| byte.is_ascii_digit())
        && number(0..4).is_some_and(|year| (1970..2200).contains(&year))
        && number(4..6).is_some_and(|month| (1..=12).contains(&month))
        && number(6..8).is_some_and(|day| (1..=31).contains(&day))
}

fn without(name: &str, part: &str) -> String {
    let joined = name.replace(part, "");
    let trimmed = joined.trim_matches(|c: char| "_-.:@+ ".contains(c));
    if trimmed.is_empty() { "pipeline_v1".to_owned() } else { trimmed.to_owned() }
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
            other => panic!("{name:?} gave {other:?}"),
        }
    }

    #[test]
    fn names_that_change_with_each_run_are_refused() {
        check_refused("sales::orders_4f2a9bc", "a commit hash", "sales::orders");
        check_refused("orders_2026-11-21", "a timestamp", "orders");
        check_refused("orders_20261121T0830", "a timestamp", "orders");
        check_refused("orders_1795237787", "a timestamp", "orders");
        check_refused("orders_1795237787123456", "a timestamp", "orders");
        check_refused("orders20261121", "a timestamp", "orders");
        check_refused("orders_v1-3-g4f2a9bc", "a commit hash", "orders_v1-3");
        check_refused("orders_4F2A9BC1", "a commit hash", "orders");
        check_refused("orders-0198c5f0-7a0e-7d5f-8a53-0c9f9f4c2b11", "a UUID", "orders");
    }

    #[test]
    fn ordinary_names_are_taken() {
        for name in [
            "codeintel::semantic_v1",
            "tpch",
            "Größe_v12",
            "facade",
            "orders 2026",
            "deadbeef",
            "top_1000000",
        ] {
            assert_eq!(DagName::try_from(name).map(|name| name.to_string()), Ok(name.to_owned()));
        }
    }

    #[test]
    fn empty_and_endless_names_are_refused() {
        assert_eq!(DagName::try_from("  "), Err(DagNameError::Empty));
        assert_eq!(DagName::try_from("x".repeat(256)), Err(DagNameError::TooLong { length: 256 }));
    }
}
