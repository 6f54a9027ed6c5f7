//! Means and standard deviations, merged without loss of precision.

use super::model::Lengths;

/// Count, mean and sum of squared deviations, merged as by Chan, Golub and LeVeque.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Moments {
    pub(super) count: u64,
    pub(super) mean: f64,
    squares: f64,
}

impl Moments {
    /// Adds values, given the sum of their distances from `guess` and the sum of those squared.
    ///
    /// With the mean so far for a guess nothing is lost: where it is far from the mean of the values, the distance
    /// between both outweighs in all moments what was rounded.
    pub(super) fn add(&mut self, count: usize, guess: f64, sum: f64, sum_of_squares: f64) {
        // Of a batch, whose values are taken relative to a guess near their mean: the textbook formula is exact
        // enough there, and it is the one that vectorises.
        let squares = sum_of_squares - sum * sum / count as f64;
        let mean = guess + sum / count as f64;
        self.merge(
            Self { count: count as u64, mean, squares: if squares < 0.0 { 0.0 } else { squares } },
            0.0,
        );
    }

    /// Adds the moments of other values, whose mean is counted from `shift` instead of 0.
    pub(super) fn merge(&mut self, other: Self, shift: f64) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            *self = Self { mean: other.mean + shift, ..other };
            return;
        }
        let count = self.count + other.count;
        // Chan, Golub and LeVeque (1979): batches of any length are joined without the loss that sums of squares
        // have.
        let distance = other.mean + shift - self.mean;
        let weight = other.count as f64 / count as f64;
        self.mean += distance * weight;
        self.squares += other.squares + distance * distance * weight * self.count as f64;
        self.count = count;
    }

    /// The standard deviation of a sample; nothing for fewer than two values, or beyond what a float can say.
    pub(super) fn std(&self) -> Option<f64> {
        let degrees = self.count.checked_sub(1).filter(|degrees| *degrees > 0)?;
        finite((self.squares / degrees as f64).sqrt())
    }
}

/// Folds values in lanes that do not wait for each other, and then the lanes. One statistic at a time is what the
/// compiler turns into vector instructions; that several read the same chunk costs less. The lanes also keep rounding
/// errors small.
#[inline]
pub(super) fn fold_lanes(
    values: &[f64],
    start: f64,
    step: impl Fn(f64, f64) -> f64,
    join: impl Fn(f64, f64) -> f64,
) -> f64 {
    // Independent sums, because the compiler must not reorder additions of floats by itself, and one sum waits for
    // each addition in turn.
    const LANES: usize = 8;
    let mut lanes = [start; LANES];
    let (rows, rest) = values.as_chunks::<LANES>();
    for row in rows {
        for (lane, value) in lanes.iter_mut().zip(row) {
            *lane = step(*lane, *value);
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *lane = step(*lane, *value);
    }
    lanes.into_iter().fold(start, join)
}

/// The least value; infinity of none.
pub(super) fn least(values: &[f64]) -> f64 {
    fold_lanes(values, f64::INFINITY, |min, value| if value < min { value } else { min }, f64::min)
}

/// The greatest value; the negative infinity of none.
pub(super) fn greatest(values: &[f64]) -> f64 {
    fold_lanes(values, f64::NEG_INFINITY, |max, value| if value > max { value } else { max }, f64::max)
}

/// The sum of what the values are mapped to.
#[inline]
pub(super) fn sum_of(values: &[f64], map: impl Fn(f64) -> f64) -> f64 {
    fold_lanes(values, 0.0, |sum, value| sum + map(value), |sum, lane| sum + lane)
}

/// How often a value occurs.
pub(super) fn occurrences(values: &[f64], wanted: f64) -> u64 {
    values.iter().map(|value| u64::from(*value == wanted)).sum()
}

pub(super) fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// A sum that carries what rounding takes away from it, after Neumaier.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CompensatedSum {
    sum: f64,
    lost: f64,
}

impl CompensatedSum {
    pub(super) fn add(&mut self, value: f64) {
        let sum = self.sum + value;
        self.lost +=
            // Neumaier's variant of Kahan's sum, which also holds where a value is larger than the sum so far.
            if self.sum.abs() >= value.abs() { (self.sum - sum) + value } else { (value - sum) + self.sum };
        self.sum = sum;
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.add(other.sum);
        self.lost += other.lost;
    }

    pub(super) fn get(&self) -> f64 {
        self.sum + self.lost
    }
}

/// Lengths, summed exactly, so that their cut into batches does not matter.
#[derive(Debug, Clone, Default)]
pub(super) struct LengthSums {
    count: u64,
    sum: u128,
    sum_of_squares: u128,
    min: Option<u64>,
    max: Option<u64>,
    empty: u64,
}

