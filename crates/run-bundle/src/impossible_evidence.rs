//! Values of a heartbeat that no process can have.

use std::ops::RangeInclusive;

use chrono::{DateTime, Utc};

use crate::{
    evidence::ProcessEvidence,
    possible::{AHEAD, AROUND_RUN, MAX_ITEMS, Times, in_short, shown, take_count},
};

/// More processor seconds than any process uses: a thousand processors for three centuries.
const MAX_CPU_SECONDS: f64 = 1e13;
/// More memory in bytes than any machine has, 4 PiB.
const MAX_RESIDENT_BYTES: u64 = 1 << 52;
/// The beats of a thousand years, at one per millisecond.
const MAX_BEATS: u64 = 1 << 45;
/// Seconds between two beats.
const MAX_INTERVAL_SECONDS: f64 = 1e9;

/// Removes the impossible values from a heartbeat, so that nothing is computed from them, and returns which they were. `written` is
/// when the file was written, and `run_started` when its run began, if known.
pub(crate) fn take_impossible_values(
    evidence: &mut ProcessEvidence,
    written: Option<DateTime<Utc>>,
    run_started: Option<DateTime<Utc>>,
) -> Vec<String> {
    let mut found = Vec::new();
    take_times(evidence, written, run_started, &mut found);
    let seen_for = (evidence.seen_at() - evidence.started_at + AROUND_RUN).as_seconds_f64();
    take_number(&mut evidence.cpu_seconds, "cpu_seconds", 0.0..=MAX_CPU_SECONDS, &mut found);
    take_number(&mut evidence.idle_share, "idle_share", 0.0..=1.0, &mut found);
    let mut gap = Some(evidence.longest_gap_seconds);
    take_number(&mut gap, "longest_gap_seconds", 0.0..=seen_for, &mut found);
    evidence.longest_gap_seconds = gap.unwrap_or_default();
    take_number(&mut evidence.late_seconds, "late_seconds", 0.0..=seen_for, &mut found);
    let mut interval = Some(evidence.interval_seconds);
    take_number(&mut interval, "interval_seconds", f64::MIN_POSITIVE..=MAX_INTERVAL_SECONDS, &mut found);
    evidence.interval_seconds = interval.unwrap_or_default();
    take_count(&mut evidence.peak_resident_bytes, "peak_resident_bytes", MAX_RESIDENT_BYTES, &mut found);
    let is_too_much = |bytes: u64| bytes > MAX_ITEMS;
    if let Some(io) = evidence.io.take_if(|io| is_too_much(io.bytes_read) || is_too_much(io.bytes_written)) {
        found.push(format!("io, {} bytes read and {} written, cannot be", io.bytes_read, io.bytes_written));
    }
    let mut beats = Some(evidence.beats);
    take_count(&mut beats, "beats", MAX_BEATS, &mut found);
    evidence.beats = beats.unwrap_or_default();
    found
}

/// The latest possible time in a file that was written then, by a process that began at `started`.
fn latest_of(written: DateTime<Utc>, started: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let is_ahead =
        written < started && written.checked_add_days(AHEAD).is_some_and(|latest| started <= latest);
    // The clock that gave the start was ahead of the clock of the file, and so are all other times.
    if is_ahead { started.checked_add_days(AHEAD) } else { written.checked_add_signed(AROUND_RUN) }
}

fn take_times(
    evidence: &mut ProcessEvidence,
    written: Option<DateTime<Utc>>,
    run_started: Option<DateTime<Utc>>,
    found: &mut Vec<String>,
) {
    let latest = written.and_then(|written| latest_of(written, run_started.unwrap_or(evidence.started_at)));
    let latest = latest.unwrap_or(DateTime::<Utc>::MAX_UTC);
    let earliest = run_started.and_then(|started| started.checked_sub_signed(AROUND_RUN));
    let whenever = Times {
        first: DateTime::<Utc>::MIN_UTC,
        last: latest,
        too_early: "is before the start",
        too_late: "is after the file was written",
    };
    let of_run = Times { first: earliest.unwrap_or(whenever.first), ..whenever };
    let is_possible = |at: DateTime<Utc>| of_run.problem(at).is_none();
    if let Some(problem) = of_run.problem(evidence.started_at) {
        found.push(format!("started_at, {}, {problem}", shown(evidence.started_at)));
        // The next known time of the process.
        let others = [run_started, Some(evidence.last_beat_at), evidence.last_seen_at, written];
        let other = others.into_iter().flatten().find(|at| is_possible(*at));
        evidence.started_at = other.unwrap_or(DateTime::UNIX_EPOCH);
    }
    let since_start = Times { first: evidence.started_at.max(of_run.first), ..of_run };
    let mut last_beat = Some(evidence.last_beat_at);
    since_start.take(&mut last_beat, "last_beat_at", found);
    evidence.last_beat_at = last_beat.unwrap_or(evidence.started_at);
    since_start.take(&mut evidence.last_seen_at, "last_seen_at", found);
    // By the system clock, which may have been set back since the run began.
    whenever.take(&mut evidence.signed_at, "signed_at", found);
    since_start.take(&mut evidence.stopped_at, "stopped_at", found);
    for task in &mut evidence.active_tasks {
        let mut since = Some(task.since);
        of_run.take(&mut since, "since of an active task", found);
        task.since = since.unwrap_or(evidence.started_at);
    }
}

