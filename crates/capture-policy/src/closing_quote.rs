//! Finding the end of a quoted text.

/// The end of a quoted text: before the next quote that is written like `opening`. A quote that is doubled, or preceded by more
/// backslashes, belongs to the text.
pub(crate) fn closing_quote(text: &str, opening: &str) -> usize {
    let mark = opening.as_bytes()[opening.len() - 1];
    let escapes = opening.len() - 1;
    let bytes = text.as_bytes();
    let mut at = 0;
    let mut backslashes = 0;
    while at < bytes.len() {
        if bytes[at] == b'\\' {
            backslashes += 1;
        } else if bytes[at] == mark && (backslashes == escapes || (escapes == 0 && backslashes % 2 == 0)) {
            let is_doubled = escapes == 0 && at > 0 && bytes.get(at + 1) == Some(&mark);
            if !is_doubled {
                return at - escapes;
            }
            at += 1;
            backslashes = 0;
        } else {
            backslashes = 0;
        }
        at += 1;
    }
    text.len()
}
