//! Texts of limited length.

use std::{borrow::Cow, fmt};

use crate::printable::CUT_MARK;

/// The text itself, or if it has more than `longest` bytes, its beginning and how many bytes are left out. It is cut between two
/// words, because half a credential could not be recognised as one.
pub fn first_words(text: &str, longest: usize) -> Cow<'_, str> {
    if text.len() <= longest {
        return text.into();
    }
    let cut = &text[..text.floor_char_boundary(longest)];
    let end = cut.rfind(char::is_whitespace).unwrap_or(0);
    format!("{} {CUT_MARK} ({} bytes more)", &cut[..end], text.len() - end).into()
}

/// Accepts a limited number of bytes and then rejects writes, so that formatting stops there, however long a value is.
#[derive(Debug, Clone, Default)]
pub struct BoundedText {
    text: String,
    left: usize,
}

impl BoundedText {
    /// An empty text with a limit of `bytes`.
    pub const fn new(bytes: usize) -> Self {
        Self { text: String::new(), left: bytes }
    }

    /// The text that was written.
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

    #[test]
    fn of_a_long_text_whole_words_are_kept() {
        assert_eq!(first_words("expr=[1 as a]", 13), "expr=[1 as a]");
        assert_eq!(first_words("expr=[x, hunter2hunter2]", 15), "expr=[x, … (16 bytes more)");
        assert_eq!(first_words(&"é".repeat(10), 5), " … (20 bytes more)");
    }
}
