//! Cuts the values of an array into chunks without nulls.

use arrow::buffer::NullBuffer;

/// Values that are looked at together: few enough that they stay in the nearest cache.
pub(super) const CHUNK: usize = 1024;

/// Hands over the valid values, converted, at most [`CHUNK`] at a time.
pub(super) fn for_each_chunk<T: Copy, U: Copy + Default>(
    values: &[T],
    nulls: Option<&NullBuffer>,
    convert: impl Fn(T) -> U,
    mut visit: impl FnMut(&[U]),
) {
    let mut chunk = [U::default(); CHUNK];
    let Some(nulls) = nulls.filter(|nulls| nulls.null_count() > 0) else {
        for part in values.chunks(CHUNK) {
            for (slot, value) in chunk.iter_mut().zip(part) {
                *slot = convert(*value);
            }
            visit(&chunk[..part.len()]);
        }
        return;
    };
    let mut validity = nulls.iter();
    for part in values.chunks(CHUNK) {
        let mut length = 0;
        for (value, is_valid) in part.iter().zip(&mut validity) {
            // Writing always and advancing sometimes leaves the processor no branch to guess.
            chunk[length] = convert(*value);
            length += usize::from(is_valid);
        }
        visit(&chunk[..length]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(length: i32, is_valid: impl Fn(i32) -> bool) {
        let values: Vec<i32> = (0..length).collect();
        let nulls: NullBuffer = values.iter().map(|value| is_valid(*value)).collect();
        let expected: Vec<i64> =
            values.iter().filter(|value| is_valid(**value)).map(|value| i64::from(*value)).collect();
        let mut found = Vec::new();
        for_each_chunk(&values, Some(&nulls), i64::from, |chunk| {
            assert!(chunk.len() <= CHUNK);
            found.extend_from_slice(chunk);
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
