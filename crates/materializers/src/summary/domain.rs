//! Exact counts of the different values of a column, as long as they are few.

use super::model::ValueCount;

/// Different values that are counted before it is given up.
const DIFFERENT_VALUES: usize = 1024;
/// Bytes kept of a value.
pub(super) const VALUE_BYTES: usize = 256;
/// Places for entries, so many that the next free one is near.
const PLACES: usize = 2 * DIFFERENT_VALUES;

/// Counts values by their hashes.
#[derive(Debug, Clone)]
pub(super) struct Domain {
    keeps_values: bool,
    entries: Vec<Entry>,
    /// Where the entries are, each at the place that its hash says or the next free one.
    places: Vec<Place>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    hash: u64,
    entry: u16,
}

impl Place {
    const FREE: Self = Self { hash: 0, entry: u16::MAX };
}

#[derive(Debug, Clone)]
struct Entry {
    hash: u64,
    value: Option<Box<str>>,
    count: u64,
}

/// Whether a domain can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Added {
    /// The value was known.
    Known,
    /// The value is new.
    New,
    /// The value would be one too many; it is not counted.
    Full,
}

impl Domain {
    /// An empty domain. Where values may not be shown it does not keep them either.
    pub(super) fn new(keeps_values: bool) -> Self {
        Self { keeps_values, entries: Vec::new(), places: vec![Place::FREE; PLACES] }
    }

    /// Counts a value. Its text is asked for only where it is new.
    #[inline]
    pub(super) fn add(&mut self, hash: u64, times: u64, text: impl FnOnce() -> Box<str>) -> Added {
        let mut index = hash as usize % PLACES;
        while let Some(entry) = self.entries.get_mut(usize::from(self.places[index].entry)) {
            if self.places[index].hash == hash {
                entry.count += times;
                return Added::Known;
            }
            index = (index + 1) % PLACES;
        }
        if self.entries.len() == DIFFERENT_VALUES {
            return Added::Full;
        }
        self.places[index] = Place { hash, entry: self.entries.len() as u16 };
        self.entries.push(Entry { hash, value: self.keeps_values.then(text), count: times });
        Added::New
    }

    /// Adds all values of another domain; false when that makes too many.
    pub(super) fn merge(&mut self, other: &Self) -> bool {
        other.entries.iter().all(|entry| {
            self.add(entry.hash, entry.count, || entry.value.clone().unwrap_or_default()) != Added::Full
        })
    }

    pub(super) fn hashes(&self) -> impl Iterator<Item = u64> {
        self.entries.iter().map(|entry| entry.hash)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn greatest_count(&self) -> u64 {
        self.entries.iter().map(|entry| entry.count).max().unwrap_or(0)
    }

    /// The most frequent values, those of equal frequency in their own order.
    pub(super) fn most_frequent(&self, limit: usize) -> Vec<ValueCount> {
        let mut counts: Vec<ValueCount> = self
            .entries
            .iter()
            .filter_map(|entry| {
                Some(ValueCount { value: entry.value.as_deref()?.to_owned(), count: entry.count })
            })
            .collect();
        counts.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.value.cmp(&b.value)));
        counts.truncate(limit);
        counts
    }
}

/// The text of some bytes, cut where it is long.
pub(super) fn cut_text(bytes: &[u8]) -> Box<str> {
    if bytes.len() <= VALUE_BYTES {
        return String::from_utf8_lossy(bytes).into();
    }
    let whole = bytes[..VALUE_BYTES].utf8_chunks().next().map_or("", |chunk| chunk.valid());
    format!("{whole}…").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(values: &[(&str, u64)]) -> Domain {
        let mut domain = Domain::new(true);
        for (value, count) in values {
            let hash = super::super::distinct::digest(value.as_bytes()).hash;
            domain.add(hash, *count, || (*value).into());
        }
        domain
    }

    #[test]
    fn equal_counts_are_in_order_of_value() {
        let mut merged = domain(&[("b", 1), ("c", 2)]);
        assert!(merged.merge(&domain(&[("a", 3), ("b", 2)])));
        let found: Vec<(String, u64)> =
            merged.most_frequent(9).into_iter().map(|found| (found.value, found.count)).collect();
        assert_eq!(found, [("a".to_owned(), 3), ("b".to_owned(), 3), ("c".to_owned(), 2)]);
        assert_eq!((merged.len(), merged.greatest_count()), (3, 3));
    }

    #[test]
    fn too_many_values_are_said() {
        let mut full = Domain::new(true);
        for hash in 0..DIFFERENT_VALUES as u64 {
            assert_eq!(full.add(hash, 1, Box::default), Added::New);
        }
        assert_eq!(full.add(5, 1, Box::default), Added::Known);
        assert_eq!(full.add(u64::MAX, 1, Box::default), Added::Full);
        assert!(!Domain::new(true).merge(&full) || full.len() == DIFFERENT_VALUES);
        let mut one = Domain::new(true);
        one.add(u64::MAX, 1, Box::default);
        assert!(!one.merge(&full));
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let text = format!("{}äöü", "x".repeat(VALUE_BYTES - 1));
        assert_eq!(&*cut_text(text.as_bytes()), format!("{}…", "x".repeat(VALUE_BYTES - 1)));
        let fits = "x".repeat(VALUE_BYTES);
        assert_eq!(&*cut_text(fits.as_bytes()), fits);
    }
}
