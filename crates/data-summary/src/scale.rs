//! What the integers of a column stand for, and how points on that scale are written.

use arrow::datatypes::TimeUnit;

use super::model::Point;

const NANOSECONDS_PER_SECOND: i128 = 1_000_000_000;
const NANOSECONDS_PER_DAY: i128 = 86_400 * NANOSECONDS_PER_SECOND;

/// From here on a float cannot distinguish an integer from the next one: the part of the way between two is then less than it
/// would lose.
const EXACT_IN_FLOATS: u128 = 1 << 53;

/// What an integer stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// Itself.
    Integer,
    /// Itself divided by a power of ten.
    Decimal {
        /// The power; a negative one multiplies.
        scale: i8,
    },
    /// Days since 1970-01-01.
    Days,
    /// Milliseconds since 1970-01-01, meant as dates.
    DateMilliseconds,
    /// Time since 1970-01-01T00:00:00, there or in UTC.
    Instant {
        /// The unit.
        unit: TimeUnit,
        /// Whether it is in UTC.
        utc: bool,
    },
    /// Time since midnight.
    TimeOfDay(TimeUnit),
    /// Time.
    Elapsed(TimeUnit),
}

impl Scale {
    /// The point at an integer, plus a part of the way to the next one.
    pub(super) fn point(self, whole: i128, part: f64) -> Point {
        let nanoseconds = |unit: i128| {
            // A thousandth of the unit, or a millisecond of a day; the digits below are noise.
            let step = if unit == NANOSECONDS_PER_DAY { 1_000_000 } else { (unit / 1_000).max(1) };
            whole.saturating_mul(unit) + (part * (unit / step) as f64).round() as i128 * step
        };
        match self {
            Self::Integer if part == 0.0 || whole.unsigned_abs() > EXACT_IN_FLOATS => i64::try_from(whole)
                .map(Point::Integer)
                .or_else(|_| u64::try_from(whole).map(Point::Unsigned))
                .unwrap_or(Point::Float(whole as f64)),
            Self::Decimal { scale } if part == 0.0 || whole.unsigned_abs() > EXACT_IN_FLOATS => {
                Point::Text(decimal_text(&whole.to_string(), scale))
            }
            Self::Integer => Point::Float(whole as f64 + part),
            Self::Decimal { scale } => Point::Float(unscaled(whole as f64 + part, scale)),
            Self::Days => Point::Text(date_text(nanoseconds(NANOSECONDS_PER_DAY))),
            Self::DateMilliseconds => {
                Point::Text(date_text(nanoseconds(unit_nanoseconds(TimeUnit::Millisecond))))
            }
            Self::Instant { unit, utc } => {
                let text = instant_text(nanoseconds(unit_nanoseconds(unit)));
                Point::Text(if utc { text + "Z" } else { text })
            }
            Self::TimeOfDay(unit) => Point::Text(time_text(nanoseconds(unit_nanoseconds(unit)))),
            Self::Elapsed(unit) => {
                // Nanoseconds as a decimal of seconds, without a float in between.
                let text = decimal_text(&nanoseconds(unit_nanoseconds(unit)).to_string(), 9);
                Point::Text(without_trailing_zeros(&text).to_owned())
            }
        }
    }

    /// A distance between two points, in the scale's unit; seconds for types of time.
    pub(super) fn distance(self, integers: f64) -> f64 {
        match self {
            Self::Integer => integers,
            Self::Decimal { scale } => unscaled(integers, scale),
            Self::Days => integers * 86_400.0,
            Self::DateMilliseconds => integers / 1e3,
            Self::Instant { unit, .. } | Self::TimeOfDay(unit) | Self::Elapsed(unit) => match unit {
                TimeUnit::Second => integers,
                TimeUnit::Millisecond => integers / 1e3,
                TimeUnit::Microsecond => integers / 1e6,
                TimeUnit::Nanosecond => integers / 1e9,
            },
        }
    }

    /// Half the width of the histogram of a column that has only this value: something that can be seen and written.
    pub(super) fn half_width(self, value: u128) -> f64 {
        match self {
            Self::Integer | Self::Decimal { .. } => (value as f64 / 1000.0).max(0.5),
            Self::Days => 0.5,
            _ => 0.5 / self.distance(1.0),
        }
    }
}

fn unit_nanoseconds(unit: TimeUnit) -> i128 {
    match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    }
}

/// `value / 10^scale`. Powers up to 10^22 are exact, so that the quotient is the nearest float.
pub(super) fn unscaled(value: f64, scale: i8) -> f64 {
    if scale >= 0 { value / 10_f64.powi(i32::from(scale)) } else { value * 10_f64.powi(-i32::from(scale)) }
}

/// A decimal in all its digits, from those of its unscaled integer.
pub(super) fn decimal_text(integer: &str, scale: i8) -> String {
    let (sign, digits) = match integer.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", integer),
    };
    let places = usize::from(scale.unsigned_abs());
    if scale <= 0 {
        let zeros = if digits == "0" { 0 } else { places };
        return format!("{sign}{digits}{}", "0".repeat(zeros));
    }
    // One digit stands before the point at least.
    let padded = format!("{digits:0>width$}", width = places + 1);
    let (whole, fraction) = padded.split_at(padded.len() - places);
    format!("{sign}{whole}.{fraction}")
}

