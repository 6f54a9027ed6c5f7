//! SHA-256 over fields, encoded so that different sequences of fields have different bytes.

use sha2::{Digest, Sha256};

use crate::hexadecimal::hexadecimal;

/// SHA-256 of a list of texts, as 64 hexadecimal characters. Different texts, or another order, give a different hash. `domain`
/// separates lists of different meaning.
pub fn hash_of_fields<'a>(domain: &str, fields: impl IntoIterator<Item = &'a str>) -> String {
    FieldHasher::new(domain).fields(fields).finish()
}

pub(crate) struct FieldHasher(Sha256);

impl FieldHasher {
    /// `domain` separates hashes of different things, and must change when the fields of a thing do.
    pub(crate) fn new(domain: &str) -> Self {
        Self(Sha256::new()).field(domain)
    }

    pub(crate) fn field(mut self, text: &str) -> Self {
        // Each field is preceded by its length, because "a", "bc" and "ab", "c" would otherwise be the same bytes.
        self.0.update((text.len() as u64).to_be_bytes());
        self.0.update(text.as_bytes());
        self
    }

    pub(crate) fn fields<'a>(self, texts: impl IntoIterator<Item = &'a str>) -> Self {
        let texts: Vec<&str> = texts.into_iter().collect();
        let hasher = self.field(&texts.len().to_string());
        texts.into_iter().fold(hasher, Self::field)
    }

    /// 64 hexadecimal characters.
    pub(crate) fn finish(self) -> String {
        hexadecimal(&self.0.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_border_between_fields_counts() {
        let hash = |fields: &[&str]| FieldHasher::new("test").fields(fields.iter().copied()).finish();
        assert_ne!(hash(&["ab", "c"]), hash(&["a", "bc"]));
        assert_ne!(hash(&["a"]), hash(&["a", ""]));
        assert_eq!(
            hash_of_fields("test", ["a", "bc"]),
            "1b1f08c77f502f11976a32abdbf2dfde805fcb3a6a63b546663da956e08e7054"
        );
    }
}