fn take_number(number: &mut Option<f64>, name: &str, possible: RangeInclusive<f64>, found: &mut Vec<String>) {
    if let Some(number) = number.take_if(|number| !possible.contains(number)) {
        found.push(format!("{name}, {}, cannot be", in_short(number)));
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::{evidence::IoCounters, fixture::start};

    /// The evidence of a process that was seen for ten seconds, the last time when its file was written.
    fn evidence() -> ProcessEvidence {
        let mut evidence = ProcessEvidence::for_self(start(), 5.0);
        let seen = start() + TimeDelta::seconds(10);
        (evidence.last_beat_at, evidence.last_seen_at) = (start() + TimeDelta::seconds(5), Some(seen));
        evidence.signed_at = Some(seen);
        (evidence.beats, evidence.longest_gap_seconds) = (2, 5.0);
        (evidence.cpu_seconds, evidence.idle_share) = (Some(3.0), Some(0.5));
        evidence.peak_resident_bytes = Some(1 << 30);
        evidence.io = Some(IoCounters { bytes_read: 1, bytes_written: 2 });
        evidence
    }

    #[track_caller]
    fn check(
        change: impl FnOnce(&mut ProcessEvidence),
        expected: &[&str],
        restored: impl FnOnce(&mut ProcessEvidence),
    ) {
        let (mut changed, mut as_it_counts) = (evidence(), evidence());
        change(&mut changed);
        restored(&mut as_it_counts);
        let written = Some(start() + TimeDelta::seconds(10));
        assert_eq!(take_impossible_values(&mut changed, written, Some(start())), expected);
        assert_eq!(changed, as_it_counts);
    }

    #[test]
    fn numbers_that_no_process_has_are_left_out() {
        check(|_| (), &[], |_| ());
        check(
            |evidence| evidence.cpu_seconds = Some(-5.0),
            &["cpu_seconds, -5, cannot be"],
            |evidence| evidence.cpu_seconds = None,
        );
        for share in [-7.5, 1.1, f64::NAN] {
            check(
                |evidence| evidence.idle_share = Some(share),
                &[&*format!("idle_share, {share}, cannot be")],
                |evidence| evidence.idle_share = None,
            );
        }
        check(
            |evidence| evidence.longest_gap_seconds = 1e300,
            &["longest_gap_seconds, 1e300, cannot be"],
            |evidence| evidence.longest_gap_seconds = 0.0,
        );
        check(
            |evidence| evidence.late_seconds = Some(1e300),
            &["late_seconds, 1e300, cannot be"],
            |evidence| evidence.late_seconds = None,
        );
        check(
            |evidence| evidence.interval_seconds = 0.0,
            &["interval_seconds, 0, cannot be"],
            |evidence| evidence.interval_seconds = 0.0,
        );
        check(
            |evidence| evidence.peak_resident_bytes = Some(1 << 63),
            &["peak_resident_bytes, 9223372036854775808, cannot be"],
            |evidence| evidence.peak_resident_bytes = None,
        );
        check(
            |evidence| evidence.io = Some(IoCounters { bytes_read: u64::MAX, bytes_written: 0 }),
            &["io, 18446744073709551615 bytes read and 0 written, cannot be"],
            |evidence| evidence.io = None,
        );
    }

    #[test]
    fn a_time_after_its_file_was_written_or_before_its_run_is_none() {
        for later in [TimeDelta::hours(2), TimeDelta::days(3_000)] {
            check(
                |evidence| evidence.last_seen_at = Some(start() + later),
                &[&*format!("last_seen_at, {}, is after the file was written", shown(start() + later))],
                |evidence| evidence.last_seen_at = None,
            );
        }
        check(
            |evidence| evidence.last_seen_at = Some(start() - TimeDelta::seconds(1)),
            &["last_seen_at, 2026-11-21T05:09:46Z, is before the start"],
            |evidence| evidence.last_seen_at = None,
        );
        check(
            |evidence| evidence.last_beat_at = start() + TimeDelta::days(9),
            &["last_beat_at, 2026-11-30T05:09:47Z, is after the file was written"],
            |evidence| evidence.last_beat_at = start(),
        );
        check(
            |evidence| evidence.started_at = start() - TimeDelta::days(9),
            &["started_at, 2026-11-12T05:09:47Z, is before the start"],
            |_| (),
        );
        // The system clock was set back by less than its file shows.
        check(
            |evidence| evidence.last_seen_at = Some(start() + TimeDelta::minutes(50)),
            &[],
            |evidence| evidence.last_seen_at = Some(start() + TimeDelta::minutes(50)),
        );
    }
}
