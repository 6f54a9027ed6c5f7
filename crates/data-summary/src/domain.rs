//! Exact counts of the distinct values of a column, as long as there are few.

use super::{model::ValueCount, moments::LengthSums};

/// How many distinct values are counted before giving up.
const DIFFERENT_VALUES: usize = 1024;
/// How many bytes of a value are kept.
pub(super) const VALUE_BYTES: usize = 256;
/// The number of slots, large enough that the next free one is near.
const PLACES: usize = 2 * DIFFERENT_VALUES;

/// Counts values by their hashes.
#[derive(Debug, Clone)]
pub(super) struct Domain {
    keeps_values: bool,
    /// In the order in which they were first seen.
    entries: Vec<Entry>,
    /// The hashes and counts of the entries, each in the slot of its hash or the next free one.
    places: Vec<Place>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Place {
    hash: u64,
    /// Zero if the slot is free.
    count: u64,
}

#[derive(Debug, Clone)]
struct Entry {
    place: u16,
    value: Option<Box<str>>,
    /// In characters.
    length: u64,
}

/// The result of adding a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Added {
    /// The value was known.
    Known,
    /// The value is new.
    New,
    /// There is no room for the value; it is not counted.
    Full,
}

impl Domain {
    /// An empty domain. If values may not be shown, they are not kept either.
    pub(super) fn new(keeps_values: bool) -> Self {
        Self { keeps_values, entries: Vec::new(), places: vec![Place::default(); PLACES] }
    }

    /// Counts a value, given its hash.
    #[inline]
    pub(super) fn add(&mut self, hash: u64, value: &[u8], times: u64) -> Added {
        match self.count(hash, times) {
            Ok(()) => Added::Known,
            Err(index) => self.add_new(index, Place { hash, count: times }, value),
        }
    }

    #[cold]
    fn add_new(&mut self, index: usize, place: Place, value: &[u8]) -> Added {
        let text = self.keeps_values.then(|| cut_text(value));
        self.insert(index, place, text, characters(value) as u64)
    }

    /// Counts a known value; for others, returns the slot that they would get.
    #[inline]
    fn count(&mut self, hash: u64, times: u64) -> Result<(), usize> {
        let mut index = hash as usize % PLACES;
        loop {
            let place = &mut self.places[index];
            if place.count == 0 {
                return Err(index);
            }
            if place.hash == hash {
                place.count += times;
                return Ok(());
            }
            index = (index + 1) % PLACES;
        }
    }

    fn insert(&mut self, index: usize, place: Place, value: Option<Box<str>>, length: u64) -> Added {
        if self.entries.len() == DIFFERENT_VALUES {
            return Added::Full;
        }
        self.places[index] = place;
        self.entries.push(Entry { place: index as u16, value, length });
        Added::New
    }

    /// The combination of both, unless that has too many values.
    pub(super) fn merged(&self, other: &Self) -> Option<Self> {
        let mut merged = self.clone();
        for entry in &other.entries {
            let place = other.place_of(entry);
            if let Err(index) = merged.count(place.hash, place.count)
                && merged.insert(index, place, entry.value.clone(), entry.length) == Added::Full
            {
                return None;
            }
        }
        Some(merged)
    }

    fn place_of(&self, entry: &Entry) -> Place {
        self.places[usize::from(entry.place)]
    }

    /// Adds the lengths of all values, weighted with their counts.
    pub(super) fn add_lengths(&self, sums: &mut LengthSums) {
        self.entries.iter().for_each(|entry| sums.add(entry.length, self.place_of(entry).count));
    }

    pub(super) fn hashes(&self) -> impl Iterator<Item = u64> {
        self.entries.iter().map(|entry| self.place_of(entry).hash)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn greatest_count(&self) -> u64 {
        self.places.iter().map(|place| place.count).max().unwrap_or(0)
    }

    /// The most frequent values; those with equal counts in their own order.
    pub(super) fn most_frequent(&self, limit: usize) -> Vec<ValueCount> {
        let mut counts: Vec<ValueCount> = self
            .entries
            .iter()
            .filter_map(|entry| {
                Some(ValueCount {
                    value: entry.value.as_deref()?.to_owned(),
                    count: self.place_of(entry).count,
                })
            })
            .collect();
        counts.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.value.cmp(&b.value)));
        counts.truncate(limit);
        counts
    }
}

/// The number of characters in a text: all bytes except continuation bytes.
pub(super) fn characters(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte & 0xC0 != 0x80).count()
}

/// The text of some bytes, cut if it is long.
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
            domain.add(hash, value.as_bytes(), *count);
        }
        domain
    }

    #[test]
    fn equal_counts_are_in_order_of_value() {
        let merged = domain(&[("b", 1), ("c", 2)]).merged(&domain(&[("a", 3), ("b", 2)])).unwrap();
        let found: Vec<(String, u64)> =
            merged.most_frequent(9).into_iter().map(|found| (found.value, found.count)).collect();
        assert_eq!(found, [("a".to_owned(), 3), ("b".to_owned(), 3), ("c".to_owned(), 2)]);
        assert_eq!((merged.len(), merged.greatest_count()), (3, 3));
    }

    #[test]
    fn too_many_values_are_reported() {
        let mut full = Domain::new(true);
        for hash in 0..DIFFERENT_VALUES as u64 {
            assert_eq!(full.add(hash, b"", 1), Added::New);
        }
        assert_eq!(full.add(5, b"", 1), Added::Known);
        assert_eq!(full.add(u64::MAX, b"", 1), Added::Full);
        let mut one = Domain::new(true);
        one.add(5, b"", 1);
        assert_eq!(one.merged(&full).map(|merged| merged.len()), Some(DIFFERENT_VALUES));
        one.add(u64::MAX, b"", 1);
        assert!(one.merged(&full).is_none());
    }

    #[test]
    fn lengths_are_those_of_all_occurrences() {
        let mut lengths = LengthSums::default();
        domain(&[("äöü", 2), ("", 1), ("four", 3)]).add_lengths(&mut lengths);
        let found = lengths.finish();
        assert_eq!((found.min, found.max, found.mean, found.empty), (Some(0), Some(4), Some(3.0), 1));
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let text = format!("{}äöü", "x".repeat(VALUE_BYTES - 1));
        assert_eq!(&*cut_text(text.as_bytes()), format!("{}…", "x".repeat(VALUE_BYTES - 1)));
        let fits = "x".repeat(VALUE_BYTES);
        assert_eq!(&*cut_text(fits.as_bytes()), fits);
    }
}
