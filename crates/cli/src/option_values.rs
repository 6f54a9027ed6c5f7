//! Parsing the values of options.

use std::{num::NonZeroUsize, str::FromStr};

use chrono::TimeDelta;
use daglight::settings::byte_size;

pub(crate) fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| "expected a number from 0 to 65535".to_owned())
}

pub(crate) fn parameter(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().trim_start_matches('$').to_owned(), value.to_owned()))
        }
        _ => Err("expected NAME=VALUE, such as region=ASIA".to_owned()),
    }
}

pub(crate) fn count<T: FromStr>(text: &str) -> Result<T, String> {
    text.trim().parse().map_err(|_| "expected a whole number, 0 or more".to_owned())
}

/// A number of bytes, optionally with a unit.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    byte_size(text).ok_or_else(|| "expected a number of bytes, such as 65536, 512KB or 4GB".to_owned())
}

/// Like [`size`], for memory, which must not be zero.
pub(crate) fn memory(text: &str) -> Result<usize, String> {
    let bytes = size(text)?;
    let fits = usize::try_from(bytes).ok().filter(|bytes| *bytes > 0);
    fits.ok_or_else(|| "expected 1 byte or more, such as 512MB or 4GB".to_owned())
}

pub(crate) fn milliseconds(text: &str) -> Result<f64, String> {
    let ms = text.trim().parse::<f64>().ok().filter(|ms| ms.is_finite() && *ms >= 0.0);
    ms.ok_or_else(|| "expected milliseconds, 0 or more".to_owned())
}

pub(crate) fn positive(text: &str) -> Result<NonZeroUsize, String> {
    text.trim().parse().map_err(|_| "expected a whole number, 1 or more".to_owned())
}

/// At most as many as a runtime supports: each takes memory in the runtime, and a stack.
pub(crate) fn threads(text: &str) -> Result<NonZeroUsize, String> {
    const MOST: usize = 65_536;
    let threads = positive(text).ok().filter(|threads| threads.get() <= MOST);
    threads.ok_or_else(|| format!("expected a whole number from 1 to {MOST}"))
}

/// An age, up to as long as a clock can count.
pub(crate) fn age(text: &str) -> Result<TimeDelta, String> {
    let expected = || "expected an age such as 90m, 12h, 2d or 1w, or a number of days".to_owned();
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let count: i64 = digits.trim().parse().map_err(|_| expected())?;
    let unit_seconds = match &text[digits.len()..] {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3_600,
        "" | "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return Err(expected()),
    };
    if count < 0 {
        return Err(expected());
    }
    Ok(count.checked_mul(unit_seconds).and_then(TimeDelta::try_seconds).unwrap_or(TimeDelta::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_age(text: &str, expected: Option<i64>) {
        assert_eq!(age(text).ok().map(|age| age.num_minutes()), expected, "{text}");
    }

    #[test]
    fn an_age_has_a_unit_or_is_in_days() {
        check_age("90m", Some(90));
        check_age("1h", Some(60));
        check_age("2d", Some(2 * 24 * 60));
        check_age("2", Some(2 * 24 * 60));
        check_age("1w", Some(7 * 24 * 60));
        check_age("0", Some(0));
        check_age("100000000", Some(100_000_000 * 24 * 60));
        check_age("9223372036854775807w", Some(TimeDelta::MAX.num_minutes()));
        for wrong in ["", "h", "-1", "1y", "1.5d", "1h30m", "99999999999999999999"] {
            check_age(wrong, None);
        }
    }

    #[test]
    fn a_parameter_is_a_name_and_a_value() {
        assert_eq!(parameter("$day=1995-01-01=x"), Ok(("day".into(), "1995-01-01=x".into())));
        assert!(parameter("day").is_err());
        assert!(parameter("=1").is_err());
    }
}
