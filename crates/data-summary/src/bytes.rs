//! The summary of a text or binary column.

use super::{
    chunks::CHUNK,
    distinct::{DistinctSketch, digest},
    domain::{Added, Domain, VALUE_BYTES, characters, cut_text},
    model::{Category, Details, Text},
    moments::LengthSums,
    options::SummaryOptions,
};

/// Accumulates texts or binary values.
#[derive(Debug, Clone)]
pub(super) struct ByteStrings {
    content: Content,
    extremes: Extremes,
    /// The values and their counts, until there are too many.
    domain: Option<Domain>,
    /// Values after that, and then also those that were in the domain.
    lengths: LengthSums,
    /// The same values as for the lengths.
    distinct: DistinctSketch,
}

/// The type of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// Texts.
    Text,
    /// Texts from a dictionary, which are a category unless there are too many.
    Dictionary,
    /// Arbitrary bytes.
    Binary,
}

impl ByteStrings {
    pub(super) fn new(content: Content, options: &SummaryOptions) -> Self {
        let is_text = content != Content::Binary;
        Self {
            content,
            lengths: LengthSums::default(),
            extremes: Extremes::new(is_text && options.text_min_max),
            domain: is_text.then(|| Domain::new(options.values)),
            distinct: DistinctSketch::new(),
        }
    }

    /// Adds values. `are_ascii` is whether they are known to be ASCII.
    pub(super) fn update<'a>(&mut self, mut values: impl Iterator<Item = &'a [u8]>, are_ascii: bool) {
        // The first value without room. The iterator is after it.
        if let Some(beyond) = self.count_in_domain(&mut values) {
            self.look_at_each(std::iter::once(beyond), are_ascii);
        }
        if self.domain.is_none() {
            self.look_at_each(values, are_ascii);
        }
    }

    /// Counts values in the domain until it is full; returns the first one without room.
    fn count_in_domain<'a>(&mut self, values: impl Iterator<Item = &'a [u8]>) -> Option<&'a [u8]> {
        let domain = self.domain.as_mut()?;
        for value in values {
            match domain.add(digest(value).hash, value, 1) {
                // The usual case for a category: it was compared with the extremes the first time.
                Added::Known => {}
                Added::New => self.extremes.add(value),
                Added::Full => {
                    self.give_up_domain();
                    return Some(value);
                }
            }
        }
        None
    }

    fn look_at_each<'a>(&mut self, mut values: impl Iterator<Item = &'a [u8]>, are_ascii: bool) {
        let (mut hashes, mut lengths) = ([0; CHUNK], [0; CHUNK]);
        loop {
            let mut count = 0;
            for ((hash, length), value) in hashes.iter_mut().zip(&mut lengths).zip(&mut values) {
                let digest = digest(value);
                *hash = digest.hash;
                *length = self.length_of(value, are_ascii || digest.is_ascii);
                self.extremes.add(value);
                count += 1;
            }
            self.distinct.add_all(hashes[..count].iter().copied());
            self.lengths.add_all(&lengths[..count]);
            // There are no more values.
            if count < CHUNK {
                return;
            }
        }
    }

    /// Adds one value several times.
    pub(super) fn update_repeated(&mut self, value: &[u8], times: u64) {
        let digest = digest(value);
        let added = self.domain.as_mut().map(|domain| domain.add(digest.hash, value, times));
        if added == Some(Added::Full) {
            self.give_up_domain();
        }
        if added != Some(Added::Known) {
            self.extremes.add(value);
        }
        if self.domain.is_none() {
            self.lengths.add(self.length_of(value, digest.is_ascii).into(), times);
            self.distinct.add(digest.hash);
        }
    }

    fn length_of(&self, value: &[u8], is_ascii: bool) -> u32 {
        let length =
            if is_ascii || self.content == Content::Binary { value.len() } else { characters(value) };
        u32::try_from(length).unwrap_or(u32::MAX)
    }

    fn give_up_domain(&mut self) {
        if let Some(domain) = self.domain.take() {
            domain.add_lengths(&mut self.lengths);
            domain.hashes().for_each(|hash| self.distinct.add(hash));
        }
    }

    pub(super) fn merge(&mut self, mut other: Self) {
        self.extremes.merge(&other.extremes);
        let domains = self.domain.as_ref().zip(other.domain.as_ref());
        match domains.and_then(|(domain, others)| domain.merged(others)) {
            Some(merged) => self.domain = Some(merged),
            None => {
                self.give_up_domain();
                other.give_up_domain();
                self.lengths.merge(&other.lengths);
                self.distinct.merge(&other.distinct);
            }
        }
    }

    pub(super) fn finish(&self, options: &SummaryOptions) -> Details {
        let mut lengths = self.lengths.clone();
        let distinct_estimate = match &self.domain {
            Some(domain) => {
                domain.add_lengths(&mut lengths);
                domain.len() as u64
            }
            // An estimate may exceed the number of values.
            None => self.distinct.estimate().min(lengths.count()),
        };
        let count = lengths.count();
        let lengths = lengths.finish();
        if self.content == Content::Binary {
            return Details::Binary { lengths, distinct_estimate };
        }
        let (min, max) = (self.extremes.min(), self.extremes.max());
        match &self.domain {
            Some(domain) if self.is_category(domain, count, options) => Details::Category(Category {
                lengths,
                min,
                max,
                unique: distinct_estimate,
                top_count: domain.greatest_count(),
                domain: domain.most_frequent(options.domain_limit),
            }),
            domain => Details::Text(Text {
                lengths,
                min,
                max,
                distinct_estimate,
                top_values: domain
                    .iter()
                    // If every value occurs once, none is the most frequent.
                    .filter(|domain| domain.greatest_count() > 1)
                    .flat_map(|domain| domain.most_frequent(options.top_values))
                    .collect(),
            }),
        }
    }

    fn is_category(&self, domain: &Domain, count: u64, options: &SummaryOptions) -> bool {
        // A dictionary implies that values repeat. In other columns each value must occur twice on average; otherwise the values
        // are names and not categories.
        let repeats = self.content == Content::Dictionary || 2 * domain.len() as u64 <= count;
        (1..=options.domain_limit).contains(&domain.len()) && repeats
    }
}

