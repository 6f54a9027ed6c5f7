//! A mergeable sketch of the order of a column's values, in bounded memory.
//!
//! A compactor after Karnin, Lang and Liberty ("Optimal Quantile Approximation in Streams", 2016): level `h` holds keys
//! that stand for `2^h` values each; a full level is sorted and every second key moves one level up. As there, the lowest
//! levels are replaced by a sampler once a column is long: one key out of each block, chosen at random, so that order or
//! period in the data cannot mislead it. Randomness comes from a fixed seed: the same values make the same sketch.
//!
//! The error of a rank in a long column has a standard deviation of 0.25 % of the number of values. As long as there is
//! room for all values ([`Room`]) they are kept, and ranks are exact.

use super::{
    kept::{Kept, Room},
    ranks::Ranks,
};

/// The error of a rank in a longer column, as a part of the number of values. It is four standard deviations.
pub(super) const RANK_ERROR: f64 = 0.01;
/// Keys that the level of single values, or of the sampler, takes before it is compacted.
const BASE_CAPACITY: usize = 2048;
/// Keys that each other level takes before it is compacted.
const LEVEL_CAPACITY: usize = 1024;
/// The values of a column that are all taken. Past these a block has at most one in `TAKEN_VALUES / 2` of the values.
const TAKEN_VALUES: u64 = 32_768;

/// Estimates ranks over keys whose order is the order of the values.
#[derive(Debug, Clone)]
pub(super) struct QuantileSketch {
    /// All keys, as long as there is room for them; the rest is empty until then.
    kept: Option<Kept>,
    /// `levels[h]` holds keys of weight `2^h`; those below `base` are empty.
    levels: Vec<Level>,
    base: usize,
    seen: u64,
    block: Block,
    choices: SplitMix,
    tosses: SplitMix,
}

#[derive(Debug, Clone, Default)]
struct Level {
    keys: Vec<i64>,
    next_takes_greater: Option<bool>,
}

/// The block of values out of which the sampler takes one.
#[derive(Debug, Clone, Default)]
struct Block {
    /// How many values of the block are still to come; 0 between blocks.
    remaining: u64,
    /// How many values are to be passed over before the chosen one, `u64::MAX` once it was taken.
    until_choice: u64,
}

impl QuantileSketch {
    pub(super) fn new(room: Room) -> Self {
        Self {
            kept: Some(Kept::new(room)),
            levels: vec![Level::default()],
            base: 0,
            seen: 0,
            block: Block::default(),
            choices: SplitMix(1),
            tosses: SplitMix(2),
        }
    }

    /// Adds values by their keys. Most values of a long column are never asked for one.
    pub(super) fn update<T: Copy>(&mut self, values: &[T], key: impl Fn(T) -> i64) {
        if self.kept.as_mut().is_some_and(|kept| kept.add(values, &key)) {
            return;
        }
        self.give_up_exactness();
        self.add(values, key);
    }

    /// Whether ranks are exact.
    pub(super) fn is_exact(&self) -> bool {
        self.kept.is_some()
    }

    fn give_up_exactness(&mut self) {
        if let Some(kept) = self.kept.take() {
            self.add_all(kept);
        }
    }

    fn add_all(&mut self, kept: Kept) {
        kept.give_up().iter().for_each(|keys| self.add(keys, |key| key));
    }

    fn add<T: Copy>(&mut self, mut values: &[T], key: impl Fn(T) -> i64) {
        while !values.is_empty() {
            // The sampler becomes coarser at fixed counts and not when there is no more room, so that a sketch
            // depends on the values and their number alone.
            let until_coarser = (TAKEN_VALUES << self.base) - self.seen;
            let taken = values.len().min(usize::try_from(until_coarser).unwrap_or(usize::MAX));
            let (now, later) = values.split_at(taken);
            if self.base == 0 {
                self.append(now.iter().map(|value| key(*value)));
            } else {
                self.sample(now, &key);
            }
            self.seen += taken as u64;
            self.coarsen_as_needed();
            values = later;
        }
    }

