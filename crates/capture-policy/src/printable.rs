//! Text from users, data and servers, made safe for terminals and for the report.
//!
//! A name, a value or a message may contain escape sequences that clear a screen, marks that reorder a line, invisible characters,
//! or line breaks that fake a line of ours. They are escaped (`\n`, `\u001b`) in the notation of JSON, so that a JSON document
//! remains the same document.

use std::{borrow::Cow, fmt::Write as _};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Marks where a text was cut.
pub const CUT_MARK: char = '…';

/// The prefix of every line of a message except the first, so that it cannot be mistaken for a line of Daglight's own.
pub(crate) const CONTINUED: &str = "\n  | ";

/// How many characters may share a column, such as a letter with its accents.
const CHARACTERS_PER_COLUMN: usize = 8;

/// The text in one line: line breaks, control characters and characters that reorder or hide text are escaped.
///
/// ```
/// use daglight_capture_policy::printable;
///
/// assert_eq!(printable("orders"), "orders");
/// assert_eq!(printable("a\n\u{1b}[31mb\u{202e}c"), "a\\n\\u001b[31mb\\u202ec");
/// ```
pub fn printable(text: &str) -> Cow<'_, str> {
    written_out(text, |_| false)
}

/// Like [`printable`], for multi-line text of ours: line feeds and tabs are kept.
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    written_out(text, |c| matches!(c, '\n' | '\t'))
}

/// A message that may have several lines: each further line is marked as part of the message, so that none can be mistaken for a
/// line of ours. Cut to `columns` in total, with a mark where it was cut.
pub fn printable_message(text: &str, columns: usize) -> String {
    let mut shown = String::new();
    let mut left = columns;
    let mut lines = text.trim_end().split('\n').peekable();
    while let Some(line) = lines.next() {
        // If more follows, a column is reserved for the mark.
        let continues = lines.peek().is_some();
        if push_within(&mut shown, line.trim_end_matches('\r'), &mut left, continues) || !continues {
            break;
        }
        if left <= CONTINUED.len() {
            shown.push(CUT_MARK);
            break;
        }
        shown.push_str(CONTINUED);
        left -= CONTINUED.len();
    }
    shown
}

/// Like [`printable`], cut to a width of `columns` on a terminal, including the mark.
pub fn printable_within(text: &str, columns: usize) -> String {
    let mut shown = String::new();
    push_within(&mut shown, text, &mut columns.clone(), false);
    shown
}

/// The width of a text on a terminal, after making it printable.
pub fn shown_width(text: &str) -> usize {
    text.width()
}

/// Adds the text as far as the columns allow. Returns true if it was cut. If the text `continues` after this part, at least one
/// column is left over.
fn push_within(shown: &mut String, text: &str, columns: &mut usize, continues: bool) -> bool {
    let mut widths = Vec::new();
    let mut used = 0;
    // Combining marks take no column: without a limit, a text of only those would never be cut.
    let most = columns.saturating_mul(CHARACTERS_PER_COLUMN);
    let mut fits = true;
    for c in text.chars() {
        let at = shown.len();
        push(shown, c, |_| false);
        let width: usize = shown[at..].chars().map(|c| c.width().unwrap_or(0)).sum();
        widths.push((at, width));
        used += width;
        fits = used <= *columns && widths.len() <= most;
        if !fits {
            break;
        }
    }
    if fits && (!continues || used < *columns) {
        *columns -= used;
        return false;
    }
    // If the text does not fit, space for the mark is freed.
    while let Some((at, width)) = widths.pop() {
        shown.truncate(at);
        used -= width;
        if used < *columns {
            break;
        }
    }
    if *columns > 0 {
        shown.push(CUT_MARK);
    }
    *columns = 0;
    true
}

fn written_out(text: &str, stays: impl Fn(char) -> bool) -> Cow<'_, str> {
    let Some((first, _)) = text.char_indices().find(|(_, c)| is_unseen(*c) && !stays(*c)) else {
        return Cow::Borrowed(text);
    };
    let mut shown = String::with_capacity(text.len() + 16);
    shown.push_str(&text[..first]);
    text[first..].chars().for_each(|c| push(&mut shown, c, &stays));
    Cow::Owned(shown)
}

