//! A checksum within a JSON file that is replaced as a whole and listed nowhere else: it covers everything before it.

use std::path::Path;

use daglight_guarded_files::FileBelow;

use crate::{layout::MAX_FILE_BYTES, sha256::sha256_of};

/// The message for a file whose checksum does not match its text.
pub(crate) const CHANGED: &str = "is not as it was written: its checksum is another";

/// The field with the checksum, the last one of the file.
const FIELD: &str = "\"checksum\"";

/// The result of checking the checksum of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seal {
    /// The file is as written.
    Whole,
    /// The file was changed.
    Broken,
    /// It has no checksum: an older version wrote it.
    None,
}

/// Appends the SHA-256 of the text of a JSON object as its last field.
pub(crate) fn sealed(object: Vec<u8>) -> Vec<u8> {
    with_checksum(object, sum)
}

/// A JSON object with a wrong checksum: a file that was tampered with remains recognisable in a copy.
pub(crate) fn broken(object: Vec<u8>) -> Vec<u8> {
    with_checksum(object, |_| "0".repeat(64))
}

fn with_checksum(mut object: Vec<u8>, checksum: impl FnOnce(&[u8]) -> String) -> Vec<u8> {
    let Some(end) = object.iter().rposition(|byte| *byte == b'}') else { return object };
    let is_indented = end > 0 && object[end - 1] == b'\n';
    let before = if is_indented { ",\n  " } else { "," };
    let after = object.split_off(end - usize::from(is_indented));
    let checksum = checksum(&object);
    object.extend_from_slice(format!("{before}{FIELD}: \"{checksum}\"").as_bytes());
    object.extend_from_slice(&after);
    object
}

/// Compares the text of a file with its checksum.
pub(crate) fn seal(text: &[u8]) -> Seal {
    let Some(field) = text.windows(FIELD.len()).rposition(|window| window == FIELD.as_bytes()) else {
        return Seal::None;
    };
    let is_whole = || {
        let content = text[..field].trim_ascii_end().strip_suffix(b",")?;
        let value = text[field + FIELD.len()..].strip_prefix(b": \"")?;
        let (checksum, rest) = value.split_at_checked(64)?;
        // Whitespace fills up a file that was overwritten in place.
        let is_end = rest.strip_prefix(b"\"")?.trim_ascii() == b"}";
        Some(is_end && sum(content).as_bytes() == checksum)
    };
    if is_whole() == Some(true) { Seal::Whole } else { Seal::Broken }
}

/// Appends a checksum like the one that the file had: a wrong one stays wrong, so that rewriting the file does not hide that it was
/// tampered with.
pub(crate) fn sealed_as(object: Vec<u8>, before: Seal) -> Vec<u8> {
    match before {
        Seal::Whole | Seal::None => sealed(object),
        Seal::Broken => broken(object),
    }
}

/// Whether the checksum in a file does not match its text. Read errors are left to the reader of the file.
pub(crate) fn is_changed(path: &Path) -> bool {
    FileBelow::at(path).read(MAX_FILE_BYTES).is_ok_and(|text| seal(&text) == Seal::Broken)
}

fn sum(content: &[u8]) -> String {
    // Reading from memory does not fail.
    sha256_of(content).map(|(sum, _)| sum).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_byte_counts() {
        let value = json!({"name": "a", "number": 0.1, "list": [{"checksum": "x"}]});
        for text in [serde_json::to_vec(&value).unwrap(), serde_json::to_vec_pretty(&value).unwrap()] {
            assert_eq!(seal(&text), Seal::Broken, "a field of that name that is not the last one");
            let whole = sealed(text);
            assert_eq!(seal(&whole), Seal::Whole);
            let again: serde_json::Value = serde_json::from_slice(&whole).unwrap();
            assert_eq!((&again["number"], &again["name"]), (&value["number"], &value["name"]));
            for position in 0..whole.len() {
                let mut changed = whole.clone();
                changed[position] ^= 1;
                assert_ne!(seal(&changed), Seal::Whole, "byte {position}");
            }
            assert_eq!(seal(&[&*whole, b"  \n"].concat()), Seal::Whole);
            assert_eq!(seal(&[&*whole, b"{}"].concat()), Seal::Broken);
        }
        assert_eq!(seal(b"{}"), Seal::None);
        assert_eq!(seal(&broken(b"{\"a\":1}".to_vec())), Seal::Broken);
    }
}
