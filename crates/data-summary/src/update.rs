//! Takes the values of an array into a column's accumulator.

use arrow::{
    array::{Array, AsArray, GenericByteArray, GenericByteViewArray, RunArray, UInt32Array},
    compute::take,
    datatypes::{
        ArrowNativeType, ArrowPrimitiveType, BinaryType, BinaryViewType, ByteArrayType, ByteViewType,
        DataType, Float16Type, Int16Type, Int32Type, Int64Type, LargeBinaryType, LargeUtf8Type,
        RunEndIndexType, StringViewType, Utf8Type,
    },
};

use super::{
    bytes::ByteStrings,
    chunks::{CHUNK, for_each_chunk, with_converted},
    column::{Column, Values},
    integers::biased,
};

/// Rows of a run-end encoded array that are expanded at a time.
const EXPANDED_ROWS: usize = 8192;

type Half = <Float16Type as ArrowPrimitiveType>::Native;

impl Column {
    /// Adds the rows of an array. Rows that do not fit the column are counted as unhandled.
    pub(super) fn update(&mut self, array: &dyn Array) {
        let rows = array.len() as u64;
        if !self.accepts(array.data_type()) || !self.values.update(array) {
            self.unhandled_rows += rows;
            return;
        }
        self.count += rows;
        self.missing += array.logical_null_count() as u64;
    }

    /// Whether values of another type can be taken for values of the column's. Engines change between the layouts of
    /// texts and of binary values without changing the schema.
    fn accepts(&self, other: &DataType) -> bool {
        let own = self.data_type();
        // The engine passes texts as views though the schema says otherwise.
        own.equals_datatype(other)
            || (own.is_string() && other.is_string())
            || (own.is_binary() && other.is_binary())
    }
}

impl Values {
    /// Adds an array's values that are not null; false when it cannot.
    fn update(&mut self, array: &dyn Array) -> bool {
        match array.data_type() {
            DataType::Dictionary(..) => self.update_dictionary(array),
            DataType::RunEndEncoded(ends, _) => match ends.data_type() {
                DataType::Int16 => self.update_runs::<Int16Type>(array),
                DataType::Int32 => self.update_runs::<Int32Type>(array),
                DataType::Int64 => self.update_runs::<Int64Type>(array),
                _ => false,
            },
            _ => self.update_plain(array),
        }
    }

    fn update_plain(&mut self, array: &dyn Array) -> bool {
        match (self, array.data_type()) {
            (Self::Integers(integers), data_type) => {
                let visit = |chunk: &[i64]| integers.update(chunk);
                match data_type {
                    DataType::Int8 => visit_converted::<i8, _>(array, i64::from, visit),
                    DataType::Int16 => visit_converted::<i16, _>(array, i64::from, visit),
                    DataType::UInt8 => visit_converted::<u8, _>(array, i64::from, visit),
                    DataType::UInt16 => visit_converted::<u16, _>(array, i64::from, visit),
                    DataType::UInt32 => visit_converted::<u32, _>(array, i64::from, visit),
                    DataType::UInt64 => visit_converted(array, biased, visit),
                    DataType::Int32 | DataType::Date32 | DataType::Time32(_) | DataType::Decimal32(..) => {
                        visit_converted::<i32, _>(array, i64::from, visit);
                    }
                    DataType::Int64
                    | DataType::Date64
                    | DataType::Time64(_)
                    | DataType::Timestamp(..)
                    | DataType::Duration(_)
                    | DataType::Decimal64(..) => visit_fixed(array, visit),
                    _ => return false,
                }
            }
            (Self::Floats(floats), data_type) => {
                let visit = |chunk: &[f64]| floats.update(chunk);
                match data_type {
                    DataType::Float16 => {
                        visit_converted(array, |value: Half| f64::from(value.to_f32()), visit);
                    }
                    DataType::Float32 => visit_converted::<f32, _>(array, f64::from, visit),
                    DataType::Float64 => visit_fixed(array, visit),
                    _ => return false,
                }
            }
            (Self::Decimals128(decimals), DataType::Decimal128(..)) => {
                visit_fixed(array, |chunk| decimals.update(chunk));
            }
            (Self::Decimals256(decimals), DataType::Decimal256(..)) => {
                visit_fixed(array, |chunk| decimals.update(chunk));
            }
            (Self::Booleans { true_count, false_count }, DataType::Boolean) => {
                *true_count += array.as_boolean().true_count() as u64;
                *false_count += array.as_boolean().false_count() as u64;
            }
            (Self::Bytes(bytes), data_type) => match data_type {
                DataType::Utf8 => update_bytes::<Utf8Type>(bytes, array),
                DataType::LargeUtf8 => update_bytes::<LargeUtf8Type>(bytes, array),
                DataType::Binary => update_bytes::<BinaryType>(bytes, array),
                DataType::LargeBinary => update_bytes::<LargeBinaryType>(bytes, array),
                DataType::Utf8View => update_views::<StringViewType>(bytes, array),
                DataType::BinaryView => update_views::<BinaryViewType>(bytes, array),
                DataType::FixedSizeBinary(_) => {
                    bytes.update(array.as_fixed_size_binary().iter().flatten(), false);
                }
                _ => return false,
            },
            (Self::Shapes(shapes), _) => return shapes.update(array),
            (Self::Unhandled(_), _) => {}
            _ => return false,
        }
        true
    }