fn without_trailing_zeros(decimal: &str) -> &str {
    decimal.trim_end_matches('0').trim_end_matches('.')
}

/// A date, with the time of day unless that is midnight.
fn date_text(nanoseconds: i128) -> String {
    let text = instant_text(nanoseconds);
    match text.strip_suffix("T00:00:00") {
        Some(date) => date.to_owned(),
        None => text,
    }
}

/// ISO 8601, with six digits and a sign for years that four digits do not hold.
fn instant_text(nanoseconds: i128) -> String {
    let (year, month, day) = civil(nanoseconds.div_euclid(NANOSECONDS_PER_DAY));
    let time = time_text(nanoseconds.rem_euclid(NANOSECONDS_PER_DAY));
    if (0..=9999).contains(&year) {
        format!("{year:04}-{month:02}-{day:02}T{time}")
    } else {
        // As ISO 8601 and browsers write years outside of four digits.
        format!("{year:+07}-{month:02}-{day:02}T{time}")
    }
}

fn time_text(nanoseconds: i128) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let seconds = nanoseconds.abs() / NANOSECONDS_PER_SECOND;
    let fraction = nanoseconds.abs() % NANOSECONDS_PER_SECOND;
    let text = format!("{sign}{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    match fraction {
        0 => text,
        _ if fraction % 1_000_000 == 0 => format!("{text}.{:03}", fraction / 1_000_000),
        _ if fraction % 1_000 == 0 => format!("{text}.{:06}", fraction / 1_000),
        _ => format!("{text}.{fraction:09}"),
    }
}

/// Year, month and day of a day since 1970-01-01 in the proleptic Gregorian calendar. Years are counted from March,
/// which puts the leap day at the end of one.
fn civil(day: i128) -> (i128, i128, i128) {
    const DAYS_FROM_YEAR_0_MARCH: i128 = 719_468;
    const DAYS_PER_ERA: i128 = 146_097;
    // Years that begin in March have their leap day at the end, where it disturbs no month.
    let day = day + DAYS_FROM_YEAR_0_MARCH;
    let (era, day_of_era) = (day.div_euclid(DAYS_PER_ERA), day.rem_euclid(DAYS_PER_ERA));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i128::from(month <= 2), month, day_of_month)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(scale: Scale, whole: i128, part: f64, expected: &str) {
        assert_eq!(scale.point(whole, part).to_string(), expected);
    }

    #[test]
    fn integers_and_decimals() {
        check(Scale::Integer, i128::from(i64::MIN), 0.0, "-9223372036854775808");
        check(Scale::Integer, i128::from(u64::MAX), 0.0, "18446744073709551615");
        check(Scale::Integer, -2, 0.5, "-1.5");
        check(Scale::Decimal { scale: 2 }, 12345, 0.0, "123.45");
        check(Scale::Decimal { scale: 4 }, -5, 0.0, "-0.0005");
        check(Scale::Decimal { scale: -3 }, 12, 0.0, "12000");
        check(Scale::Decimal { scale: -3 }, 0, 0.0, "0");
        check(Scale::Decimal { scale: 2 }, 12345, 0.5, "123.455");
        check(Scale::Integer, -(1 << 64), 0.0, "-1.8446744073709552e19");
        check(Scale::Integer, 1_000_000_000_000_000_100, 0.5, "1000000000000000100");
        check(Scale::Decimal { scale: 2 }, 1_000_000_000_000_000_101, 0.5, "10000000000000001.01");
    }

    #[test]
    fn dates_and_times() {
        let instant = |unit| Scale::Instant { unit, utc: false };
        check(Scale::Days, 0, 0.0, "1970-01-01");
        check(Scale::Days, 19_782, 0.0, "2024-02-29");
        check(Scale::Days, -1, 0.5, "1969-12-31T12:00:00");
        check(Scale::Days, i128::from(i32::MAX), 0.0, "+5881580-07-11");
        check(Scale::Days, -719_529, 0.0, "-000001-12-31");
        check(Scale::DateMilliseconds, 86_400_000, 0.0, "1970-01-02");
        check(instant(TimeUnit::Second), 1_700_000_000, 0.0, "2023-11-14T22:13:20");
        check(Scale::Instant { unit: TimeUnit::Millisecond, utc: true }, -1, 0.0, "1969-12-31T23:59:59.999Z");
        check(instant(TimeUnit::Nanosecond), i128::from(i64::MAX), 0.0, "2262-04-11T23:47:16.854775807");
        check(instant(TimeUnit::Second), i128::from(i64::MAX), 0.0, "+292277026596-12-04T15:30:07");
        check(instant(TimeUnit::Second), 1, 0.25, "1970-01-01T00:00:01.250");
        check(Scale::TimeOfDay(TimeUnit::Microsecond), 34_200_000_001, 0.0, "09:30:00.000001");
        check(Scale::Elapsed(TimeUnit::Millisecond), -1_500, 0.0, "-1.5");
        check(Scale::Elapsed(TimeUnit::Second), 100, 0.0, "100");
    }
}
