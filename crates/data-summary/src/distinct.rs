//! Hashes that are the same on every machine, and an estimate of the number of distinct ones.
//!
//! HyperLogLog with 2^12 registers (Flajolet et al., 2007) and the estimator of Ertl ("New cardinality estimation
//! algorithms for HyperLogLog sketches", 2017): a standard error of 1.6 %, without bias for small numbers.

const PRECISION: u32 = 12;
const REGISTERS: usize = 1 << PRECISION;
/// The maximum rank: all other bits of the hash are zero.
const MAX_RANK: usize = 64 - PRECISION as usize + 1;

/// After how many hashes the minimum of the registers is recomputed.
const MINIMUM_INTERVAL: u32 = 1 << 14;

/// Estimates the number of distinct hashes.
#[derive(Debug, Clone)]
pub(super) struct DistinctSketch {
    registers: Box<[u8; REGISTERS]>,
    /// A hash whose rank bits are at least this cannot raise any register.
    threshold: u64,
    until_minimum: u32,
}

impl DistinctSketch {
    pub(super) fn new() -> Self {
        Self { registers: Box::new([0; REGISTERS]), threshold: u64::MAX, until_minimum: MINIMUM_INTERVAL }
    }

    pub(super) fn add_all(&mut self, hashes: impl ExactSizeIterator<Item = u64>) {
        let count = u32::try_from(hashes.len()).unwrap_or(u32::MAX);
        // A hash whose rank is below the lowest register changes nothing. When registers fill up, which is soon, a single
        // comparison skips nearly all hashes.
        let threshold = self.threshold;
        for hash in hashes {
            if hash << PRECISION <= threshold {
                self.add(hash);
            }
        }
        match self.until_minimum.checked_sub(count) {
            Some(left) => self.until_minimum = left,
            None => self.look_up_minimum(),
        }
    }

    pub(super) fn add(&mut self, hash: u64) {
        let register = &mut self.registers[(hash >> (64 - PRECISION)) as usize];
        let rank = ((hash << PRECISION).leading_zeros() as usize + 1).min(MAX_RANK) as u8;
        *register = (*register).max(rank);
    }

    fn look_up_minimum(&mut self) {
        let minimum = self.registers.iter().copied().min().unwrap_or(0);
        self.threshold = u64::MAX >> minimum.min(63);
        self.until_minimum = MINIMUM_INTERVAL;
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (register, rank) in self.registers.iter_mut().zip(other.registers.iter()) {
            *register = (*register).max(*rank);
        }
        self.look_up_minimum();
    }

    pub(super) fn estimate(&self) -> u64 {
        // Counted in lanes, because most registers may have the same rank, so that increments would wait for each other.
        let mut lanes = [[0_u16; MAX_RANK + 1]; 4];
        for quad in self.registers.as_chunks::<4>().0 {
            for (lane, rank) in lanes.iter_mut().zip(quad) {
                lane[usize::from(*rank)] += 1;
            }
        }
        let ranks: [u16; MAX_RANK + 1] =
            std::array::from_fn(|rank| lanes.iter().map(|lane| lane[rank]).sum());
        let registers = REGISTERS as f64;
        if usize::from(ranks[0]) == REGISTERS {
            return 0;
        }
        let mut z = registers * tau(1.0 - f64::from(ranks[MAX_RANK]) / registers);
        for count in ranks[1..MAX_RANK].iter().rev() {
            z = 0.5 * (z + f64::from(*count));
        }
        z += registers * sigma(f64::from(ranks[0]) / registers);
        let estimate = registers * registers / (2.0 * std::f64::consts::LN_2 * z);
        estimate.round() as u64
    }
}

/// Ertl's correction for registers that were never raised.
fn sigma(fraction: f64) -> f64 {
    let (mut power, mut scale, mut sum) = (fraction, 1.0, fraction);
    loop {
        power *= power;
        let before = sum;
        sum += power * scale;
        scale += scale;
        if sum == before {
            return sum;
        }
    }
}

/// Ertl's correction for registers that cannot be raised any more.
fn tau(fraction: f64) -> f64 {
    if fraction == 0.0 || fraction == 1.0 {
        return 0.0;
    }
    let (mut root, mut scale, mut sum) = (fraction, 1.0, 1.0 - fraction);
    loop {
        root = root.sqrt();
        let before = sum;
        scale *= 0.5;
        sum -= (1.0 - root) * (1.0 - root) * scale;
        if sum == before {
            return sum / 3.0;
        }
    }
}

/// Odd numbers without a pattern: the fractional digits of square roots of primes, as in SHA-512.
const SEEDS: [u64; 3] = [0x6A09_E667_F3BC_C909, 0xBB67_AE85_84CA_A73B, 0x3C6E_F372_FE94_F82B];

/// The hash of a fixed-width value. Its upper bits are the best ones.
#[inline]
pub(super) fn hash_bits(bits: u64) -> u64 {
    let spread = (bits ^ bits >> 32).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    (spread ^ spread >> 32).wrapping_mul(0xD6E8_FEB8_6659_FD93)
}

