//! Accumulates the summary of a stream of batches.

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{DataType, Schema},
};

use super::{
    column::{Column, is_ordered},
    kept::Room,
    model::DataSummary,
    options::SummaryOptions,
};

/// Accumulates the summary of a stream of batches in one pass.
///
/// Memory is bounded: about 140 KB for a column of numbers or times, 400 KB for a text column, if the table and the texts are long,
/// and 32 MiB in total for the values of numbers and times. These are kept as long as there are at most a million in a column and
/// its share of that memory is sufficient: until then, quantiles and histogram are exact. Finishing temporarily takes 8 MB more. No
/// data can make it fail: what it cannot process is counted. A stream with several partitions is summarised by one summarizer for
/// each, clones of an empty one, which share that memory, merged in the order of the partitions. The way rows are split into
/// batches does not change the result, except for the rounding of means and deviations.
///
/// ```
/// use std::sync::Arc;
///
/// use arrow::{array::{Int64Array, RecordBatch}, datatypes::{DataType, Field, Schema}};
/// use daglight_data_summary::{Details, Summarizer, SummaryOptions};
///
/// let schema = Arc::new(Schema::new(vec![Field::new("quantity", DataType::Int64, true)]));
/// let batch = RecordBatch::try_new(schema.clone(), vec![Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]))])?;
/// let mut summarizer = Summarizer::new(&schema, SummaryOptions::default());
/// summarizer.update(&batch);
/// let summary = summarizer.finish();
/// assert_eq!((summary.rows, summary.columns[0].missing), (3, 1));
/// let Details::Numeric(quantity) = &summary.columns[0].details else { panic!("not a number") };
/// assert_eq!(quantity.mean.as_ref().and_then(|mean| mean.as_f64()), Some(2.0));
/// # Ok::<(), arrow::error::ArrowError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Summarizer {
    options: SummaryOptions,
    rows: u64,
    bytes: u64,
    columns: Vec<Column>,
}

impl Summarizer {
    /// Creates a summarizer for batches with this schema.
    pub fn new(schema: &Schema, options: SummaryOptions) -> Self {
        let ordered = schema.fields().iter().filter(|field| is_ordered(field.data_type())).count();
        let columns = if options.statistics {
            let fields = schema.fields().iter();
            fields.map(|field| Column::new(field.clone(), &options, Room::of_one_in(ordered))).collect()
        } else {
            Vec::new()
        };
        Self { options, rows: 0, bytes: 0, columns }
    }

    /// Adds the rows of a batch.
    pub fn update(&mut self, batch: &RecordBatch) {
        self.rows += batch.num_rows() as u64;
        self.bytes += batch.columns().iter().map(size_bytes).sum::<u64>();
        for (index, column) in self.columns.iter_mut().enumerate() {
            match batch.columns().get(index) {
                Some(array) => column.update(array),
                // A batch that does not match its schema. It is counted as unhandled, because a summary must not make a query fail.
                None => column.unhandled_rows += batch.num_rows() as u64,
            }
        }
    }

    /// Adds the rows that another summarizer of the same schema and options has seen.
    pub fn merge(&mut self, other: Self) {
        self.rows += other.rows;
        self.bytes += other.bytes;
        let mut others = other.columns.into_iter();
        for column in &mut self.columns {
            match others.next() {
                Some(same) if same.data_type() == column.data_type() => column.merge(same),
                _ => column.unhandled_rows += other.rows,
            }
        }
    }

    /// The summary of all rows so far.
    pub fn finish(&self) -> DataSummary {
        DataSummary {
            rows: self.rows,
            bytes: self.bytes,
            statistics: self.options.statistics,
            columns: self.columns.iter().map(|column| column.finish(&self.options)).collect(),
        }
    }
}

/// The size of a slice's own values, which Arrow does not compute for views.
fn size_bytes(array: &impl AsRef<dyn Array>) -> u64 {
    let array = array.as_ref();
    let views = match array.data_type() {
        DataType::Utf8View => array.as_string_view().views(),
        DataType::BinaryView => array.as_binary_view().views(),
        _ => {
            let data = array.to_data();
            return data.get_slice_memory_size().unwrap_or_else(|_| data.get_array_memory_size()) as u64;
        }
    };
    const INLINE_BYTES: u64 = 12;
    let nulls = array.nulls().map_or(0, |nulls| nulls.len().div_ceil(8) as u64);
    // Based on what the rows refer to instead of the buffers, which many views share: otherwise sorting a table would seem to make
    // it several times as large.
    views.iter().fold(nulls, |size, view| {
        let length = u64::from(*view as u32);
        size + 16 + if length > INLINE_BYTES { length } else { 0 }
    })
}
