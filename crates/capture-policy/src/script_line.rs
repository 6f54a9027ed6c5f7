//! A line of a script, as an error quotes it.

use std::ops::Range;

use crate::{redact::Redactor, secret::REDACTED, sql_values::value_ranges};

impl Redactor {
    /// A line of a script for the console, and the new position of a column in it. Both numbers start at 1; columns are counted in
    /// characters. A column inside a hidden part moves to its end.
    ///
    /// Hidden parts are determined in the whole script, because a literal, a comment or the value of a setting may begin on an
    /// earlier line. So the line must be cut after this, not before.
    pub fn script_line(&self, script: &str, line: usize, column: usize) -> (String, usize) {
        let start = match line.saturating_sub(1) {
            0 => 0,
            before => script.match_indices('\n').nth(before - 1).map_or(script.len(), |(at, _)| at + 1),
        };
        let source = script[start..].split('\n').next().unwrap_or_default().trim_end_matches('\r');
        let before = column.saturating_sub(1);
        let place = source.char_indices().nth(before).map_or(source.len(), |(at, _)| at);
        let beyond = before.saturating_sub(source[..place].chars().count());

        let hidden = self.hidden_in(script);
        let shown_to = |end: usize| {
            let part = without_parts(script, start..start + end, &hidden);
            if self.shows_literals() { self.text(&part) } else { self.name_text(&part) }
        };
        let shown = shown_to(source.len());
        let column = shown_to(place).chars().count().min(shown.chars().count()) + beyond + 1;
        (shown, column)
    }

    /// The parts of a script that the policy hides, with their replacements, in text order.
    fn hidden_in(&self, script: &str) -> Vec<(Range<usize>, &'static str)> {
        let mut hidden = Vec::new();
        if self.shows_literals() {
            hidden.extend(self.sql_secrets(script).into_iter().map(|range| (range, REDACTED)));
        } else {
            let values = value_ranges(script, self.known().dialects);
            hidden.extend(values.into_iter().map(|range| (range, "?")));
        }
        hidden.extend(self.credentials(script).into_iter().map(|range| (range, REDACTED)));
        hidden.sort_by_key(|(range, _)| range.start);
        hidden
    }
}

/// A part of a text with the hidden ranges replaced, including those that begin before the part or end after it.
fn without_parts(text: &str, part: Range<usize>, hidden: &[(Range<usize>, &str)]) -> String {
    let mut out = String::new();
    let mut written = part.start;
    for (range, mark) in hidden {
        let (start, end) = (range.start.max(part.start), range.end.min(part.end));
        if start >= end || end <= written {
            continue;
        }
        // A range that overlaps the previous one shares its mark.
        if range.start >= written || out.is_empty() {
            out.push_str(&text[written..start]);
            out.push_str(mark);
        }
        written = end;
    }
    out.push_str(&text[written..part.end]);
    out
}

#[cfg(test)]
mod tests {
    use crate::{policy::Policy, profile::Profile};

    /// The line and a caret below the column, for the position of `zz` in the script.
    #[track_caller]
    fn check(profile: Profile, script: &str, expected: &str) {
        let at = script.rfind("zz").unwrap();
        let line = script[..at].matches('\n').count() + 1;
        let column = script[..at].rsplit('\n').next().unwrap().chars().count() + 1;
        let (shown, column) = Policy::of_profile(profile).redactor().script_line(script, line, column);
        assert_eq!(shown, expected);
        assert_eq!(shown.chars().skip(column - 1).take(2).collect::<String>(), "zz", "{shown} {column}");
    }

    #[test]
    fn what_begins_on_an_earlier_line_is_hidden() {
        for (script, expected) in [
            ("SELECT 1 /* MKl1\nMKl2 */ AS a, zz", "? */ AS a, zz"),
            ("SELECT 1 /*\nMKl1 /* MKl2\nMKl3 */ MKl4\n*/ AS a, zz", "*/ AS a, zz"),
            ("SELECT 'MKl1\r\nMKl2' AS a, 'ä' AS b, zz\r\nFROM t", "? AS a, ? AS b, zz"),
            ("SELECT $$MKl1\n'MKl2$$ AS a, zz", "? AS a, zz"),
            ("SELECT $tag$MKl1\nMKl2$tag$ AS a, zz", "? AS a, zz"),
            ("SELECT E'MKl1\\'\nMKl2' AS a, zz", "? AS a, zz"),
            ("SET datafusion.execution.parquet.created_by TO\nMKl2; SELECT zz", "?; SELECT zz"),
            ("SET datafusion.format.null =\n-- MKl1\nMKl2; SELECT zz", "?; SELECT zz"),
            ("SET TIME ZONE\nMKl2; SELECT zz", "?; SELECT zz"),
            ("COPY t TO 'x' OPTIONS (a\nMKl2, b MKl3, zz 'MKl4')", "?, b ?, zz ?)"),
            ("SELECT 'MKl1' AS a, zz", "SELECT ? AS a, zz"),
            ("SELECT 'MKl1', 'MKl2 b', zz -- MKl3", "SELECT ?, ?, zz -- ?"),
        ] {
            check(Profile::Prod, script, expected);
        }
    }

    #[test]
    fn credentials_that_begin_on_an_earlier_line_are_hidden() {
        for (script, expected) in [
            ("SELECT 1 AS x WHERE password =\n'MKl2' AND zz", "'[redacted]' AND zz"),
            ("SELECT 'MKl1\nMKl2' AS password, zz", "[redacted]' AS password, zz"),
            ("SELECT 1 AS x, $$MKl1\nMKl2$$ AS password, zz", "[redacted]$$ AS password, zz"),
            ("COPY t TO 'x' OPTIONS ('aws.secret_access_key'\n'MKl2', zz true)", "'[redacted]', zz true)"),
            ("SET datafusion.my.password TO\nMKl2; SELECT zz", "[redacted]; SELECT zz"),
            ("SELECT 'ä', 'a' AS b, zz", "SELECT 'ä', 'a' AS b, zz"),
        ] {
            check(Profile::Dev, script, expected);
        }
    }

    #[test]
    fn places_outside_of_the_line_and_of_the_script_are_kept() {
        let policy = Policy::of_profile(Profile::Prod);
        assert_eq!(policy.redactor().script_line("SELECT 'a'", 1, 14), ("SELECT ?".into(), 12));
        assert_eq!(policy.redactor().script_line("SELECT 'a'", 9, 1), (String::new(), 1));
        assert_eq!(policy.redactor().script_line("SELECT 'abc'", 1, 10), ("SELECT ?".into(), 9));
    }
}