    pub(super) fn merge(&mut self, mut other: Self) {
        if let Some(others) = other.kept.take() {
            let left = match &mut self.kept {
                Some(kept) => kept.merge(others).err(),
                None => Some(others),
            };
            if let Some(others) = left {
                self.give_up_exactness();
                self.add_all(others);
            }
            return;
        }
        self.give_up_exactness();
        // Both must stand for blocks of one length: the finer one is made coarser, since the other way is not
        // possible.
        while self.base < other.base {
            self.coarsen();
        }
        while other.base < self.base {
            other.coarsen();
        }
        self.seen += other.seen;
        for (height, level) in other.levels.into_iter().enumerate() {
            self.level(height).keys.extend(level.keys);
            self.compact_from(height);
        }
        self.coarsen_as_needed();
    }

    /// Replaces every key. The order must stay.
    pub(super) fn convert_keys(&mut self, convert: impl Fn(i64) -> i64) {
        if let Some(kept) = &mut self.kept {
            kept.convert_keys(&convert);
        }
        for key in self.levels.iter_mut().flat_map(|level| &mut level.keys) {
            *key = convert(*key);
        }
    }

    /// The keys, for questions about ranks, and about these quantiles.
    pub(super) fn ranks(&self, fractions: &[f64]) -> Ranks {
        if let Some(kept) = &self.kept {
            return Ranks::exact(kept.keys(), fractions);
        }
        let levels = self.levels.iter().enumerate();
        Ranks::estimated(
            levels
                .flat_map(|(height, level)| level.keys.iter().map(move |key| (*key, 1 << height)))
                .collect(),
        )
    }

    fn append(&mut self, mut keys: impl ExactSizeIterator<Item = i64>) {
        while keys.len() > 0 {
            let base = &mut self.levels[self.base].keys;
            base.extend(keys.by_ref().take(BASE_CAPACITY.saturating_sub(base.len())));
            self.compact_from(self.base);
        }
    }

    fn sample<T: Copy>(&mut self, mut values: &[T], key: impl Fn(T) -> i64) {
        let block_length = 1_u64 << self.base;
        let mut chosen = [0; 256];
        let mut count = 0;
        while !values.is_empty() {
            if self.block.remaining == 0 {
                self.block =
                    Block { remaining: block_length, until_choice: self.choices.next() & (block_length - 1) };
            }
            let taken = values.len().min(usize::try_from(self.block.remaining).unwrap_or(usize::MAX));
            match usize::try_from(self.block.until_choice).ok().and_then(|index| values[..taken].get(index)) {
                Some(value) => {
                    chosen[count] = key(*value);
                    count += 1;
                    self.block.until_choice = u64::MAX;
                    if count == chosen.len() {
                        self.append(chosen.into_iter());
                        count = 0;
                    }
                }
                // The chosen one of the block is in a later batch.
                None if self.block.until_choice != u64::MAX => self.block.until_choice -= taken as u64,
                None => {}
            }
            self.block.remaining -= taken as u64;
            values = &values[taken..];
        }
        self.append(chosen[..count].iter().copied());
    }

    fn coarsen_as_needed(&mut self) {
        while self.seen >= TAKEN_VALUES << self.base {
            self.coarsen();
        }
    }

    /// Doubles the length of the sampler's blocks. A block that is not complete is given up; it is a tiny part of all.
    fn coarsen(&mut self) {
        self.promote(self.base);
        self.levels[self.base].keys = Vec::new();
        self.base += 1;
        self.level(self.base);
        self.block = Block::default();
        self.compact_from(self.base);
    }

    fn compact_from(&mut self, mut height: usize) {
        while let Some(level) = self.levels.get(height) {
            let capacity = if height == self.base { BASE_CAPACITY } else { LEVEL_CAPACITY };
            if level.keys.len() < capacity {
                break;
            }
            self.promote(height);
            height += 1;
        }
    }

