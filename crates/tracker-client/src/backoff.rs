//! Pauses between attempts.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

/// Pauses that double up to ten seconds, each shortened by chance so that many clients do not come back together.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause after one more failure, at least as long as the server asks for.
    pub(crate) fn next(&mut self, retry_after: Option<Duration>) -> Duration {
        let pause = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures += 1;
        let chance = (RandomState::new().hash_one(self.failures) % 1_000) as u32;
        let pause = pause / 2 + pause / 2 * chance / 1_000;
        retry_after.map_or(pause, |asked| asked.max(pause))
    }

    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_start_again() {
        let mut backoff = Backoff::default();
        for expected_ms in [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000] {
            let pause = backoff.next(None).as_millis();
            assert!((expected_ms / 2..=expected_ms).contains(&pause), "{pause} of {expected_ms} ms");
        }
        assert_eq!(backoff.next(Some(Duration::from_secs(30))), Duration::from_secs(30));
        backoff.reset();
        assert!(backoff.next(None) <= FIRST);
    }
}
