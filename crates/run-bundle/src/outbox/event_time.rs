//! Times of events in the outbox: RFC 3339 in UTC with nanoseconds.
//!
//! Every event has a time and is encoded on the thread of the pipeline: chrono's own formatting would take a third of that.

use chrono::{DateTime, Datelike, Timelike, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::Error};

pub(crate) fn serialize<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    let fields = time.naive_utc();
    let (year, nanosecond) = (fields.year(), fields.nanosecond());
    let is_common = (0..10_000).contains(&year) && nanosecond < 1_000_000_000;
    if !is_common {
        return time.serialize(serializer);
    }
    let mut text = *b"0000-00-00T00:00:00.000000000Z";
    put(&mut text[..4], year.unsigned_abs());
    put(&mut text[5..7], fields.month());
    put(&mut text[8..10], fields.day());
    put(&mut text[11..13], fields.hour());
    put(&mut text[14..16], fields.minute());
    put(&mut text[17..19], fields.second());
    put(&mut text[20..29], nanosecond);
    serializer.serialize_str(str::from_utf8(&text).map_err(S::Error::custom)?)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
    DateTime::deserialize(deserializer)
}

fn put(digits: &mut [u8], mut number: u32) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(second: i64, nanosecond: u32, expected: &str) {
        let time = DateTime::from_timestamp(second, nanosecond).unwrap();
        let text = serialize(&time, serde_json::value::Serializer).unwrap();
        assert_eq!(text, expected);
        assert_eq!(deserialize(text).unwrap(), time);
    }

    #[test]
    fn times_are_written_as_they_are_read() {
        check(0, 0, "1970-01-01T00:00:00.000000000Z");
        check(1_795_259_791, 123_456_789, "2026-11-21T11:16:31.123456789Z");
        check(951_782_400, 5, "2000-02-29T00:00:00.000000005Z");
        check(-1, 999_999_999, "1969-12-31T23:59:59.999999999Z");
    }

    #[test]
    fn times_beyond_four_digits_and_leap_seconds_are_kept() {
        check(253_402_300_800, 0, "+10000-01-01T00:00:00Z");
        check(-62_198_755_200, 0, "-0001-01-01T00:00:00Z");
        check(1_483_228_799, 1_500_000_000, "2016-12-31T23:59:60.500Z");
    }
}