    /// Moves one key of each pair of neighbours one level up. A coin decides whether it is the lesser one, and the next
    /// time it is the other, so that errors cancel. The greatest key of an odd number moves up by the toss of the coin.
    fn promote(&mut self, height: usize) {
        // By pairs: one compaction takes the smaller key of each two and the next one the greater, which halves the
        // error against independent tosses.
        let toss = self.tosses.next() & 1 == 1;
        let level = self.level(height);
        let greater = match level.next_takes_greater.take() {
            Some(greater) => greater,
            None => {
                level.next_takes_greater = Some(!toss);
                toss
            }
        };
        let mut keys = std::mem::take(&mut level.keys);
        if height == self.base {
            keys.sort_unstable();
        } else {
            // Made of sorted runs, which the stable sort merges.
            keys.sort();
        }
        let (pairs, unpaired) = keys.as_chunks::<2>();
        let above = &mut self.level(height + 1).keys;
        above.extend(pairs.iter().map(|pair| pair[usize::from(greater)]));
        // A key without a partner goes up or is dropped, each as likely: kept always, the top of the order would
        // slowly grow heavier.
        above.extend(unpaired.iter().filter(|_| toss));
        keys.clear();
        self.levels[height].keys = keys;
    }

    #[cfg(test)]
    fn capacity(&self) -> usize {
        self.levels.iter().map(|level| level.keys.capacity()).sum::<usize>()
            + self.kept.as_ref().map_or(0, Kept::capacity)
    }

    fn level(&mut self, height: usize) -> &mut Level {
        while self.levels.len() <= height {
            self.levels.push(Level::default());
        }
        &mut self.levels[height]
    }
}

