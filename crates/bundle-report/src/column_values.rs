//! Parsing the texts of a histogram: the tracking server's page also parses the edges from them.

use chrono::{NaiveDate, NaiveDateTime};
use serde_json::Value;

/// The maximum number of histogram ranges that are read.
const MAX_RANGES: usize = 1_000;

/// The ranges of a histogram in order: from, to, and the number of values. Empty if one of them is invalid.
pub(crate) fn sorted_ranges(histogram: &Value) -> Vec<(f64, f64, u64)> {
    let ranges = histogram.as_object().into_iter().flatten().take(MAX_RANGES);
    let ranges = ranges.map(|(range, count)| {
        let (from, to) = range_of(range)?;
        Some((from, to, count.as_u64()?))
    });
    let mut ranges = ranges.collect::<Option<Vec<_>>>().unwrap_or_default();
    ranges.sort_by(|a, b| a.0.total_cmp(&b.0));
    ranges
}

/// The range in a line of a histogram: `(0.95, 5.90]`, with numbers or times.
pub(crate) fn range_of(text: &str) -> Option<(f64, f64)> {
    let inner = text.strip_prefix(['(', '['])?.strip_suffix([')', ']'])?;
    let (from, to) = inner.split_once(", ")?;
    Some((number(from)?, number(to)?))
}

fn number(text: &str) -> Option<f64> {
    let of_time = |time: NaiveDateTime| {
        let time = time.and_utc();
        time.timestamp() as f64 + f64::from(time.timestamp_subsec_nanos()) / 1e9
    };
    let time = || {
        let formats = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"];
        let time = formats.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok());
        let midnight = || NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0);
        time.or_else(midnight).map(of_time)
    };
    text.parse().ok().or_else(time).filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_numbers() {
        assert_eq!(range_of("(1970-01-01 00:00:01.500, 1970-01-02]"), Some((1.5, 86_400.0)));
        assert_eq!(range_of("(1, 2"), None);
        assert_eq!(range_of("(NaN, inf]"), None);
    }
}
