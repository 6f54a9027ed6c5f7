//! The clock for recorded times: the system time at the start of a run, and monotonic from then on.
//!
//! The system clock may be changed during a run: by hand, by NTP, or when a virtual machine moves. All times of a run come from one
//! clock, so that nothing ends before it began or seems to last for hours. Times that other processes compare with their own clock,
//! such as signs of life, use the system clock instead.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Instant, SystemTime},
};

use chrono::{DateTime, Utc};

/// The reference time, and the number of open runs.
#[derive(Debug, Clone, Copy)]
struct Anchor {
    system: SystemTime,
    steady: Instant,
}

#[derive(Debug)]
struct Clock {
    anchor: Option<Anchor>,
    runs: usize,
}

static CLOCK: Mutex<Clock> = Mutex::new(Clock { anchor: None, runs: 0 });

fn clock() -> MutexGuard<'static, Clock> {
    CLOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The current time.
pub fn now() -> SystemTime {
    let Anchor { system, steady } = anchored(&mut clock());
    system + steady.elapsed()
}

/// Like [`now`].
#[expect(clippy::disallowed_methods, reason = "the same clock")]
pub fn utc_now() -> DateTime<Utc> {
    now().into()
}

/// A run is open for as long as this value lives. The first run sets the clock from the system time; runs that overlap with it
/// share the clock.
#[derive(Debug)]
#[must_use]
pub struct OpenRun(());

impl OpenRun {
    /// Starts a run now.
    #[expect(clippy::new_without_default, reason = "it does something")]
    pub fn new() -> Self {
        let mut clock = clock();
        if clock.runs == 0 {
            // A process may run for weeks between two runs, and the monotonic clock drifts from the system clock: a quartz with 20
            // ppm is off by 12 s per week.
            clock.anchor = None;
            anchored(&mut clock);
        }
        clock.runs += 1;
        Self(())
    }
}

impl Drop for OpenRun {
    fn drop(&mut self) {
        let mut clock = clock();
        clock.runs = clock.runs.saturating_sub(1);
    }
}

#[expect(clippy::disallowed_methods, reason = "this is where the clock is set by that of the system")]
fn anchored(clock: &mut Clock) -> Anchor {
    *clock.anchor.get_or_insert_with(|| Anchor { system: SystemTime::now(), steady: Instant::now() })
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "it is the clock that is tested")]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_clock_goes_on_beside_one_that_jumps() {
        let run = OpenRun::new();
        let before = now();
        // As if the system clock had been set back while the run is open.
        let hours = Duration::from_secs(5 * 3_600);
        CLOCK.lock().unwrap().anchor.as_mut().unwrap().system += hours;
        let ahead = now();
        let beside = OpenRun::new();
        assert!(
            now() >= ahead && ahead >= before + hours,
            "a run that starts beside another shares its clock"
        );
        drop((run, beside));
        let _next = OpenRun::new();
        assert!(now() < before + hours, "the next run has the system's");
    }
}
