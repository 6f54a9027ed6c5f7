//! The self time of spans, that is, without their children, in bounded memory.

use std::collections::HashMap;

use crate::coverage::Coverage;

/// The maximum number of spans whose children are remembered until they end.
const MAX_OPEN: usize = 2_000;

/// The time covered by the children of each span. A span ends after its children, and so comes after them in the file.
#[derive(Debug, Default)]
pub(crate) struct SelfTimes {
    below: HashMap<String, Coverage>,
    /// Whether some were not remembered, so that a span without known children may still have had some.
    any_lost: bool,
}

impl SelfTimes {
    /// Adds a span, and returns its self time in nanoseconds; `None` if its children were not remembered.
    pub(crate) fn take(&mut self, span_id: &str, parent_span_id: &str, start: u64, end: u64) -> Option<u64> {
        if !parent_span_id.is_empty() {
            if let Some(coverage) = self.below.get_mut(parent_span_id) {
                coverage.add(start, end);
            } else if self.below.len() < MAX_OPEN {
                self.below.entry(parent_span_id.to_owned()).or_default().add(start, end);
            } else {
                // From now on, a span without known children may still have had some.
                self.any_lost = true;
            }
        }
        // The file has a span after its children, so no more of them follow.
        match self.below.remove(span_id) {
            Some(mut coverage) => {
                let within = coverage.intervals().iter().map(|part| {
                    // A child may end after its parent.
                    part.end.min(end).saturating_sub(part.start.max(start))
                });
                Some((end - start).saturating_sub(within.sum()))
            }
            None => (!self.any_lost).then_some(end - start),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_overlap_count_once_and_only_within_the_span() {
        let mut times = SelfTimes::default();
        assert_eq!(times.take("a", "node", 10, 30), Some(20));
        assert_eq!(times.take("b", "node", 20, 40), Some(20));
        assert_eq!(times.take("c", "node", 90, 150), Some(60));
        assert_eq!(times.take("node", "", 0, 100), Some(60));
        assert_eq!(times.take("node", "", 0, 100), Some(100));
    }

    #[test]
    fn what_was_not_kept_is_unknown() {
        let mut times = SelfTimes::default();
        for parent in 0..MAX_OPEN {
            times.take("x", &format!("p{parent}"), 0, 1);
        }
        assert_eq!(times.take("y", "another", 0, 1), None);
        assert_eq!(times.take("p7", "", 0, 3), Some(2));
        assert_eq!(times.take("another", "", 0, 3), None);
    }
}
