//! Sums of what files say.

/// The sum of counts that were read from files, which may say anything: the largest number where it is larger than that.
pub fn saturating_sum(counts: impl IntoIterator<Item = u64>) -> u64 {
    counts.into_iter().fold(0, u64::saturating_add)
}
