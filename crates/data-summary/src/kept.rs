//! The values of a column if all are kept, so that ranks among them are exact, within a memory limit that its partitions share.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// The maximum number of values of a column that are kept.
pub(super) const MAX_VALUES: usize = 1_000_000;
/// The maximum number of bytes for the kept values of all columns of an output.
const OUTPUT_BYTES: usize = 32 << 20;
/// The number of values that are allocated at once.
pub(super) const SEGMENT_VALUES: usize = 16_384;
const SEGMENT_BYTES: usize = SEGMENT_VALUES * size_of::<i64>();

/// The memory limit for the values of one column of an output. Clones share it: all partitions of an output together keep no more
/// values than one would. The first segment of each partition is free.
#[derive(Debug, Clone)]
pub(super) struct Room {
    max_values: usize,
    segments: Arc<AtomicUsize>,
}

impl Room {
    /// The share of one column among this many. It depends on nothing else, so that results for the same data are exact or not on
    /// every machine alike.
    pub(super) fn of_one_in(columns: usize) -> Self {
        // The columns of one output share the limit, so that a wide table takes no more memory than a narrow one.
        let segments = OUTPUT_BYTES / SEGMENT_BYTES / columns.max(1);
        Self {
            max_values: (segments * SEGMENT_VALUES).clamp(SEGMENT_VALUES, MAX_VALUES),
            segments: Arc::new(AtomicUsize::new(segments)),
        }
    }

    fn take(&self, segments: usize) -> bool {
        let left = |left: usize| left.checked_sub(segments);
        self.segments.fetch_update(Ordering::AcqRel, Ordering::Acquire, left).is_ok()
    }

    /// Tells other partitions to stop keeping values, which are no longer exact once they are merged.
    fn close(&self) {
        // The partitions of a column are merged in the end: if one had to stop keeping values, the others would keep theirs for
        // nothing.
        self.segments.store(0, Ordering::Release);
    }
}

/// All values of a column, or of a partition of it, as keys.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    room: Room,
    segments: Vec<Vec<i64>>,
    count: usize,
}

impl Kept {
    pub(super) fn new(room: Room) -> Self {
        Self { room, segments: Vec::new(), count: 0 }
    }

    /// Adds values as keys. Returns false if there is no room for them, in which case none is added.
    pub(super) fn add<T: Copy>(&mut self, values: &[T], key: impl Fn(T) -> i64) -> bool {
        let free = SEGMENT_VALUES.saturating_sub(self.segments.last().map_or(0, Vec::len));
        let more = values.len().saturating_sub(free).div_ceil(SEGMENT_VALUES);
        // All of them or none: the values must be those of whole batches.
        if self.count + values.len() > self.room.max_values || !self.room.take(more) {
            return false;
        }
        self.count += values.len();
        let mut values = values;
        while !values.is_empty() {
            if self.segments.last().is_none_or(|segment| segment.len() == SEGMENT_VALUES) {
                self.segments.push(Vec::new());
            }
            let Some(segment) = self.segments.last_mut() else { break };
            // Fills up the last segment first.
            let (now, later) = values.split_at(values.len().min(SEGMENT_VALUES - segment.len()));
            if segment.capacity() - segment.len() < now.len() {
                // Short columns have short segments; a vector growing by itself would exceed a segment.
                let capacity = (segment.len() + now.len()).max(2 * segment.len()).min(SEGMENT_VALUES);
                segment.reserve_exact(capacity - segment.len());
            }
            segment.extend(now.iter().map(|value| key(*value)));
            values = later;
        }
        true
    }

    /// Adds the values of another partition.
    ///
    /// # Errors
    /// Returns those values, if both together are too many.
    pub(super) fn merge(&mut self, other: Self) -> Result<(), Self> {
        if self.count + other.count > self.room.max_values {
            return Err(other);
        }
        self.count += other.count;
        // Moved instead of copied: their order is irrelevant, because they are sorted when needed.
        self.segments.extend(other.segments);
        Ok(())
    }

    /// The values, which are then no longer kept.
    pub(super) fn give_up(self) -> Vec<Vec<i64>> {
        self.room.close();
        self.segments
    }

    /// Replaces every key. The conversion must preserve the order.
    pub(super) fn convert_keys(&mut self, convert: impl Fn(i64) -> i64) {
        self.segments.iter_mut().flatten().for_each(|key| *key = convert(*key));
    }

    pub(super) fn keys(&self) -> Vec<i64> {
        let mut keys = Vec::with_capacity(self.count);
        self.segments.iter().for_each(|segment| keys.extend_from_slice(segment));
        keys
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.segments.iter().map(Vec::capacity).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_of_an_output_is_shared_by_its_columns() {
        let values = |columns| Room::of_one_in(columns).max_values;
        assert_eq!((values(0), values(1), values(4)), (MAX_VALUES, MAX_VALUES, MAX_VALUES));
        assert_eq!((values(5), values(8)), (51 * SEGMENT_VALUES, 32 * SEGMENT_VALUES));
        // The number that is always kept.
        assert_eq!((values(256), values(10_000)), (SEGMENT_VALUES, SEGMENT_VALUES));
    }

    #[test]
    fn partitions_share_the_room_of_a_column() {
        for partitions in [1, 2, 16, 100] {
            let room = Room::of_one_in(8);
            let mut kept: Vec<Kept> = (0..partitions).map(|_| Kept::new(room.clone())).collect();
            let mut count = 0;
            // Batches of different lengths go to the partitions in turn.
            for (batch, length) in [1, 8_192, 1_000, 20_000].into_iter().cycle().take(10_000).enumerate() {
                let partition = &mut kept[batch % partitions];
                if !partition.add(&vec![0_i64; length], |key| key) {
                    break;
                }
                count += length;
            }
            assert!(count > room.max_values - 2 * 20_000, "{partitions}: {count}");
            let capacity: usize = kept.iter().map(Kept::capacity).sum();
            assert!(capacity <= (32 + partitions) * SEGMENT_VALUES, "{partitions}: {capacity}");
        }
    }

    #[test]
    fn one_that_gives_up_closes_the_room_for_all() {
        let room = Room::of_one_in(1);
        let (mut one, mut other) = (Kept::new(room.clone()), Kept::new(room));
        assert!(one.add(&[1, 2, 3], |key| key));
        assert_eq!(one.give_up(), [vec![1, 2, 3]]);
        assert!(other.add(&vec![0; SEGMENT_VALUES], |key| key));
        assert!(!other.add(&[0], |key| key));
    }
}
