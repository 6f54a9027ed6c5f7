//! What values of a run can be, and how those are shown that cannot.

use std::{fs, path::Path, time::UNIX_EPOCH};

use chrono::{DateTime, Days, SecondsFormat, TimeDelta, Utc};

/// The beginning of 2000, in seconds: clocks that were never set begin before it.
const EARLIEST: i64 = 946_684_800;
/// How far what belongs to a run may be from it by another clock, and how much longer than its run a node may last: code that an
/// interrupt could not stop goes on.
pub(crate) const AROUND_RUN: TimeDelta = TimeDelta::hours(1);
/// How far the clock of a machine may be ahead of the one that says when its files were written.
pub(crate) const AHEAD: Days = Days::new(366);
/// Rows or bytes that nothing has: 2^60.
pub(crate) const MAX_ITEMS: u64 = 1 << 60;

/// Whether a time is that of a clock which was never set.
pub(crate) fn is_before_2000(at: DateTime<Utc>) -> bool {
    at.timestamp() < EARLIEST
}

/// Takes a count that is beyond what there can be, and says that it cannot be.
pub(crate) fn take_count(count: &mut Option<u64>, name: &str, most: u64, found: &mut Vec<String>) {
    if let Some(count) = count.take_if(|count| *count > most) {
        found.push(format!("{name}, {count}, cannot be"));
    }
}

/// A number with few digits: 1e308 would have 309 of them.
pub(crate) fn in_short(number: f64) -> String {
    let is_handy = number == 0.0 || !number.is_finite() || (1e-6..1e15).contains(&number.abs());
    if is_handy { number.to_string() } else { format!("{number:e}") }
}

/// When a file was written; `None` where the system does not say.
pub(crate) fn last_written(path: &Path) -> Option<DateTime<Utc>> {
    let since_epoch = fs::symlink_metadata(path).ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    DateTime::from_timestamp(i64::try_from(since_epoch.as_secs()).ok()?, since_epoch.subsec_nanos())
}

pub(crate) fn shown(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}