/// The first and the last value in byte order, cut if they are long.
#[derive(Debug, Clone)]
struct Extremes {
    is_wanted: bool,
    ends: Option<[End; 2]>,
    /// Values whose prefix is less than `inner_width` above `inner_from` are between both extremes.
    inner_from: u128,
    inner_width: u128,
}

#[derive(Debug, Clone)]
struct End {
    prefix: u128,
    value: Box<[u8]>,
}

impl Extremes {
    fn new(is_wanted: bool) -> Self {
        Self { is_wanted, ends: None, inner_from: 0, inner_width: if is_wanted { 0 } else { u128::MAX } }
    }

    #[inline]
    fn add(&mut self, value: &[u8]) {
        let prefix = prefix(value);
        // A single comparison for nearly all values: between the extremes by their first bytes.
        if prefix.wrapping_sub(self.inner_from) >= self.inner_width {
            self.add_outer(prefix, value);
        }
    }

    #[inline(never)]
    fn add_outer(&mut self, prefix: u128, value: &[u8]) {
        if !self.is_wanted {
            return;
        }
        let [min, max] = self.ends.get_or_insert_with(|| [End::new(value), End::new(value)]);
        if prefix < min.prefix || (prefix == min.prefix && *value < *min.value) {
            *min = End::new(value);
        }
        if prefix > max.prefix || (prefix == max.prefix && *value > *max.value) {
            *max = End::new(value);
        }
        self.inner_from = min.prefix.saturating_add(1);
        self.inner_width = max.prefix.saturating_sub(self.inner_from);
    }

    fn merge(&mut self, other: &Self) {
        for end in other.ends.iter().flatten() {
            self.add(&end.value);
        }
    }

    fn min(&self) -> Option<String> {
        self.ends.as_ref().map(|[min, _]| cut_text(&min.value).into())
    }

    fn max(&self) -> Option<String> {
        self.ends.as_ref().map(|[_, max]| cut_text(&max.value).into())
    }
}

impl End {
    fn new(value: &[u8]) -> Self {
        // One byte more than is shown, so that the cut is visible.
        Self { prefix: prefix(value), value: value.get(..=VALUE_BYTES).unwrap_or(value).into() }
    }
}

/// The first 16 bytes as a number with the same order, padded with zeros.
#[inline]
fn prefix(value: &[u8]) -> u128 {
    if let Some(first) = value.first_chunk() {
        return u128::from_be_bytes(*first);
    }
    let missing_bits = 8 * (16 - value.len()) as u32;
    if let (Some(first), Some(last)) = (value.first_chunk(), value.last_chunk()) {
        let rest = u64::from_be_bytes(*last).checked_shl(missing_bits).unwrap_or(0);
        return u128::from(u64::from_be_bytes(*first)) << 64 | u128::from(rest);
    }
    let number = value.iter().fold(0, |number, byte| number << 8 | u128::from(*byte));
    number.checked_shl(missing_bits).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_have_the_order_of_values() {
        let text = b"the quick brown fox \0\0\xff jumps";
        let mut values: Vec<&[u8]> = (0..text.len())
            .flat_map(|start| (start..=text.len()).map(move |end| &text[start..end]))
            .collect();
        values.sort();
        for pair in values.windows(2) {
            assert!(prefix(pair[0]) <= prefix(pair[1]), "{pair:?}");
        }
        assert!(prefix(b"customer#0000012") < prefix(b"customer#0000013"));
    }

    #[test]
    fn extremes_of_values_with_equal_prefixes() {
        let mut extremes = Extremes::new(true);
        for end in [", 2", ", 1", ", 3", ""] {
            extremes.add(format!("a very long common part{end}").as_bytes());
        }
        assert_eq!(extremes.min().as_deref(), Some("a very long common part"));
        assert_eq!(extremes.max().as_deref(), Some("a very long common part, 3"));
    }
}