/// The hash of a value that does not fit 64 bits.
#[inline]
pub(super) fn hash_wide(low: u64, high: u64) -> u64 {
    fold(fold(low ^ SEEDS[0], high ^ SEEDS[1]) ^ SEEDS[2], SEEDS[0])
}

/// The results of a single pass over some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Digest {
    pub(super) hash: u64,
    pub(super) is_ascii: bool,
}

/// The hash of a value of any length: words multiplied to 128 bits and folded, as in wyhash.
#[inline]
pub(super) fn digest(bytes: &[u8]) -> Digest {
    let length = bytes.len();
    let mut state = SEEDS[2];
    let mut all_bits = 0;
    // By length, because most texts are short: up to 16 bytes are read as two words that may overlap, without a loop or a copy.
    let (a, b) = if length > 16 {
        // The last 16 bytes are read separately, and may overlap.
        for words in bytes[..length - 1].as_chunks::<16>().0 {
            let (a, b) = halves(words);
            all_bits |= a | b;
            state = fold(a ^ SEEDS[0], b ^ state);
        }
        halves(bytes.last_chunk().unwrap_or(&[0; 16]))
    } else if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        (u64::from_le_bytes(*first), u64::from_le_bytes(*last))
    } else if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        (u64::from(u32::from_le_bytes(*first)), u64::from(u32::from_le_bytes(*last)))
    } else {
        let byte = |index: usize| bytes.get(index).map_or(0, |byte| u64::from(*byte));
        (byte(0) | byte(1) << 8 | byte(2) << 16, 0)
    };
    all_bits |= a | b;
    let mixed = fold(a ^ SEEDS[1], b ^ state);
    Digest {
        hash: fold(mixed ^ SEEDS[0], SEEDS[1] ^ length as u64),
        is_ascii: all_bits & 0x8080_8080_8080_8080 == 0,
    }
}

#[inline]
fn halves(words: &[u8; 16]) -> (u64, u64) {
    let both = u128::from_le_bytes(*words);
    (both as u64, (both >> 64) as u64)
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[track_caller]
    fn check(different: u64, hash: impl Fn(u64) -> u64) {
        let mut sketch = DistinctSketch::new();
        for _ in 0..2 {
            let hashes: Vec<u64> = (0..different).map(&hash).collect();
            hashes.chunks(1000).for_each(|chunk| sketch.add_all(chunk.iter().copied()));
        }
        let estimate = sketch.estimate();
        let error = (estimate as f64 - different as f64).abs() / (different as f64).max(1.0);
        assert!(error < 0.05, "{estimate} for {different}");
    }

    #[test]
    fn estimates_are_within_five_percent() {
        for different in [0, 1, 2, 10, 100, 1_000, 5_000, 20_000, 100_000] {
            check(different, hash_bits);
            check(different, |value| hash_bits((value as f64).to_bits()));
            check(different, |value| hash_bits((value as f64 / 100.0).to_bits()));
            check(different, |value| hash_bits(u64::from((value as f32).to_bits())));
            check(different, |value| hash_bits(value << 40));
            check(different, |value| hash_bits(value * 86_400_000_000));
            check(different, |value| hash_bits(value.wrapping_neg()));
            check(different, |value| hash_wide(value, 0));
            check(different, |value| hash_wide(0, value));
            check(different, |value| digest(format!("customer-{value}@example.com").as_bytes()).hash);
            check(different, |value| digest(&value.to_be_bytes()).hash);
        }
    }

    #[test]
    fn merging_is_the_same_as_seeing_all() {
        let (mut odd, mut even, mut all) =
            (DistinctSketch::new(), DistinctSketch::new(), DistinctSketch::new());
        for value in 0..100_000 {
            let hash = hash_bits(value);
            all.add(hash);
            if value % 2 == 0 { even.add(hash) } else { odd.add(hash) }
        }
        odd.merge(&even);
        assert_eq!(odd.registers, all.registers);
    }

    #[test]
    fn digests_distinguish_values_and_include_what_is_not_ascii() {
        let text = "The quick brown fox jumps over the lazy dog, twice: äöü";
        let (mut hashes, mut parts) = (HashSet::new(), HashSet::new());
        for start in 0..8 {
            for (end, _) in text.char_indices().filter(|(end, _)| *end >= start) {
                let part = &text[start..end];
                let found = digest(part.as_bytes());
                assert_eq!(found.is_ascii, part.is_ascii(), "{part:?}");
                hashes.insert(found.hash);
                parts.insert(part);
            }
        }
        assert_eq!(hashes.len(), parts.len());
        assert_ne!(digest(b"\0").hash, digest(b"\0\0").hash);
    }

    #[test]
    fn hashes_are_the_same_on_every_machine() {
        const HASHES: [u64; 5] = [
            4_717_996_018_018_898_097,
            2_981_253_586_449_973_333,
            8_742_892_867_357_926_518,
            11_977_810_927_853_174_450,
            2_948_200_035_031_407_376,
        ];
        let hashes = [
            hash_bits(1),
            hash_wide(1, 2),
            digest(b"").hash,
            digest(b"daglight").hash,
            digest(b"telemetry of pipelines").hash,
        ];
        assert_eq!(hashes, HASHES);
    }
}
