//! How much time a set of intervals covers, in bounded memory.

/// Intervals kept apart; beyond that the shortest gaps between them are closed.
const MAX_INTERVALS: usize = 4096;

/// The union of intervals of time. Intervals that overlap count once.
#[derive(Debug, Default, Clone)]
pub(crate) struct Coverage {
    /// Sorted and apart up to `merged`, as they came behind it.
    intervals: Vec<(u64, u64)>,
    merged: usize,
}

impl Coverage {
    pub(crate) fn add(&mut self, start: u64, end: u64) {
        self.intervals.push((start, end.max(start)));
        // As many new ones as there is room for, so that sorting stays cheap for each of them.
        if self.intervals.len() >= self.merged + MAX_INTERVALS {
            self.merge();
        }
    }

    /// The time covered.
    pub(crate) fn total(&mut self) -> u64 {
        self.merge();
        self.intervals.iter().map(|(start, end)| end - start).sum()
    }

    /// The intervals, sorted and apart.
    pub(crate) fn intervals(&mut self) -> &[(u64, u64)] {
        self.merge();
        &self.intervals
    }

    fn merge(&mut self) {
        self.intervals.sort_unstable();
        self.join_closer_than(0);
        if self.intervals.len() > MAX_INTERVALS {
            // The shortest gaps are given up, which changes the sum the least.
            let mut gaps: Vec<u64> = self.intervals.windows(2).map(|pair| pair[1].0 - pair[0].1).collect();
            gaps.sort_unstable();
            // Half of the room is made at once, so that this is seldom.
            let threshold = gaps[gaps.len() - MAX_INTERVALS / 2];
            self.join_closer_than(threshold);
        }
        self.merged = self.intervals.len();
    }

    fn join_closer_than(&mut self, gap: u64) {
        self.intervals.dedup_by(|next, kept| {
            let joins = next.0 <= kept.1.saturating_add(gap);
            if joins {
                kept.1 = kept.1.max(next.1);
            }
            joins
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(intervals: &[(u64, u64)], expected: &[(u64, u64)]) {
        let mut coverage = Coverage::default();
        for (start, end) in intervals {
            coverage.add(*start, *end);
        }
        assert_eq!(coverage.intervals(), expected);
    }

    #[test]
    fn overlapping_intervals_count_once() {
        check(&[(5, 9), (0, 3), (2, 4), (6, 7)], &[(0, 4), (5, 9)]);
        check(&[(0, 3), (3, 5)], &[(0, 5)]);
        check(&[(4, 1)], &[(4, 4)]);
        check(&[], &[]);
    }

    #[test]
    fn memory_is_bounded_and_long_gaps_survive() {
        let mut coverage = Coverage::default();
        for second in 0..200_000 {
            let rest = if second < 100_000 { 0 } else { 1_000_000 };
            coverage.add(second * 10 + rest, second * 10 + 9 + rest);
        }
        assert!(coverage.intervals.len() <= 3 * MAX_INTERVALS);
        let total = coverage.total();
        assert!((1_800_000..=2_000_000).contains(&total), "{total}");
        assert!(coverage.intervals().windows(2).any(|pair| pair[1].0 - pair[0].1 > 900_000));
    }
}
