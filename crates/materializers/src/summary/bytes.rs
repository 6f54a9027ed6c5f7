//! The summary of a column of texts or of binary values.

use super::{
    SummaryOptions,
    chunks::CHUNK,
    distinct::{DistinctSketch, digest},
    domain::{Added, Domain, VALUE_BYTES, cut_text},
    model::{Category, Details, Text},
    moments::LengthSums,
};

/// Accumulates texts or binary values.
#[derive(Debug, Clone)]
pub(super) struct ByteStrings {
    content: Content,
    lengths: LengthSums,
    extremes: Extremes,
    /// The values and their counts, until they are too many.
    domain: Option<Domain>,
    /// What was seen after that; it takes over the domain's hashes then.
    distinct: DistinctSketch,
}

/// What the bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// Texts.
    Text,
    /// Texts out of a dictionary, which are a category unless they are too many.
    Dictionary,
    /// Anything.
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

    /// Adds values.
    pub(super) fn update<'a>(&mut self, mut values: impl Iterator<Item = &'a [u8]>) {
        let mut chunk: [&[u8]; CHUNK] = [&[]; CHUNK];
        loop {
            let mut length = 0;
            for (slot, value) in chunk.iter_mut().zip(&mut values) {
                *slot = value;
                length += 1;
            }
            self.update_chunk(&chunk[..length]);
            if length < CHUNK {
                return;
            }
        }
    }

    fn update_chunk(&mut self, values: &[&[u8]]) {
        let mut hashes = [0; CHUNK];
        let mut lengths = [0; CHUNK];
        for ((value, hash), length) in values.iter().zip(&mut hashes).zip(&mut lengths) {
            let digest = digest(value);
            *hash = digest.hash;
            *length = self.length_of(value, digest.is_ascii);
        }
        let hashes = &hashes[..values.len()];
        self.lengths.add_all(&lengths[..values.len()]);
        let counted = self.count_in_domain(values, hashes);
        self.distinct.add_all(hashes[counted..].iter().copied());
        self.extremes.add_all(&values[counted..]);
    }

    /// Adds one value that occurs several times.
    pub(super) fn update_repeated(&mut self, value: &[u8], times: u64) {
        let digest = digest(value);
        self.lengths.add(self.length_of(value, digest.is_ascii).into(), times);
        let known = self.domain.as_mut().map(|domain| domain.add(digest.hash, times, || cut_text(value)));
        if known == Some(Added::Full) {
            self.give_up_domain();
        }
        if known != Some(Added::Known) {
            self.extremes.add_all(&[value]);
        }
        if self.domain.is_none() {
            self.distinct.add(digest.hash);
        }
    }

    fn length_of(&self, value: &[u8], is_ascii: bool) -> u32 {
        let length = if is_ascii || self.content == Content::Binary {
            value.len()
        } else {
            // Characters, that is all bytes but those that continue one.
            value.iter().filter(|byte| **byte & 0xC0 != 0x80).count()
        };
        u32::try_from(length).unwrap_or(u32::MAX)
    }

    /// Counts values in the domain until it is full, and says how many.
    fn count_in_domain(&mut self, values: &[&[u8]], hashes: &[u64]) -> usize {
        let Some(domain) = &mut self.domain else { return 0 };
        for (index, (value, hash)) in values.iter().zip(hashes).enumerate() {
            match domain.add(*hash, 1, || cut_text(value)) {
                Added::Known => {}
                Added::New => self.extremes.add_all(&[value]),
                Added::Full => {
                    self.give_up_domain();
                    return index;
                }
            }
        }
        values.len()
    }

    fn give_up_domain(&mut self) {
        for hash in self.domain.take().iter().flat_map(Domain::hashes) {
            self.distinct.add(hash);
        }
    }

    pub(super) fn merge(&mut self, mut other: Self) {
        self.lengths.merge(&other.lengths);
        self.extremes.merge(&other.extremes);
        let is_whole = match (&mut self.domain, &other.domain) {
            (Some(domain), Some(others)) => domain.merge(others),
            _ => false,
        };
        if !is_whole {
            self.give_up_domain();
            other.give_up_domain();
            self.distinct.merge(&other.distinct);
        }
    }

    pub(super) fn finish(&self, options: &SummaryOptions) -> Details {
        let lengths = self.lengths.finish();
        let distinct_estimate = match &self.domain {
            Some(domain) => domain.len() as u64,
            None => self.distinct.estimate().min(self.lengths.count()),
        };
        if self.content == Content::Binary {
            return Details::Binary { lengths, distinct_estimate };
        }
        let (min, max) = (self.extremes.min(), self.extremes.max());
        match &self.domain {
            Some(domain) if self.is_category(domain, options) => Details::Category(Category {
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
                    .filter(|domain| domain.greatest_count() > 1)
                    .flat_map(|domain| domain.most_frequent(options.top_values))
                    .collect(),
            }),
        }
    }

    fn is_category(&self, domain: &Domain, options: &SummaryOptions) -> bool {
        let repeats = self.content == Content::Dictionary || 2 * domain.len() as u64 <= self.lengths.count();
        (1..=options.domain_limit).contains(&domain.len()) && repeats
    }
}

/// The first and the last value in the order of bytes, cut where they are long.
#[derive(Debug, Clone)]
struct Extremes {
    is_wanted: bool,
    ends: Option<[End; 2]>,
}

#[derive(Debug, Clone)]
struct End {
    prefix: u128,
    value: Box<[u8]>,
}

impl Extremes {
    fn new(is_wanted: bool) -> Self {
        Self { is_wanted, ends: None }
    }

    fn add_all(&mut self, values: &[&[u8]]) {
        let Some(first) = values.first().filter(|_| self.is_wanted) else { return };
        let [min, max] = self.ends.get_or_insert_with(|| [End::new(first), End::new(first)]);
        for value in values {
            // Most values differ from both ends in their first bytes.
            let prefix = prefix(value);
            if prefix <= min.prefix && (prefix < min.prefix || **value < *min.value) {
                *min = End::new(value);
            }
            if prefix >= max.prefix && (prefix > max.prefix || **value > *max.value) {
                *max = End::new(value);
            }
        }
    }

    fn merge(&mut self, other: &Self) {
        for end in other.ends.iter().flatten() {
            self.add_all(&[&end.value]);
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
    #[cold]
    fn new(value: &[u8]) -> Self {
        // One byte more than is shown, so that the cut shows too.
        Self { prefix: prefix(value), value: value.get(..=VALUE_BYTES).unwrap_or(value).into() }
    }
}

/// The first 16 bytes as a number with their order, as if zeros followed a shorter value.
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
        extremes.add_all(&[b"a very long common part, 2", b"a very long common part, 1"]);
        extremes.add_all(&[b"a very long common part, 3", b"a very long common part"]);
        assert_eq!(extremes.min().as_deref(), Some("a very long common part"));
        assert_eq!(extremes.max().as_deref(), Some("a very long common part, 3"));
    }
}
