//! The time that a set of intervals covers, in bounded memory.

/// The maximum number of separate intervals; beyond that the shortest gaps are closed.
const MAX_INTERVALS: usize = 4096;

/// The union of time intervals, with the content of each part. Overlapping intervals count once.
#[derive(Debug, Clone)]
pub(crate) struct Coverage<T = ()> {
    /// Sorted and separate up to `merged`, unsorted after that.
    intervals: Vec<Interval<T>>,
    merged: usize,
}

/// A time interval with its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interval<T = ()> {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) content: T,
}

/// Content of intervals that can be added up.
pub(crate) trait Content {
    fn join(&mut self, other: &Self);
}

impl Content for () {
    fn join(&mut self, (): &Self) {}
}

impl<T> Default for Coverage<T> {
    fn default() -> Self {
        Self { intervals: Vec::new(), merged: 0 }
    }
}

impl<T> Interval<T> {
    pub(crate) fn length(&self) -> u64 {
        self.end - self.start
    }
}

impl Coverage {
    pub(crate) fn add(&mut self, start: u64, end: u64) {
        self.add_with(start, end, ());
    }
}

impl<T: Content> Coverage<T> {
    pub(crate) fn add_with(&mut self, start: u64, end: u64, content: T) {
        self.intervals.push(Interval { start, end: end.max(start), content });
        // As many new ones as there is room for, so that the amortised cost of sorting is low.
        if self.intervals.len() >= self.merged + MAX_INTERVALS {
            self.merge();
        }
    }

    /// The time covered.
    pub(crate) fn total(&mut self) -> u64 {
        self.merge();
        self.intervals.iter().map(Interval::length).sum()
    }

    /// The intervals, sorted and separate. If there were too many, gaps between them are closed, none of them longer than 1/2,048
    /// of the time from the first to the last.
    pub(crate) fn intervals(&mut self) -> &[Interval<T>] {
        self.merge();
        &self.intervals
    }

    fn merge(&mut self) {
        self.intervals.sort_unstable_by_key(|interval| (interval.start, interval.end));
        self.join_closer_than(0);
        if self.intervals.len() > MAX_INTERVALS {
            // The shortest gaps are closed, which changes the sum the least.
            let mut gaps: Vec<u64> =
                self.intervals.windows(2).map(|pair| pair[1].start - pair[0].end).collect();
            gaps.sort_unstable();
            // Half of the room is freed at once, so that this happens rarely.
            let threshold = gaps[gaps.len() - MAX_INTERVALS / 2];
            self.join_closer_than(threshold);
        }
        self.merged = self.intervals.len();
    }

    fn join_closer_than(&mut self, gap: u64) {
        self.intervals.dedup_by(|next, kept| {
            let joins = next.start <= kept.end.saturating_add(gap);
            if joins {
                kept.end = kept.end.max(next.end);
                kept.content.join(&next.content);
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
        let intervals = coverage.intervals().iter().map(|interval| (interval.start, interval.end));
        assert_eq!(intervals.collect::<Vec<_>>(), expected);
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
        assert!(coverage.intervals().windows(2).any(|pair| pair[1].start - pair[0].end > 900_000));
    }
}
