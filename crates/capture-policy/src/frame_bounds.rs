//! Removes the numbers in window frames, such as `ROWS 3 PRECEDING`, from column names that the engine generates for window
//! expressions.

use std::borrow::Cow;

use crate::rewritten::resumed;

/// The text after a bound.
const DIRECTIONS: [&str; 2] = [" PRECEDING", " FOLLOWING"];
/// The text before a bound.
const STARTS: [&str; 5] = ["BETWEEN ", "AND ", "ROWS ", "RANGE ", "GROUPS "];
/// A bound is a number or an interval.
const LONGEST: usize = 256;

/// The text with every bound of a window frame replaced by `?`. Unbounded ones are unchanged.
pub(crate) fn without_frame_bounds(text: &str) -> Cow<'_, str> {
    let (mut out, mut written, mut at) = (String::new(), 0, 0);
    let next = |from: usize| {
        let found = DIRECTIONS
            .iter()
            .filter_map(|direction| Some((from + text[from..].find(direction)?, direction.len())));
        found.min()
    };
    while let Some((end, length)) = next(at) {
        at = end + length;
        let near = &text[text.ceil_char_boundary(end.saturating_sub(LONGEST)).max(written)..end];
        let start = STARTS.iter().filter_map(|start| Some(near.rfind(start)? + start.len())).max();
        let Some(bound) = start.map(|start| &near[start..]) else { continue };
        if bound != "UNBOUNDED" && bound != "?" && bound.contains(|c: char| c.is_ascii_digit()) {
            out.push_str(&text[written..end - bound.len()]);
            out.push('?');
            written = end;
        }
    }
    resumed(text, written, out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_frames_are_replaced() {
        for (name, expected) in [
            (
                "sum(a) ROWS BETWEEN 3 PRECEDING AND CURRENT ROW",
                "sum(a) ROWS BETWEEN ? PRECEDING AND CURRENT ROW",
            ),
            ("ROWS BETWEEN 3 PRECEDING AND 4242 FOLLOWING", "ROWS BETWEEN ? PRECEDING AND ? FOLLOWING"),
            (
                "RANGE BETWEEN 1.5 FOLLOWING AND UNBOUNDED FOLLOWING",
                "RANGE BETWEEN ? FOLLOWING AND UNBOUNDED FOLLOWING",
            ),
            ("RANGE BETWEEN '2 days' PRECEDING AND CURRENT ROW", "RANGE BETWEEN ? PRECEDING AND CURRENT ROW"),
            ("RANGE INTERVAL 2 DAY PRECEDING", "RANGE ? PRECEDING"),
            ("GROUPS 7 PRECEDING + ROWS 8 FOLLOWING", "GROUPS ? PRECEDING + ROWS ? FOLLOWING"),
            ("ROWS ? PRECEDING", "ROWS ? PRECEDING"),
            ("3 PRECEDING runs", "3 PRECEDING runs"),
            ("größe ROWS 3 PRECEDING ö", "größe ROWS ? PRECEDING ö"),
        ] {
            assert_eq!(without_frame_bounds(name), expected);
            assert_eq!(without_frame_bounds(expected), expected, "a second time");
        }
        assert!(
            without_frame_bounds(&"ROWS 1 PRECEDING ".repeat(20_000)).starts_with("ROWS ? PRECEDING ROWS ?")
        );
    }
}
