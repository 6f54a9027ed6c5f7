//! The last beat of a run, and how long none has come.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use daglight_heartbeat::Beat;

/// A heart that has not beaten for so many beats, and for no less than this time, proves nothing any more.
const MISSED_BEATS: u32 = 3;
const LEAST_MISSED: Duration = Duration::from_secs(3);

/// The last beat that was shown, so that what did not change is not written again, and that a heart which stands still is
/// seen.
#[derive(Default)]
pub(crate) struct LastBeat(Mutex<Shown>);

#[derive(Default)]
struct Shown {
    last: Option<(Instant, Beat)>,
    /// Since when it is known that none came for long.
    suspected: Option<Instant>,
    /// That none came for long was said since.
    silence_is_said: bool,
}

impl LastBeat {
    pub(crate) fn take(&self) -> Option<Beat> {
        self.lock().last.take().map(|(_, beat)| beat)
    }

    /// It, and when it was shown.
    pub(crate) fn shown(&self) -> Option<(Instant, Beat)> {
        self.lock().last.clone()
    }

    /// How long no beat came, where that is too long and was not said since the last one. The first counts from `started`.
    /// `confirmed_after` is how long that must have been known: a process that was stopped asks before its heart can beat.
    pub(crate) fn silence(
        &self,
        started: Instant,
        interval: Duration,
        confirmed_after: Duration,
    ) -> Option<Duration> {
        let mut shown = self.lock();
        let silent = shown.last.as_ref().map_or(started, |(at, _)| *at).elapsed();
        if silent < longest_pause(interval) {
            return None;
        }
        let suspected = *shown.suspected.get_or_insert_with(Instant::now);
        let is_new = suspected.elapsed() >= confirmed_after && !shown.silence_is_said;
        shown.silence_is_said |= is_new;
        is_new.then_some(silent)
    }

    pub(crate) fn replace(&self, beat: Beat) -> Option<Beat> {
        let shown = Shown { last: Some((Instant::now(), beat)), ..Shown::default() };
        std::mem::replace(&mut *self.lock(), shown).last.map(|(_, beat)| beat)
    }

    fn lock(&self) -> MutexGuard<'_, Shown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long no beat may come before the heart counts as silent.
pub(crate) fn longest_pause(interval: Duration) -> Duration {
    interval.saturating_mul(MISSED_BEATS).max(LEAST_MISSED)
}
