//! Which bundles may be deleted: those over a limit, unless something that is in them is still needed.

use chrono::{DateTime, TimeDelta, Utc};

/// What bundles are deleted for. A limit that is `None` deletes nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// The age from which on a run goes.
    pub max_age: Option<TimeDelta>,
    /// How many of the newest runs stay.
    pub max_count: Option<usize>,
    /// The bytes that the newest runs may take together.
    pub max_bytes: Option<u64>,
}

/// What retention has to know of a bundle.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Candidate {
    /// When its run started; `None` where nothing says it, and then it has no age.
    pub started_at: Option<DateTime<Utc>>,
    /// All files of the run together.
    pub size_bytes: u64,
    /// Whether the run goes on, as far as is known.
    pub is_running: bool,
    /// Whether a newer Daglight has written the manifest.
    pub is_newer: bool,
    /// Whether the process ended before the run did, and nobody has closed the run for it.
    pub is_unclosed: bool,
    /// Whether there is an outbox that cannot be read.
    pub outbox_unreadable: bool,
    /// Records that wait for a server.
    pub waiting: u64,
    /// Whether the server has to be asked once more what it has.
    pub is_unverified: bool,
    /// Whether somebody waits for what is to be delivered.
    pub is_awaited: bool,
}

/// Why a bundle stays although it is over a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kept {
    /// Its run goes on.
    Running,
    /// A newer Daglight has written it: what is needed of it is not known here.
    Newer,
    /// Its run was never closed, and the server would show it as running for ever.
    Unclosed,
    /// What waits in it is not known.
    Unreadable,
    /// Records wait in it.
    Waiting {
        /// How many.
        records: u64,
    },
    /// What the server has of it is to be verified.
    Unverified,
}

impl Limits {
    /// Whether there is a limit at all.
    pub fn any(&self) -> bool {
        self.max_age.is_some() || self.max_count.is_some() || self.max_bytes.is_some()
    }

    /// The positions of those over a limit. The newest comes first; bundles without a start come last.
    pub fn over(&self, newest_first: &[Candidate], now: DateTime<Utc>) -> Vec<usize> {
        // Nothing is older than the clock can say.
        let oldest = self.max_age.map(|age| now.checked_sub_signed(age).unwrap_or(DateTime::<Utc>::MIN_UTC));
        let mut total_bytes = 0_u64;
        let is_over = |(position, candidate): (usize, &Candidate)| {
            // The newest first: what is over the limit is what is oldest.
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
    /// Why it stays. With `even_waiting`, what is not delivered is given up.
    pub fn kept_because(&self, even_waiting: bool) -> Option<Kept> {
        match self {
            Self { is_running: true, .. } => Some(Kept::Running),
            // In front of `even_waiting`, which is about what waits: nobody here knows what else a newer bundle
            // needs.
            Self { is_newer: true, .. } => Some(Kept::Newer),
            _ if even_waiting => None,
            // Only where a server is waiting for it. A run that was never tracked has nobody who would see it as
            // running.
            Self { is_unclosed: true, is_awaited: true, .. } => Some(Kept::Unclosed),
            // Whether or not a server is configured now: what cannot be read may be all of a run that somebody wants
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
