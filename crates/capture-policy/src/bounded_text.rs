//! A text that is written up to a bound.

use std::fmt;

/// Takes so many bytes of text, and refuses all that follow: what writes it out ends there, however long a value is.
#[derive(Debug, Clone, Default)]
pub struct BoundedText {
    text: String,
    left: usize,
}

impl BoundedText {
    /// An empty text that takes up to `bytes`.
    pub const fn new(bytes: usize) -> Self {
        Self { text: String::new(), left: bytes }
    }

    /// What was written.
    pub fn into_text(self) -> String {
        self.text
    }
}

impl fmt::Write for BoundedText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let taken = text.floor_char_boundary(self.left);
        self.text.push_str(&text[..taken]);
        self.left -= taken;
        if taken < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn it_ends_at_the_bound_and_at_a_whole_character() {
        let mut text = BoundedText::new(4);
        assert!(text.write_str("ab").is_ok() && text.write_str("cö").is_err());
        assert_eq!(text.into_text(), "abc");
    }
}
