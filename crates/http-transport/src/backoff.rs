//! Pauses between attempts.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// Pauses that double up to a limit. Each is randomly shortened by up to a half, so that processes that failed together do not
/// retry together.
///
/// ```
/// use std::time::Duration;
///
/// use daglight_http_transport::Backoff;
///
/// let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
/// assert!(backoff.next_pause(None) <= Duration::from_millis(100));
/// assert_eq!(backoff.next_pause(Some(Duration::from_secs(30))), Duration::from_secs(30));
/// ```
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// Pauses of at most `first`, then twice that, and so on up to `longest`.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0 }
    }

    /// The pause after another failure, at least as long as the server asks for.
    pub fn next_pause(&mut self, asked: Option<Duration>) -> Duration {
        let doublings = self.failures.min(31);
        let pause = self.first.saturating_mul(1 << doublings).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        let chance = (RandomState::new().hash_one(self.failures) % 1_000) as u32;
        // Divided first, so that the longest duration does not overflow.
        let pause = pause / 2 + (pause / 2_000) * chance;
        asked.map_or(pause, |asked| asked.max(pause))
    }

    /// Starts again with the first pause.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_start_again() {
        let first = Duration::from_millis(100);
        let mut backoff = Backoff::new(first, Duration::from_secs(10));
        for expected_ms in [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000] {
            let pause = backoff.next_pause(None).as_millis();
            assert!((expected_ms / 2..=expected_ms).contains(&pause), "{pause} of {expected_ms} ms");
        }
        assert_eq!(backoff.next_pause(Some(Duration::from_secs(30))), Duration::from_secs(30));
        backoff.reset();
        assert!(backoff.next_pause(None) <= first);
    }

    #[test]
    fn no_pause_overflows() {
        let mut backoff = Backoff::new(Duration::MAX, Duration::MAX);
        for _ in 0..100 {
            assert!(backoff.next_pause(Some(Duration::MAX)) == Duration::MAX);
        }
    }
}