fn push(shown: &mut String, c: char, stays: impl Fn(char) -> bool) {
    match c {
        c if !is_unseen(c) || stays(c) => shown.push(c),
        '\n' => shown.push_str("\\n"),
        '\r' => shown.push_str("\\r"),
        '\t' => shown.push_str("\\t"),
        c => {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a `String` cannot fail.
                let _ = write!(shown, "\\u{unit:04x}");
            }
        }
    }
}

/// Whether a terminal interprets a character instead of showing it, or shows nothing: control characters, line and paragraph
/// separators, and the format and default-ignorable characters of Unicode. Variation selectors are kept, because they only affect
/// the look of the preceding character.
const fn is_unseen(c: char) -> bool {
    matches!(
        c,
        '\0'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_acts_on_is_written_out() {
        for (text, expected) in [
            ("Größe 日本 👍🏽 e\u{301} ❤\u{fe0f}", "Größe 日本 👍🏽 e\u{301} ❤\u{fe0f}"),
            ("a\0b\u{7}\u{1b}]0;title\u{7}", "a\\u0000b\\u0007\\u001b]0;title\\u0007"),
            ("\u{7f}\u{80}\u{9b}31m\u{9f}", "\\u007f\\u0080\\u009b31m\\u009f"),
            ("\u{202a}\u{202e}\u{2066}\u{2069}", "\\u202a\\u202e\\u2066\\u2069"),
            ("\u{200b}\u{200d}\u{200f}\u{feff}\u{2060}\u{ad}", "\\u200b\\u200d\\u200f\\ufeff\\u2060\\u00ad"),
            ("\u{2028}\u{2029}\u{e0041}", "\\u2028\\u2029\\udb40\\udc41"),
            ("a\r\n\tb", "a\\r\\n\\tb"),
        ] {
            assert_eq!(printable(text), expected);
        }
        assert_eq!(printable_lines("a\n\tb\r\n\u{1b}"), "a\n\tb\\r\n\\u001b");
    }

    #[test]
    fn a_json_document_stays_the_same_document() {
        let text: String = (0..=0x10_ffff).filter_map(char::from_u32).collect();
        let document = serde_json::to_string_pretty(&serde_json::json!({ "text": text })).unwrap();
        let shown = printable_lines(&document);
        assert!(!shown.contains('\u{202e}'));
        let read: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert!(read["text"] == text);
    }

    #[test]
    fn a_text_is_cut_to_columns_with_a_mark() {
        for (text, columns, expected) in [
            ("abcdef", 6, "abcdef"),
            ("abcdef", 5, "abcd…"),
            ("日本語", 6, "日本語"),
            ("日本語", 5, "日本…"),
            ("日本語", 4, "日…"),
            ("ab\u{1b}cd", 9, "ab\\u001b…"),
            ("ab\u{1b}cd", 7, "ab…"),
            ("e\u{301}e\u{301}", 1, "…"),
            ("abc", 0, ""),
        ] {
            let shown = printable_within(text, columns);
            assert_eq!(shown, expected, "{text:?} {columns}");
            assert!(shown_width(&shown) <= columns);
        }
    }

    #[test]
    fn further_lines_of_a_message_cannot_pass_for_ours() {
        assert_eq!(printable_message("one\r\n  ok   two\n", 80), "one\n  |   ok   two");
        assert_eq!(printable_message("one\ntwo three", 11), "one\n  | tw…");
        assert_eq!(printable_message("one\ntwo", 2), "o…");
    }

    #[test]
    fn messages_of_many_lines_are_cut_in_all() {
        for (text, columns, expected) in [
            ("one\ntwo", 11, "one\n  | two"),
            ("one\ntwo", 9, "one\n  | …"),
            ("one\ntwo", 8, "one…"),
            ("one\ntwo", 4, "one…"),
            ("one\ntwo", 3, "on…"),
            ("one", 3, "one"),
            ("\ntwo", 1, "…"),
            ("one\ntwo", 0, ""),
        ] {
            assert_eq!(printable_message(text, columns), expected, "{text:?} {columns}");
        }
        let empty_lines = format!("a{}b", "\n".repeat(1_000_000));
        let shown = printable_message(&empty_lines, 80);
        assert!(shown.chars().count() <= 80 && shown.ends_with(CUT_MARK), "{} bytes", shown.len());
    }
}