    fn update_dictionary(&mut self, array: &dyn Array) -> bool {
        let Some(dictionary) = array.as_any_dictionary_opt() else { return false };
        let values = dictionary.values();
        // Batches may share a dictionary that has many more values than they have rows.
        let is_shorter = values.len() <= 2 * array.len();
        // Each value once with its number of rows: that is what dictionaries are for.
        if let (Self::Bytes(bytes), true, false) = (&mut *self, is_shorter, values.is_empty()) {
            let mut times = vec![0; values.len()];
            for (row, key) in dictionary.normalized_keys().into_iter().enumerate() {
                times[key] += u64::from(dictionary.keys().is_valid(row));
            }
            if update_repeated(bytes, values, times.into_iter()) {
                return true;
            }
        }
        take(values, dictionary.keys(), None).is_ok_and(|plain| self.update(&plain))
    }

    fn update_runs<R: RunEndIndexType>(&mut self, array: &dyn Array) -> bool {
        let Some(array) = array.as_any().downcast_ref::<RunArray<R>>() else { return false };
        if array.is_empty() {
            return true;
        }
        let values = array.values_slice();
        // The ends of a slice count from its beginning.
        let mut from = 0;
        let runs: Vec<usize> = array
            .run_ends()
            .sliced_values()
            .map(|end| {
                let length = end.as_usize() - from;
                from = end.as_usize();
                length
            })
            .collect();
        if let Self::Bytes(bytes) = self {
            let times = runs.iter().map(|length| *length as u64);
            if update_repeated(bytes, &values, times) {
                return true;
            }
        }
        let mut rows = runs.into_iter().enumerate().flat_map(|(value, length)| {
            std::iter::repeat_n(u32::try_from(value).unwrap_or(u32::MAX), length)
        });
        loop {
            // In parts: one run may stand for a million rows, which must not be in memory as such.
            let indices: UInt32Array = rows.by_ref().take(EXPANDED_ROWS).map(Some).collect();
            if indices.is_empty() {
                return true;
            }
            if !take(&values, &indices, None).is_ok_and(|plain| self.update(&plain)) {
                return false;
            }
        }
    }
}

/// Visits the values of an array whose one buffer holds values of a fixed width.
fn visit_fixed<T: ArrowNativeType>(array: &dyn Array, visit: impl FnMut(&[T])) {
    let data = array.to_data();
    for_each_chunk(&data.buffer(0)[..array.len()], array.nulls(), visit);
}

fn visit_converted<T: ArrowNativeType, U: Copy + Default>(
    array: &dyn Array,
    convert: impl Fn(T) -> U,
    mut visit: impl FnMut(&[U]),
) {
    visit_fixed(array, |chunk: &[T]| with_converted(chunk, &convert, &mut visit));
}

fn update_bytes<T: ByteArrayType>(bytes: &mut ByteStrings, array: &dyn Array) {
    let array: &GenericByteArray<T> = array.as_bytes();
    for start in (0..array.len()).step_by(CHUNK) {
        let part = array.slice(start, CHUNK.min(array.len() - start));
        let (offsets, data) = (part.value_offsets(), part.value_data());
        let range = |ends: &[T::Offset]| ends[0].as_usize()..ends[ends.len() - 1].as_usize();
        // One look along all bytes also brings them near; value by value they would be waited for.
        let are_ascii = data[range(offsets)].is_ascii();
        if part.null_count() == 0 {
            bytes.update(offsets.windows(2).map(|ends| &data[range(ends)]), are_ascii);
        } else {
            bytes.update(part.iter().flatten().map(AsRef::as_ref), are_ascii);
        }
    }
}

fn update_views<T: ByteViewType>(bytes: &mut ByteStrings, array: &dyn Array) {
    let array: &GenericByteViewArray<T> = array.as_byte_view();
    // Views point anywhere, so there is no one stretch of bytes to look along.
    bytes.update(array.iter().flatten().map(AsRef::as_ref), false);
}

/// Adds each value that is not null as often as is said; false when the values are not plain bytes.
fn update_repeated<'a>(
    bytes: &mut ByteStrings,
    values: &'a dyn Array,
    times: impl Iterator<Item = u64>,
) -> bool {
    let value_at: Box<dyn Fn(usize) -> &'a [u8] + 'a> = match values.data_type() {
        DataType::Utf8 => Box::new(|index| values.as_bytes::<Utf8Type>().value(index).as_bytes()),
        DataType::LargeUtf8 => Box::new(|index| values.as_bytes::<LargeUtf8Type>().value(index).as_bytes()),
        DataType::Binary => Box::new(|index| values.as_bytes::<BinaryType>().value(index)),
        DataType::LargeBinary => Box::new(|index| values.as_bytes::<LargeBinaryType>().value(index)),
        DataType::Utf8View => Box::new(|index| values.as_string_view().value(index).as_bytes()),
        DataType::BinaryView => Box::new(|index| values.as_binary_view().value(index)),
        _ => return false,
    };
    for (index, times) in times.enumerate().filter(|(index, times)| *times > 0 && values.is_valid(*index)) {
        bytes.update_repeated(value_at(index), times);
    }
    true
}
