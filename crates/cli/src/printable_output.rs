//! JSON and rows for output, without characters that affect a terminal.

use std::{
    io::{self, Write},
    str,
};

use daglight::policy::printable_lines;

/// Escapes everything that would affect a terminal, in the notation of JSON: a JSON document stays the same document. The text may
/// be written in arbitrary pieces.
pub(crate) struct PrintableOutput<W> {
    to: W,
    /// The beginning of a character whose remaining bytes come with the next piece.
    begun: Vec<u8>,
}

impl<W: Write> PrintableOutput<W> {
    pub(crate) fn new(to: W) -> Self {
        Self { to, begun: Vec::new() }
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        for chunk in bytes.utf8_chunks() {
            self.to.write_all(printable_lines(chunk.valid()).as_bytes())?;
            if !chunk.invalid().is_empty() {
                self.to.write_all("\u{fffd}".as_bytes())?;
            }
        }
        Ok(())
    }
}

impl<W: Write> Write for PrintableOutput<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut joined = std::mem::take(&mut self.begun);
        let text = if joined.is_empty() {
            bytes
        } else {
            joined.extend_from_slice(bytes);
            &joined
        };
        let whole = whole_characters(text);
        self.begun = text[whole..].to_vec();
        self.put(&text[..whole])?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// How many of the bytes form complete text: all except an incomplete character at the end.
fn whole_characters(bytes: &[u8]) -> usize {
    match str::from_utf8(bytes) {
        // Invalid bytes in the middle do not become valid with the next piece.
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        Err(_) => bytes.utf8_chunks().last().map_or(bytes.len(), |last| {
            let is_begun = str::from_utf8(last.invalid()).is_err_and(|error| error.error_len().is_none());
            bytes.len() - if is_begun { last.invalid().len() } else { 0 }
        }),
        Ok(_) => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_in_any_pieces_stays_the_same_and_acts_on_nothing() {
        let text = "a\u{9b}31m\u{202e}é日👍\n\"\u{ad}\u{e0041}";
        let document = serde_json::json!({ "text": text }).to_string() + "\n";
        for size in 1..document.len() {
            let mut output = PrintableOutput::new(Vec::new());
            for piece in document.as_bytes().chunks(size) {
                output.write_all(piece).unwrap();
            }
            let shown = String::from_utf8(output.to).unwrap();
            assert_eq!(shown, printable_lines(&document));
            assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap()["text"], text);
        }
    }

    #[test]
    fn what_is_not_text_is_replaced() {
        for size in 1..5 {
            let mut output = PrintableOutput::new(Vec::new());
            for piece in b"a\xff\x9b[31mb\xc3".chunks(size) {
                output.write_all(piece).unwrap();
            }
            let shown = String::from_utf8(output.to).unwrap();
            assert_eq!(shown, "a\u{fffd}\u{fffd}[31mb", "{size}");
        }
    }
}
