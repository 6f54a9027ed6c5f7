//! Milliseconds with fractions, the unit of all durations in bundles and reports.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// A duration in milliseconds.
pub fn of(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// A duration in milliseconds, rounded to whole microseconds: more digits are noise that fills a page.
pub fn rounded(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// Converts nanoseconds, the unit of OpenTelemetry, to milliseconds.
pub fn of_nanoseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e6
}

/// Converts microseconds to milliseconds.
pub fn of_microseconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1e3
}

/// The milliseconds from one time to a later one; 0 if it is earlier.
pub fn between(from: DateTime<Utc>, until: DateTime<Utc>) -> f64 {
    // From whole microseconds: seconds as a float times 1000 would show 9 µs as 0.009000000000000001 ms in the JSON.
    (until - from).num_microseconds().map_or(f64::MAX, |microseconds| microseconds as f64 / 1e3).max(0.0)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn a_fraction_is_kept_as_far_as_a_clock_knows_it() {
        let start = DateTime::UNIX_EPOCH;
        assert_eq!(between(start, start + TimeDelta::microseconds(9)), 0.009);
        assert_eq!(between(start + TimeDelta::microseconds(9), start), 0.0);
        assert_eq!(rounded(Duration::from_nanos(1_234_567)), 1.235);
        assert_eq!((of_nanoseconds(1_500_000), of_microseconds(1_500)), (1.5, 1.5));
        assert_eq!(of(Duration::from_millis(1_500)), 1_500.0);
    }
}
