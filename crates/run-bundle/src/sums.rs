//! Sums of counts from files.

use std::collections::BTreeMap;

/// The sum of counts that were read from files, which may contain anything; saturates instead of overflowing.
pub fn saturating_sum(counts: impl IntoIterator<Item = u64>) -> u64 {
    counts.into_iter().fold(0, u64::saturating_add)
}

/// Adds items to the count of a reason. The counts come from a file, so it saturates like [`saturating_sum`].
pub fn count_items(counts: &mut BTreeMap<String, u64>, reason: &str, items: u64) {
    let count = counts.entry(reason.to_owned()).or_default();
    *count = count.saturating_add(items);
}
