//! Which values a run can have, and how impossible ones are shown.

use std::{fs, path::Path, time::UNIX_EPOCH};

use chrono::{DateTime, Days, SecondsFormat, TimeDelta, Utc};

/// The beginning of 2000, in seconds: clocks that were never set show earlier times.
const EARLIEST: i64 = 946_684_800;
/// How far times from another clock may be outside the run, and how much longer than its run a node may last: code that an
/// interrupt cannot stop goes on.
pub(crate) const AROUND_RUN: TimeDelta = TimeDelta::hours(1);
/// How far the clock of a machine may be ahead of the clock that dates its files.
pub(crate) const AHEAD: Days = Days::new(366);
/// More rows or bytes than anything has: 2^60.
pub(crate) const MAX_ITEMS: u64 = 1 << 60;

/// The range of possible times, and the messages for times outside.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) first: DateTime<Utc>,
    pub(crate) last: DateTime<Utc>,
    /// The message for a time before the first one.
    pub(crate) too_early: &'static str,
    /// The message for a time after the last one.
    pub(crate) too_late: &'static str,
}

impl Times {
    /// The problem with a time; `None` if it is possible.
    pub(crate) fn problem(&self, at: DateTime<Utc>) -> Option<&'static str> {
        match at {
            at if at.timestamp() < EARLIEST => Some("is before 2000"),
            at if at < self.first => Some(self.too_early),
            at if at > self.last => Some(self.too_late),
            _ => None,
        }
    }

    /// Removes an impossible time, and reports it.
    pub(crate) fn take(&self, time: &mut Option<DateTime<Utc>>, name: &str, found: &mut Vec<String>) {
        let Some(at) = *time else { return };
        if let Some(problem) = self.problem(at) {
            found.push(format!("{name}, {}, {problem}", shown(at)));
            *time = None;
        }
    }
}

/// Removes an impossible count, and reports it.
pub(crate) fn take_count(count: &mut Option<u64>, name: &str, most: u64, found: &mut Vec<String>) {
    if let Some(count) = count.take_if(|count| *count > most) {
        found.push(format!("{name}, {count}, cannot be"));
    }
}

/// A number with few digits: written out, 1e308 would have 309.
pub(crate) fn in_short(number: f64) -> String {
    let is_handy = number == 0.0 || !number.is_finite() || (1e-6..1e15).contains(&number.abs());
    if is_handy { number.to_string() } else { format!("{number:e}") }
}

/// When a file was last written; `None` if the system does not provide it.
pub(crate) fn last_written(path: &Path) -> Option<DateTime<Utc>> {
    let since_epoch = fs::symlink_metadata(path).ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    DateTime::from_timestamp(i64::try_from(since_epoch.as_secs()).ok()?, since_epoch.subsec_nanos())
}

pub(crate) fn shown(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}
