//! Numbers in readable form: durations, counts, bytes, shares and times.

use std::{borrow::Cow, path::Path, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use daglight_capture_policy::{shown_width, without_credentials};

use crate::report::Timeline;

/// Milliseconds as `820 µs`, `12 ms`, `1.24 s`, `17.4 s`, `2 min 05 s` or `3 h 07 min`.
pub fn duration(milliseconds: f64) -> String {
    let seconds = milliseconds / 1e3;
    match milliseconds {
        ms if !ms.is_finite() => "unknown".to_owned(),
        ..0.9995 => format!("{:.0} µs", milliseconds * 1e3),
        ..9.995 => format!("{milliseconds:.1} ms"),
        ..999.5 => format!("{milliseconds:.0} ms"),
        ..9_995.0 => format!("{seconds:.2} s"),
        ..59_950.0 => format!("{seconds:.1} s"),
        ..3_599_500.0 => {
            let seconds = seconds.round() as u64;
            format!("{} min {:02} s", seconds / 60, seconds % 60)
        }
        _ => {
            let minutes = (seconds / 60.0).round() as u64;
            format!("{} h {:02} min", minutes / 60, minutes % 60)
        }
    }
}

/// A measured time in the form of [`duration`].
pub fn elapsed(time: Duration) -> String {
    seconds(time.as_secs_f64())
}

/// Seconds in the form of [`duration`].
pub(crate) fn seconds(seconds: f64) -> String {
    duration(seconds * 1e3)
}

/// How the time of a run was spent, such as `Busy 1.20 s, setup 300 ms, idle 5.0 ms, 1.0 nodes at once.`; setup, and the end of an
/// interrupted run, only if they are not negligible.
pub(crate) fn time_spent(timeline: &Timeline) -> String {
    let mut parts = vec![format!("Busy {}", duration(timeline.busy_ms))];
    if timeline.setup_ms >= 1.0 {
        parts.push(format!("setup {}", duration(timeline.setup_ms)));
    }
    parts.push(format!("idle {}", duration(timeline.idle_ms)));
    if timeline.ending_ms >= 1.0 {
        parts.push(format!("ending after the interrupt {}", duration(timeline.ending_ms)));
    }
    if timeline.busy_ms > 0.0 {
        parts.push(format!("{:.1} nodes at once", timeline.parallelism));
    }
    parts.join(", ") + "."
}

/// The characters of a sparkline.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A bar for each number, relative to the largest; a dot for an unknown one.
pub fn sparkline(numbers: &[Option<f64>]) -> String {
    let known = || numbers.iter().flatten().copied().filter(|number| number.is_finite());
    let largest = known().fold(0.0, f64::max);
    let bar = |number: f64| {
        let height = if largest > 0.0 { number / largest * (BARS.len() - 1) as f64 } else { 0.0 };
        BARS.get(height.round() as usize).copied().unwrap_or(BARS[BARS.len() - 1])
    };
    numbers.iter().map(|number| number.filter(|number| number.is_finite()).map_or('·', bar)).collect()
}

/// Bytes as `52 B`, `1.2 kB`, `33 MB` or `1.5 GB`, in powers of 1000.
pub fn bytes(count: u64) -> String {
    scaled(count, &["B", "kB", "MB", "GB", "TB", "PB"])
}

/// A count in full up to a million, as `1,234`; beyond that as `12.3 M` or `4.5 G`.
pub(crate) fn count(count: u64) -> String {
    match count {
        ..1_000_000 => exact(count),
        _ => scaled(count, &["", "k", "M", "G", "T", "P"]),
    }
}

/// A count in full, with commas between its thousands: `1,234,567`.
pub fn exact(count: u64) -> String {
    let digits = count.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

fn scaled(count: u64, units: &[&str]) -> String {
    let mut value = count as f64;
    let mut unit = 0;
    // 999.5 is written as 1000, which belongs to the next unit.
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1e3;
        unit += 1;
    }
    let digits = if unit == 0 || value >= 99.95 { 0 } else { 1 };
    format!("{value:.digits$} {}", units[unit])
}

/// A share, as `29 %`.
pub(crate) fn percent(part: f64) -> String {
    match part * 100.0 {
        percent if !percent.is_finite() => "unknown".to_owned(),
        percent @ 0.0001..1.0 => format!("{percent:.1} %"),
        // Anything less than the whole is never shown as 100 %, so 99.96 does not become 100.0 either.
        percent @ 99.5..100.0 => format!("{:.1} %", percent.min(99.9)),
        percent => format!("{percent:.0} %"),
    }
}

/// A relative change, as ` (+29 %)`; empty if negligible.
pub(crate) fn signed(change: f64) -> String {
    let shown = percent(change.abs());
    let sign = if change >= 0.0 { "+" } else { "-" };
    if shown == "0 %" { String::new() } else { format!(" ({sign}{shown})") }
}

/// `1 node`, `2 nodes`, `1.2 M nodes`.
pub(crate) fn plural(number: u64, noun: &str) -> String {
    format!("{} {}", count(number), nouns(number, noun))
}

/// `1 row`, `1,234,567 rows`: a number in full.
pub fn exact_plural(number: u64, noun: &str) -> String {
    format!("{} {}", exact(number), nouns(number, noun))
}

fn nouns(number: u64, noun: &str) -> String {
    if number == 1 { noun.to_owned() } else { format!("{noun}s") }
}

/// A memory limit in the unit in which it was given, a multiple of 1,000 or of 1,024: DataFusion calls both MB.
pub(crate) fn memory_limit(limit: u64) -> String {
    const UNITS: [&str; 3] = ["KiB", "MiB", "GiB"];
    let mut number = limit as f64 / 1024.0;
    let mut unit = 0;
    while number >= 1024.0 && unit + 1 < UNITS.len() {
        number /= 1024.0;
        unit += 1;
    }
    format!("{}, or {number:.1} {}", bytes(limit), UNITS[unit])
}

/// A text around the position where it begins to differ from `other`, in at most this many characters, with marks where it is cut.
pub(crate) fn around_difference<'t>(text: &'t str, other: &str, characters: usize) -> Cow<'t, str> {
    let count = text.chars().count();
    if count <= characters {
        return Cow::Borrowed(text);
    }
    let same = text.chars().zip(other.chars()).take_while(|(a, b)| a == b).count();
    // A third of the room for the common part, so that the position of the difference is recognisable.
    let start = same.saturating_sub(characters / 3).min(count - characters);
    let shown: String = text.chars().skip(start).take(characters).collect();
    let [before, behind] = [start > 0, start + characters < count].map(|more| if more { "…" } else { "" });
    Cow::Owned(format!("{before}{shown}{behind}"))
}