impl LengthSums {
    pub(super) fn add(&mut self, length: u64, times: u64) {
        let (length, times) = (u128::from(length), u128::from(times));
        self.count += times as u64;
        self.sum = self.sum.saturating_add(length * times);
        self.sum_of_squares = self.sum_of_squares.saturating_add((length * length).saturating_mul(times));
        if length == 0 {
            self.empty += times as u64;
        }
        self.widen(length as u64);
    }

    pub(super) fn add_all(&mut self, lengths: &[u32]) {
        /// As many squares of lengths up to this fit 64 bits.
        // Up to here the squares of a batch fit into 64 bits, which is several times as fast as 128.
        const SHORT: u32 = 1 << 20;
        let (mut least, mut greatest) = (u32::MAX, 0);
        for length in lengths {
            least = least.min(*length);
            greatest = greatest.max(*length);
        }
        if greatest > SHORT || lengths.len() > SHORT as usize {
            lengths.iter().for_each(|length| self.add(u64::from(*length), 1));
            return;
        }
        if lengths.is_empty() {
            return;
        }
        let (mut sum, mut sum_of_squares, mut empty) = (0, 0, 0);
        for length in lengths {
            let length = u64::from(*length);
            sum += length;
            sum_of_squares += length * length;
            empty += u64::from(length == 0);
        }
        self.count += lengths.len() as u64;
        self.sum = self.sum.saturating_add(u128::from(sum));
        self.sum_of_squares = self.sum_of_squares.saturating_add(u128::from(sum_of_squares));
        self.empty += empty;
        self.widen(u64::from(least));
        self.widen(u64::from(greatest));
    }

    fn widen(&mut self, length: u64) {
        self.min = Some(self.min.map_or(length, |min| min.min(length)));
        self.max = Some(self.max.map_or(length, |max| max.max(length)));
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum = self.sum.saturating_add(other.sum);
        self.sum_of_squares = self.sum_of_squares.saturating_add(other.sum_of_squares);
        self.empty += other.empty;
        other.min.into_iter().chain(other.max).for_each(|length| self.widen(length));
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn finish(&self) -> Lengths {
        let count = u128::from(self.count);
        let spread = match (count.checked_mul(self.sum_of_squares), self.sum.checked_mul(self.sum)) {
            (Some(squares), Some(square)) => squares.saturating_sub(square) as f64,
            _ => count as f64 * self.sum_of_squares as f64 - self.sum as f64 * self.sum as f64,
        };
        Lengths {
            min: self.min,
            max: self.max,
            mean: (count > 0).then(|| self.sum as f64 / count as f64),
            std: (count > 1).then(|| (spread.max(0.0) / count as f64 / (count - 1) as f64).sqrt()),
            empty: self.empty,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(values: &[f64], mean: f64, std: f64) {
        for length in [1, 2, 3, 100] {
            let mut moments = Moments::default();
            for part in values.chunks(length) {
                let guess = if moments.count == 0 { part[0] } else { moments.mean };
                let distances = part.iter().map(|value| value - guess);
                moments.add(
                    part.len(),
                    guess,
                    distances.clone().sum(),
                    distances.map(|distance| distance * distance).sum(),
                );
            }
            assert!((moments.mean - mean).abs() <= 1e-12 * mean.abs(), "{} is not {mean}", moments.mean);
            let found = moments.std().unwrap();
            assert!((found - std).abs() <= 1e-9 * std, "{found} is not {std}");
        }
    }

    #[test]
    fn moments_merge() {
        check(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0], 5.0, (32.0_f64 / 7.0).sqrt());
        check(&(0..1000).map(|i| 1e9 + f64::from(i)).collect::<Vec<_>>(), 1e9 + 499.5, 288.819_436_096_749_2);
        let far = [1e9].into_iter().chain((0..1000).map(f64::from)).collect::<Vec<_>>();
        check(&far, 999_500.0, 31_606_961.275_683_93);
    }

    #[test]
    fn no_deviation_of_one_value() {
        let mut moments = Moments::default();
        moments.add(1, 3.0, 0.0, 0.0);
        assert_eq!((moments.mean, moments.std()), (3.0, None));
        assert_eq!(Moments::default().std(), None);
    }

    #[test]
    fn a_compensated_sum_keeps_small_values() {
        let mut sum = CompensatedSum::default();
        [1.0, 1e100, 1.0, -1e100].into_iter().for_each(|value| sum.add(value));
        assert_eq!(sum.get(), 2.0);
    }

    #[test]
    fn lengths_are_exact() {
        let mut lengths = LengthSums::default();
        lengths.add_all(&[0, 3]);
        lengths.add(5, 2);
        let found = lengths.finish();
        assert_eq!((found.min, found.max, found.empty, found.mean), (Some(0), Some(5), 1, Some(3.25)));
        assert!((found.std.unwrap() - 2.362_907_813_126_304).abs() < 1e-12);
        assert_eq!(LengthSums::default().finish(), Lengths::default());
    }
}
