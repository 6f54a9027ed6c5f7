//! Texts with replaced parts.

use std::{borrow::Cow, ops::Range};

use crate::secret::REDACTED;

/// The text written so far, followed by the rest of the original.
pub(crate) fn resumed<'a>(text: &'a str, written: usize, mut out: String) -> Cow<'a, str> {
    if written == 0 {
        return text.into();
    }
    out.push_str(&text[written..]);
    out.into()
}

/// The text with these ranges replaced. They may overlap: a comment may be inside another one.
pub(crate) fn without_ranges(text: &str, mut ranges: Vec<Range<usize>>) -> Cow<'_, str> {
    if ranges.is_empty() {
        return text.into();
    }
    ranges.sort_by_key(|range| range.start);
    let mut out = String::with_capacity(text.len());
    let mut written = 0;
    for range in ranges {
        if range.start >= written {
            out.push_str(&text[written..range.start]);
            out.push_str(REDACTED);
        }
        written = written.max(range.end);
    }
    out.push_str(&text[written..]);
    out.into()
}
