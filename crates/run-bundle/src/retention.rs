//! Which bundles may be deleted: those over a limit, unless something in them is still needed.

use chrono::{DateTime, TimeDelta, Utc};

/// The limits over which bundles are deleted. `None` means no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Runs of this age or older are deleted.
    pub max_age: Option<TimeDelta>,
    /// How many of the newest runs are kept.
    pub max_count: Option<usize>,
    /// The maximum size of the newest runs together, in bytes.
    pub max_bytes: Option<u64>,
}

/// What retention needs to know about a bundle.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Candidate {
    /// When its run started; `None` if unknown, in which case the run has no age.
    pub started_at: Option<DateTime<Utc>>,
    /// The size of all files of the run together.
    pub size_bytes: u64,
    /// Whether the run is still going, as far as is known.
    pub is_running: bool,
    /// Whether a newer Daglight wrote the manifest.
    pub is_newer: bool,
    /// Whether the process ended before the run did, and the run has not been closed yet.
    pub is_unclosed: bool,
    /// Whether there is an outbox that cannot be read.
    pub outbox_unreadable: bool,
    /// Records that are waiting for a server.
    pub waiting: u64,
    /// Whether the server has to be asked again what it has.
    pub is_unverified: bool,
    /// Whether the delivery of its records is expected.
    pub is_awaited: bool,
}

/// Why a bundle is kept although it is over a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kept {
    /// Its run is still going.
    Running,
    /// A newer Daglight wrote it: this version does not know what is still needed.
    Newer,
    /// Its run was never closed, and the server would show it as running forever.
    Unclosed,
    /// It is unknown what is waiting in it.
    Unreadable,
    /// Records are waiting in it.
    Waiting {
        /// How many.
        records: u64,
    },
    /// The server has to be asked what it has of the run.
    Unverified,
}

impl Limits {
    /// Whether there is any limit.
    pub fn any(&self) -> bool {
        self.max_age.is_some() || self.max_count.is_some() || self.max_bytes.is_some()
    }

    /// The positions of the candidates over a limit. The newest must come first; bundles without a start come last.
    pub fn over(&self, newest_first: &[Candidate], now: DateTime<Utc>) -> Vec<usize> {
        // If the subtraction overflows, nothing can be that old.
        let oldest = self.max_age.map(|age| now.checked_sub_signed(age).unwrap_or(DateTime::<Utc>::MIN_UTC));
        let mut total_bytes = 0_u64;
        let is_over = |(position, candidate): (usize, &Candidate)| {
            // From newest to oldest, so that the oldest ones exceed the limit.
            total_bytes = total_bytes.saturating_add(candidate.size_bytes);
            let too_old = oldest.zip(candidate.started_at).is_some_and(|(oldest, started)| started < oldest);
            let too_many = self.max_count.is_some_and(|count| position >= count);
            let too_large = self.max_bytes.is_some_and(|bytes| total_bytes > bytes);
            (too_old || too_many || too_large).then_some(position)
        };
        newest_first.iter().enumerate().filter_map(is_over).collect()
    }
}

impl Candidate {
    /// Why it is kept. With `even_waiting`, undelivered records are given up.
    pub fn kept_because(&self, even_waiting: bool) -> Option<Kept> {
        match self {
            Self { is_running: true, .. } => Some(Kept::Running),
            // Checked before `even_waiting`, which concerns only waiting records: this version does not know what else a newer
            // bundle needs.
            Self { is_newer: true, .. } => Some(Kept::Newer),
            _ if even_waiting => None,
            // Only if a server expects the run. A run that was never tracked is not shown as running anywhere.
            Self { is_unclosed: true, is_awaited: true, .. } => Some(Kept::Unclosed),
            // Whether or not a server is configured now: an unreadable outbox may be all that is left of a run that somebody wants
            // to repair.
            Self { outbox_unreadable: true, .. } => Some(Kept::Unreadable),
            Self { waiting: records @ 1.., is_awaited: true, .. } => {
                Some(Kept::Waiting { records: *records })
            }
            Self { is_unverified: true, is_awaited: true, .. } => Some(Kept::Unverified),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(days: i64, size_bytes: u64) -> Candidate {
        let started_at = Some(DateTime::UNIX_EPOCH - TimeDelta::days(days));
        Candidate { started_at, size_bytes, is_awaited: true, ..Candidate::default() }
    }

    #[track_caller]
    fn check_over(limits: Limits, expected: &[usize]) {
        let unknown = Candidate { started_at: None, ..run(0, 5) };
        let runs = [run(0, 10), run(2, 10), run(9, 10), unknown];
        assert_eq!(limits.over(&runs, DateTime::UNIX_EPOCH), expected, "{limits:?}");
    }

    #[test]
    fn a_bundle_is_over_each_limit_on_its_own() {
        let none = Limits::default();
        assert!(!none.any());
        check_over(none, &[]);
        check_over(Limits { max_age: Some(TimeDelta::days(3)), ..none }, &[2]);
        check_over(Limits { max_age: Some(TimeDelta::MAX), ..none }, &[]);
        check_over(Limits { max_count: Some(1), ..none }, &[1, 2, 3]);
        check_over(Limits { max_bytes: Some(20), ..none }, &[2, 3]);
        check_over(Limits { max_count: Some(3), max_age: Some(TimeDelta::days(1)), ..none }, &[1, 2, 3]);
    }

    #[track_caller]
    fn check_kept(change: fn(&mut Candidate), kept: Option<Kept>, even_waiting: Option<Kept>) {
        let mut candidate = run(1, 1);
        change(&mut candidate);
        assert_eq!(candidate.kept_because(false), kept, "{candidate:?}");
        assert_eq!(candidate.kept_because(true), even_waiting, "{candidate:?}");
    }

    #[test]
    fn what_is_still_needed_stays() {
        check_kept(|_| {}, None, None);
        check_kept(|run| run.is_running = true, Some(Kept::Running), Some(Kept::Running));
        check_kept(|run| run.is_newer = true, Some(Kept::Newer), Some(Kept::Newer));
        check_kept(|run| run.is_unclosed = true, Some(Kept::Unclosed), None);
        check_kept(|run| run.outbox_unreadable = true, Some(Kept::Unreadable), None);
        check_kept(|run| run.waiting = 3, Some(Kept::Waiting { records: 3 }), None);
        check_kept(|run| run.is_unverified = true, Some(Kept::Unverified), None);
        check_kept(|run| (run.waiting, run.is_awaited) = (3, false), None, None);
    }
}
