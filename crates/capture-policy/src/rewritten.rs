//! Texts with parts of them replaced.

use std::{borrow::Cow, ops::Range};

use crate::secret::REDACTED;

/// What was written, and the rest of the text behind it.
pub(crate) fn resumed<'a>(text: &'a str, written: usize, mut out: String) -> Cow<'a, str> {
    if written == 0 {
        return text.into();
    }
    out.push_str(&text[written..]);
    out.into()
}

/// The text with what stands in these ranges replaced. They may overlap: a comment may be inside of what is one already.
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
