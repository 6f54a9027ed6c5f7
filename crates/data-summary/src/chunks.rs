//! Splits the values of an array into chunks without nulls.

use arrow::buffer::NullBuffer;

/// The number of values that are processed together: few enough to stay in the L1 cache.
pub(super) const CHUNK: usize = 1024;

/// Passes on the valid values, at most [`CHUNK`] at a time.
pub(super) fn for_each_chunk<T: Copy + Default>(
    values: &[T],
    nulls: Option<&NullBuffer>,
    mut visit: impl FnMut(&[T]),
) {
    let Some(nulls) = nulls.filter(|nulls| nulls.null_count() > 0) else {
        return values.chunks(CHUNK).for_each(visit);
    };
    let mut chunk = [T::default(); CHUNK];
    let bits = nulls.inner().bit_chunks();
    let mut words = bits.iter_padded();
    for part in values.chunks(CHUNK) {
        let mut length = 0;
        for (values, mut word) in part.chunks(64).zip(&mut words) {
            for value in values {
                // Writing always and advancing conditionally avoids a branch.
                chunk[length] = *value;
                length += (word & 1) as usize;
                word >>= 1;
            }
        }
        visit(&chunk[..length]);
    }
}

/// Passes on a chunk with its values converted.
pub(super) fn with_converted<T: Copy, U: Copy + Default>(
    chunk: &[T],
    convert: impl Fn(T) -> U,
    visit: impl FnOnce(&[U]),
) {
    let mut converted = [U::default(); CHUNK];
    for (slot, value) in converted.iter_mut().zip(chunk) {
        *slot = convert(*value);
    }
    visit(&converted[..chunk.len().min(CHUNK)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(length: i32, is_valid: impl Fn(i32) -> bool) {
        let values: Vec<i32> = (0..length).collect();
        let nulls: NullBuffer =
            [true; 3].into_iter().chain(values.iter().map(|value| is_valid(*value))).collect();
        let nulls = nulls.slice(3, values.len());
        let expected: Vec<i64> =
            values.iter().filter(|value| is_valid(**value)).map(|value| i64::from(*value)).collect();
        let mut found = Vec::new();
        for_each_chunk(&values, Some(&nulls), |chunk| {
            assert!(chunk.len() <= CHUNK);
            with_converted(chunk, i64::from, |chunk| found.extend_from_slice(chunk));
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn nulls_are_left_out() {
        for length in [0, 1, 1023, 1024, 1025, 5000] {
            check(length, |_| true);
            check(length, |_| false);
            check(length, |value| value % 3 == 0);
        }
    }
}