/// SplitMix64 of Steele, Lea and Flood: one multiplication chain per number, and any state is a good one.
#[derive(Debug, Clone)]
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kept::{MAX_VALUES, SEGMENT_VALUES};

    const FRACTIONS: [f64; 5] = [0.1, 0.25, 0.5, 0.75, 0.9];

    /// The room of a column among so many that only one segment is kept.
    fn no_room() -> Room {
        Room::of_one_in(1_000)
    }

    fn sketch_in(room: Room, values: impl Iterator<Item = i64>) -> QuantileSketch {
        let values: Vec<i64> = values.collect();
        let mut sketch = QuantileSketch::new(room);
        values.chunks(1000).for_each(|chunk| sketch.update(chunk, |value| value));
        sketch
    }

    fn sketch_of(values: impl Iterator<Item = i64>) -> QuantileSketch {
        sketch_in(no_room(), values)
    }

    /// Checks every quantile against the sorted values: some rank that the estimate may have is within 1 %.
    #[track_caller]
    fn check(sketch: &QuantileSketch, mut values: Vec<i64>) {
        values.sort_unstable();
        let ranks = sketch.ranks(&FRACTIONS);
        for fraction in FRACTIONS {
            let (below, above, _) = ranks.quantile(fraction).unwrap();
            let least = values.partition_point(|value| *value < below) as f64 / values.len() as f64;
            let greatest = values.partition_point(|value| *value <= above) as f64 / values.len() as f64;
            assert!(
                least - 0.01 <= fraction && fraction <= greatest + 0.01,
                "{fraction}: {below}..{above} has ranks {least}..{greatest} among {}",
                values.len()
            );
        }
        assert!(sketch.capacity() <= 2 * SEGMENT_VALUES, "{} keys", sketch.capacity());
    }

    #[test]
    fn ranks_are_within_one_percent_in_any_order() {
        for count in [1, 2, 10, 2_047, 2_048, 5_000, 16_384, 16_385, 70_000, 600_000] {
            for values in [
                (0..count).collect::<Vec<i64>>(),
                (0..count).rev().collect(),
                (0..count).map(|i| i % 8).collect(),
                (0..count).map(|i| i % 64).collect(),
                (0..count).map(|i| SplitMix(i as u64).next() as i64).collect(),
                (0..count).map(|i| (SplitMix(i as u64).next() >> 44).pow(3) as i64).collect(),
            ] {
                check(&sketch_of(values.iter().copied()), values);
            }
        }
    }

    #[test]
    fn merged_sketches_are_as_good() {
        for parts in [2, 3, 16] {
            let values: Vec<i64> = (0..400_000).map(|i| SplitMix(i).next() as i64 >> 20).collect();
            let mut merged = QuantileSketch::new(no_room());
            for part in 0..parts {
                merged.merge(sketch_of(values.iter().copied().skip(part).step_by(parts)));
            }
            check(&merged, values.clone());
            let mut uneven = sketch_of(values[..399_000].iter().copied());
            uneven.merge(sketch_of(values[399_000..].iter().copied()));
            check(&uneven, values);
        }
    }

    #[test]
    fn how_values_are_cut_into_batches_does_not_matter() {
        let values: Vec<i64> = (0..200_000).map(|i| SplitMix(i).next() as i64).collect();
        let mut whole = QuantileSketch::new(no_room());
        whole.update(&values, |value| value);
        for length in [1, 7, 8_192] {
            let mut cut = QuantileSketch::new(no_room());
            values.chunks(length).for_each(|chunk| cut.update(chunk, |value| value));
            assert!(estimates(&cut) == estimates(&whole), "batches of {length}");
        }
    }

    fn estimates(sketch: &QuantileSketch) -> Vec<(i64, u64)> {
        match sketch.ranks(&[]) {
            Ranks::Estimated { cumulative, .. } => cumulative,
            Ranks::Exact { .. } => panic!("exact"),
        }
    }

    #[test]
    fn as_many_values_as_are_kept_are_exact_also_merged() {
        for (columns, most) in [(1_000, SEGMENT_VALUES), (4, MAX_VALUES)] {
            let values: Vec<i64> = (0..most as u64).map(|i| SplitMix(i).next() as i64).collect();
            let mut sorted = values.clone();
            sorted.sort_unstable();
            let expected: Vec<i64> =
                FRACTIONS.iter().map(|fraction| sorted[(fraction * (most - 1) as f64) as usize]).collect();
            let room = Room::of_one_in(columns);
            let cuts = [0, most / 3, most / 2, most];
            let mut merged = QuantileSketch::new(room.clone());
            for cut in cuts.windows(2) {
                merged.merge(sketch_in(room.clone(), values[cut[0]..cut[1]].iter().copied()));
            }
            let whole = sketch_in(Room::of_one_in(columns), values.iter().copied());
            for sketch in [&whole, &merged] {
                assert!(sketch.is_exact(), "{most}");
                let ranks = sketch.ranks(&FRACTIONS);
                let found: Vec<i64> =
                    FRACTIONS.iter().map(|fraction| ranks.quantile(*fraction).unwrap().0).collect();
                assert_eq!(found, expected, "{most}");
            }
            merged.merge(sketch_of([1].into_iter()));
            assert!(!merged.is_exact(), "{most}");
            let total = merged.ranks(&FRACTIONS).total();
            assert!(total.abs_diff(most as u64 + 1) <= most as u64 / 100, "{total} of {most}");
            check(&merged, values);
        }
    }

    #[test]
    fn few_values_are_exact() {
        let ranks = sketch_of([4, 1, 3, 2].into_iter()).ranks(&[0.0, 0.5]);
        assert_eq!(ranks.quantile(0.5), Some((2, 3, 0.5)));
        assert_eq!(ranks.quantile(0.0), Some((1, 1, 0.0)));
        assert_eq!(ranks.fraction_up_to(3), 0.75);
        assert_eq!(QuantileSketch::new(no_room()).ranks(&[0.5]).quantile(0.5), None);
    }
}
