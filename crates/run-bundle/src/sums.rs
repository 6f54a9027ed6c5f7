//! Sums of what files say.

use std::collections::BTreeMap;

/// The sum of counts that were read from files, which may say anything: the largest number where it is larger than that.
pub fn saturating_sum(counts: impl IntoIterator<Item = u64>) -> u64 {
    counts.into_iter().fold(0, u64::saturating_add)
}

/// Adds so many items to those of a reason. The counts are those of a file, as in [`saturating_sum`].
pub fn count_items(counts: &mut BTreeMap<String, u64>, reason: &str, items: u64) {
    let count = counts.entry(reason.to_owned()).or_default();
    *count = count.saturating_add(items);
}