/// The whole text, or its first characters and a mark.
pub(crate) fn beginning(text: &str, characters: usize) -> Cow<'_, str> {
    match text.char_indices().nth(characters) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
    }
}

/// An age in the largest unit that it fills: `5 s`, `12 min`, `3 h`, `8 d`.
pub fn age(age: TimeDelta) -> String {
    match age.num_seconds().max(0) {
        seconds @ ..60 => format!("{seconds} s"),
        seconds @ ..3_600 => format!("{} min", seconds / 60),
        seconds @ ..86_400 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// A timestamp, to the second.
pub(crate) fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A `daglight` command on a path, for pasting into a shell: `daglight sync 'my runs/out'`. If a path looks like a URL with a
/// password, that is not shown.
pub fn command(name: &str, path: &Path) -> String {
    format!("daglight {name} {}", shell_word(&without_credentials(&path.to_string_lossy())))
}

/// The first names of a list, and how many more there are: `a, b and 3 more`.
pub(crate) fn first_of<N: AsRef<str>>(names: impl IntoIterator<Item = N>, most: usize) -> String {
    let mut names = names.into_iter();
    let first: Vec<N> = names.by_ref().take(most).collect();
    let first = first.iter().map(|first| name(first.as_ref())).collect::<Vec<_>>().join(", ");
    match names.count() {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

/// The maximum width of a name in the display. The full name is in the JSON, and in a tooltip on the page.
const MAX_NAME_WIDTH: usize = 80;

/// The display form of the name of a node, a table, a column or an output. A name comes from a script, and may have any length.
pub(crate) fn name(name: &str) -> Cow<'_, str> {
    without_middle(name, MAX_NAME_WIDTH)
}

/// A text shortened in the middle to a width, so that names with different ends remain distinguishable.
pub(crate) fn without_middle(text: &str, width: usize) -> Cow<'_, str> {
    if shown_width(text) <= width {
        return text.into();
    }
    let tail_width = width.saturating_sub(1) / 3;
    let head_width = width.saturating_sub(1 + tail_width);
    let head = text.char_indices().map(|(at, c)| at + c.len_utf8());
    let head = head.take_while(|end| shown_width(&text[..*end]) <= head_width).last().unwrap_or(0);
    let tail = text.char_indices().rev().map(|(at, _)| at);
    let tail = tail.take_while(|at| shown_width(&text[*at..]) <= tail_width).last().unwrap_or(text.len());
    format!("{}…{}", &text[..head], &text[tail..]).into()
}

/// `a word` for a shell, quoted only where it must be.
pub fn shell_word(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_names_the_first_are_listed() {
        for (names, expected) in
            [(&["a"][..], "a"), (&["a", "b"], "a, b"), (&["a", "b", "c", "d"], "a, b and 2 more")]
        {
            assert_eq!(first_of(names, 2), expected);
        }
        assert_eq!(first_of([&*"n".repeat(99)], 2), format!("{}…{}", "n".repeat(53), "n".repeat(26)));
    }

    #[test]
    fn a_text_is_cut_in_its_middle() {
        for (text, width, expected) in [
            ("abcdefghij", 10, "abcdefghij"),
            ("abcdefghij", 7, "abcd…ij"),
            ("abcdefghij", 1, "…"),
            ("受注明細受注明細", 8, "受注…細"),
        ] {
            assert_eq!(without_middle(text, width), expected);
        }
    }

    #[test]
    fn a_sparkline_is_as_high_as_the_largest() {
        assert_eq!(sparkline(&[Some(0.0), Some(50.0), Some(100.0), None, Some(f64::NAN)]), "▁▅█··");
        assert_eq!(sparkline(&[]), "");
        assert_eq!(sparkline(&[Some(0.0)]), "▁");
    }

    #[track_caller]
    fn check(shown: String, expected: &str) {
        assert_eq!(shown, expected);
    }

    #[test]
    fn durations_have_the_unit_that_is_read_easily() {
        check(duration(0.0), "0 µs");
        check(duration(0.82), "820 µs");
        check(duration(9.99), "10.0 ms");
        check(duration(9.996), "10 ms");
        check(duration(999.6), "1.00 s");
        check(duration(9_994.0), "9.99 s");
        check(duration(59_949.0), "59.9 s");
        check(duration(59_951.0), "1 min 00 s");
        check(duration(125_000.0), "2 min 05 s");
        check(duration(3_599_900.0), "1 h 00 min");
        check(duration(f64::NAN), "unknown");
    }

    #[test]
    fn counts_and_bytes() {
        check(count(999), "999");
        check(count(12_034), "12,034");
        check(count(1_234_567), "1.2 M");
        check(bytes(999), "999 B");
        check(bytes(1_234), "1.2 kB");
        check(bytes(999_999), "1.0 MB");
        check(bytes(u64::MAX), "18447 PB");
        check(exact(0), "0");
        check(exact(1_000), "1,000");
        check(exact(1_234_567), "1,234,567");
        check(exact_plural(1, "row"), "1 row");
        check(exact_plural(1_234_567, "row"), "1,234,567 rows");
        check(plural(1, "node"), "1 node");
        check(plural(1_200, "row"), "1,200 rows");
        check(percent(0.293), "29 %");
        check(percent(0.004), "0.4 %");
        check(percent(4_997.0 / 5_004.0), "99.9 %");
        check(percent(0.9999999), "99.9 %");
        check(percent(0.996), "99.6 %");
        check(percent(1.0), "100 %");
    }

    #[test]
    fn of_a_long_text_the_beginning_is_shown() {
        assert_eq!(["", "äöü", "äöüß"].map(|text| beginning(text, 3)), ["", "äöü", "äöü…"]);
    }

    #[test]
    fn ages_are_shown_in_their_unit() {
        let ages = [5, 61, 7_300, 200_000, -3].map(|seconds| age(TimeDelta::seconds(seconds)));
        assert_eq!(ages, ["5 s", "1 min", "2 h", "2 d", "0 s"]);
    }

    #[test]
    fn words_for_a_shell_are_quoted_when_they_must_be() {
        check(shell_word("out/run_bundle/01"), "out/run_bundle/01");
        check(shell_word("my runs/it's"), r"'my runs/it'\''s'");
        check(shell_word(""), "''");
        check(command("sync", Path::new("my runs")), "daglight sync 'my runs'");
    }
}
