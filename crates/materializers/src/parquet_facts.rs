//! What the footers of Parquet files prove about the columns of a table.
//!
//! When the engine merges statistics over row groups, it ignores row groups without statistics. Here every row group of every file
//! counts: one without statistics leaves a column without bounds.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use arrow::{
    array::{Array, ArrayRef, UInt64Array},
    compute::cast,
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use datafusion::{
    common::ScalarValue,
    datasource::physical_plan::{FileScanConfig, parquet::metadata::DFParquetMetadata},
    object_store::{ObjectMeta, ObjectStore},
    prelude::SessionContext,
};
use futures::{StreamExt as _, stream};
use parquet::{
    arrow::{arrow_reader::statistics::StatisticsConverter, parquet_to_arrow_schema},
    basic::Type as PhysicalType,
    file::{metadata::ParquetMetaData, statistics::Statistics},
};

use crate::column_facts::{ColumnFacts, MAX_FILES, Unread};

/// How many footers are read at the same time. At most that many are in memory, in addition to those that the session caches.
const AT_ONCE: usize = 8;

/// The combined content of the footers of all files.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FooterFacts {
    pub(crate) rows: u64,
    /// In the column order of the table.
    pub(crate) columns: Vec<ColumnFacts>,
}

/// Reads the footers of a scan's files one by one, or uses those that the session has cached.
///
/// # Errors
/// When a footer cannot be read, there are too many, reading takes too long, or the scan reads parts of files.
pub(crate) async fn footer_facts(
    session: &SessionContext,
    scan: &FileScanConfig,
    schema: &SchemaRef,
    limit: Duration,
) -> Result<FooterFacts, Unread> {
    let started = Instant::now();
    let mut files: BTreeMap<String, ObjectMeta> = BTreeMap::new();
    for file in scan.file_groups.iter().flat_map(|group| group.iter()) {
        // The footer is that of the whole file, of which the table has only a part.
        if file.range.is_some() {
            return Err(Unread::PartsOfFiles);
        }
        if files.len() == MAX_FILES {
            return Err(Unread::TooManyFiles);
        }
        files.insert(file.path().to_string(), file.object_meta.clone());
    }
    let runtime = session.runtime_env();
    let store = runtime.object_store(&scan.object_store_url).map_err(|_| Unread::Unreadable)?;
    let cache = runtime.cache_manager.get_file_metadata_cache();
    let mut footers = stream::iter(files.into_values())
        .map(|file| {
            let (store, cache) = (Arc::clone(&store), Arc::clone(&cache));
            async move {
                let store: &dyn ObjectStore = store.as_ref();
                DFParquetMetadata::new(store, &file)
                    .with_file_metadata_cache(Some(cache))
                    .fetch_metadata()
                    .await
            }
        })
        .buffered(AT_ONCE);
    // Their values are in the paths.
    let partitioned_by: Vec<String> =
        scan.table_partition_cols().iter().map(|field| field.name().clone()).collect();
    let mut table = Table::new(schema, &partitioned_by);
    while let Some(footer) = footers.next().await {
        table.add(footer.map_err(|_| Unread::Unreadable)?.as_ref());
        if started.elapsed() > limit {
            return Err(Unread::TooSlow);
        }
        // Parsing a footer blocks the thread for milliseconds, and a hundred in a row would delay all other tasks on it.
        give_way().await;
    }
    Ok(table.finish())
}

/// Yields once. Cached footers are available at once, however many there are: without this, no timeout of the caller could end
/// reading them.
async fn give_way() {
    let mut has_given_way = false;
    poll_fn(|context| {
        if std::mem::replace(&mut has_given_way, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The columns of a table, over the files added so far.
struct Table {
    rows: u64,
    columns: Vec<Column>,
}

struct Column {
    field: Arc<Field>,
    /// `None` once a row group does not provide it.
    missing: Option<u64>,
    bounds: Bounds,
}

enum Bounds {
    /// No value so far.
    Empty,
    Between(ScalarValue, ScalarValue),
    /// There is a value without statistics.
    Unknown,
}

impl Table {
    fn new(schema: &SchemaRef, partitioned_by: &[String]) -> Self {
        let column = |field: &Arc<Field>| {
            let is_in_files = !partitioned_by.contains(field.name());
            Column {
                field: Arc::clone(field),
                missing: is_in_files.then_some(0),
                bounds: if is_in_files { Bounds::Empty } else { Bounds::Unknown },
            }
        };
        Self { rows: 0, columns: schema.fields().iter().map(column).collect() }
    }

    fn add(&mut self, file: &ParquetMetaData) {
        let rows: u64 = file.row_groups().iter().map(|group| count(group.num_rows())).sum();
        self.rows = self.rows.saturating_add(rows);
        let described = file.file_metadata();
        let schema = parquet_to_arrow_schema(described.schema_descr(), described.key_value_metadata()).ok();
        for column in &mut self.columns {
            match &schema {
                // In a file without the column, every row is null.
                Some(schema) if schema.index_of(column.field.name()).is_err() => {
                    column.add_missing(Some(rows))
                }
                Some(schema) => column.add_file(file, schema, rows),
                None => column.is_unknown(),
            }
        }
    }

    fn finish(self) -> FooterFacts {
        let columns = self.columns.into_iter().map(|column| {
            let (min, max) = match column.bounds {
                Bounds::Between(min, max) => (Some(min), Some(max)),
                Bounds::Empty | Bounds::Unknown => (None, None),
            };
            ColumnFacts { missing: column.missing, min, max }
        });
        FooterFacts { rows: self.rows, columns: columns.collect() }
    }
}

impl Column {
    fn add_missing(&mut self, missing: Option<u64>) {
        self.missing = self.missing.zip(missing).map(|(a, b)| a.saturating_add(b));
    }

    fn is_unknown(&mut self) {
        self.missing = None;
        self.bounds = Bounds::Unknown;
    }

    fn add_file(&mut self, file: &ParquetMetaData, schema: &Schema, rows: u64) {
        let Ok(in_file) = schema.field_with_name(self.field.name()) else { return self.is_unknown() };
        if *in_file.data_type() == DataType::Null {
            return self.add_missing(Some(rows));
        }
        // The statistics of nested columns are those of what is inside, which may be null where the outside is not.
        if in_file.data_type().is_nested() {
            return self.is_unknown();
        }
        let Some(groups) = Groups::of(file, schema, in_file.name()) else { return self.is_unknown() };
        for (index, group) in file.row_groups().iter().enumerate() {
            let rows = count(group.num_rows());
            if rows == 0 {
                continue;
            }
            let missing = groups.missing(index);
            self.add_missing(missing);
            // A row group with only nulls has no bounds, and does not affect those of others.
            if missing == Some(rows) {
                continue;
            }
            let statistics = group.column(groups.leaf).statistics();
            let is_exact = statistics.is_some_and(|statistics| is_exact(statistics, in_file.data_type()));
            let bounds = if is_exact { groups.bounds(index, self.field.data_type()) } else { None };
            self.add_bounds(bounds);
        }
    }

    fn add_bounds(&mut self, bounds: Option<(ScalarValue, ScalarValue)>) {
        let before = std::mem::replace(&mut self.bounds, Bounds::Unknown);
        self.bounds = match (before, bounds) {
            (Bounds::Unknown, _) | (_, None) => Bounds::Unknown,
            (Bounds::Empty, Some((min, max))) => Bounds::Between(min, max),
            (Bounds::Between(least, greatest), Some((min, max))) => Bounds::Between(
                if min.partial_cmp(&least).is_some_and(|order| order.is_lt()) { min } else { least },
                if max.partial_cmp(&greatest).is_some_and(|order| order.is_gt()) { max } else { greatest },
            ),
        };
    }
}

/// The statistics of one column in the row groups of a file.
struct Groups {
    leaf: usize,
    mins: ArrayRef,
    maxes: ArrayRef,
    nulls: UInt64Array,
}

impl Groups {
    fn of(file: &ParquetMetaData, schema: &Schema, name: &str) -> Option<Self> {
        // The converter does not know durations, whose statistics are those of integers.
        let is_duration = |field: &Field| matches!(field.data_type(), DataType::Duration(_));
        let as_it_is_written = |field: &Arc<Field>| match is_duration(field) {
            true => Arc::new(field.as_ref().clone().with_data_type(DataType::Int64)),
            false => Arc::clone(field),
        };
        let field = schema.field_with_name(name).ok()?;
        let data_type = field.data_type();
        let written;
        let schema = if is_duration(field) {
            written = Schema::new(schema.fields().iter().map(as_it_is_written).collect::<Vec<_>>());
            &written
        } else {
            schema
        };
        let converter =
            StatisticsConverter::try_new(name, schema, file.file_metadata().schema_descr()).ok()?;
        // A count that a writer left out is unknown.
        let converter = converter.with_missing_null_counts_as_zero(false);
        let groups = file.row_groups();
        Some(Self {
            leaf: converter.parquet_column_index()?,
            mins: of_type(converter.row_group_mins(groups).ok()?, data_type)?,
            maxes: of_type(converter.row_group_maxes(groups).ok()?, data_type)?,
            nulls: converter.row_group_null_counts(groups).ok()?,
        })
    }

    fn missing(&self, group: usize) -> Option<u64> {
        self.nulls.is_valid(group).then(|| self.nulls.value(group))
    }

    /// The bounds in the type of the table, which may be wider than that of the file.
    fn bounds(&self, group: usize, data_type: &DataType) -> Option<(ScalarValue, ScalarValue)> {
        let in_table = |values: &ArrayRef| {
            let value =
                ScalarValue::try_from_array(values, group).ok().filter(|value| !is_no_bound(value))?;
            let cast = value.cast_to(data_type).ok()?;
            // Converted back for comparison: a bound that does not fit the table's type would become another value.
            (cast.cast_to(&value.data_type()).ok()? == value).then_some(cast)
        };
        let (min, max) = (in_table(&self.mins)?, in_table(&self.maxes)?);
        min.partial_cmp(&max).is_some_and(|order| order.is_le()).then_some((min, max))
    }
}

/// Converts integers to durations, as which they were written; other values are unchanged.
fn of_type(values: ArrayRef, data_type: &DataType) -> Option<ArrayRef> {
    match data_type {
        DataType::Duration(_) => cast(&values, data_type).ok(),
        _ => Some(values),
    }
}

/// Whether the bounds are values of the column: not truncated, and in the order of the type. Writers of old files compared bytes
/// and unsigned integers as signed.
fn is_exact(statistics: &Statistics, data_type: &DataType) -> bool {
    let is_bytes =
        matches!(statistics.physical_type(), PhysicalType::BYTE_ARRAY | PhysicalType::FIXED_LEN_BYTE_ARRAY);
    let is_deprecated = statistics.is_min_max_deprecated();
    match is_bytes {
        // Only bytes can be truncated, and not every writer marks numbers as exact.
        true => !is_deprecated && statistics.min_is_exact() && statistics.max_is_exact(),
        false => !(is_deprecated && data_type.is_unsigned_integer()),
    }
}

/// NaN has no place in the order, so bounds that contain it prove nothing.
fn is_no_bound(value: &ScalarValue) -> bool {
    match value {
        ScalarValue::Float16(Some(value)) => value.is_nan(),
        ScalarValue::Float32(Some(value)) => value.is_nan(),
        ScalarValue::Float64(Some(value)) => value.is_nan(),
        value => value.is_null(),
    }
}

fn count(rows: i64) -> u64 {
    u64::try_from(rows).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{
            Float64Array, Int32Array, Int64Array, ListArray, NullArray, RecordBatch, StringArray, UInt32Array,
        },
        datatypes::Int64Type,
    };
    use parquet::{
        arrow::ArrowWriter,
        file::{reader::FileReader, serialized_reader::SerializedFileReader, statistics::ValueStatistics},
    };

    use super::*;

    /// A file with one row group per batch.
    fn file(batches: &[RecordBatch]) -> ParquetMetaData {
        let mut written = tempfile::tempfile().unwrap();
        let mut writer = ArrowWriter::try_new(&mut written, batches[0].schema(), None).unwrap();
        for batch in batches {
            writer.write(batch).unwrap();
            writer.flush().unwrap();
        }
        writer.close().unwrap();
        let reader = SerializedFileReader::new(written).unwrap();
        reader.metadata().clone()
    }

    fn batch(column: ArrayRef) -> RecordBatch {
        RecordBatch::try_from_iter_with_nullable([("x", column, true)]).unwrap()
    }

    fn integers(from: i64, to: i64) -> RecordBatch {
        batch(Arc::new(Int64Array::from_iter_values(from..=to)))
    }

    /// The same file with other statistics for the column in one of its row groups.
    fn with_statistics(
        file: &ParquetMetaData,
        group: usize,
        statistics: Option<Statistics>,
    ) -> ParquetMetaData {
        let mut builder = file.clone().into_builder();
        let mut groups = builder.take_row_groups();
        let chunk = groups[group].column(0).clone().into_builder();
        let chunk = match statistics {
            Some(statistics) => chunk.set_statistics(statistics),
            None => chunk.clear_statistics(),
        };
        let columns = vec![chunk.build().unwrap()];
        groups[group] = groups[group].clone().into_builder().set_column_metadata(columns).build().unwrap();
        builder.set_row_groups(groups).build()
    }

    fn facts(data_type: DataType, files: &[ParquetMetaData]) -> (u64, ColumnFacts) {
        let schema = Arc::new(Schema::new(vec![Field::new("x", data_type, true)]));
        let mut table = Table::new(&schema, &[]);
        files.iter().for_each(|file| table.add(file));
        let FooterFacts { rows, mut columns } = table.finish();
        (rows, columns.remove(0))
    }

    #[track_caller]
    fn check(
        data_type: DataType,
        files: &[ParquetMetaData],
        missing: Option<u64>,
        bounds: Option<(i64, i64)>,
    ) {
        let (_, found) = facts(data_type.clone(), files);
        let shown = |value: Option<ScalarValue>| {
            value.map(|value| match value.cast_to(&DataType::Int64).unwrap() {
                ScalarValue::Int64(Some(value)) => value,
                other => panic!("{other:?}"),
            })
        };
        assert!(found.min.iter().all(|min| min.data_type() == data_type));
        assert_eq!((found.missing, shown(found.min).zip(shown(found.max))), (missing, bounds));
    }

    #[test]
    fn a_row_group_without_statistics_leaves_no_bounds() {
        let whole = file(&[integers(1, 1000), integers(1001, 2000)]);
        check(DataType::Int64, std::slice::from_ref(&whole), Some(0), Some((1, 2000)));
        let without = with_statistics(&whole, 1, None);
        check(DataType::Int64, std::slice::from_ref(&without), None, None);
        assert_eq!(facts(DataType::Int64, std::slice::from_ref(&without)).0, 2000);
        // The same if it has none in another file of the table.
        check(DataType::Int64, &[without, whole.clone()], None, None);
        check(DataType::Int64, &[whole.clone(), file(&[integers(-5, 3)])], Some(0), Some((-5, 2000)));
    }

    #[test]
    fn missing_values_need_no_bounds_and_bounds_no_missing_values() {
        let nulls = batch(Arc::new(Int64Array::from(vec![None::<i64>; 7])));
        check(DataType::Int64, &[file(&[integers(1, 3), nulls.clone()])], Some(7), Some((1, 3)));
        check(DataType::Int64, &[file(&[nulls])], Some(7), None);
        let bounds_only = Statistics::int64(Some(1), Some(3), None, None, false);
        let file = with_statistics(&file(&[integers(1, 3)]), 0, Some(bounds_only));
        check(DataType::Int64, &[file], None, Some((1, 3)));
    }

    #[test]
    fn files_of_other_schemas_are_read_as_the_table_is() {
        let narrow = file(&[batch(Arc::new(Int32Array::from(vec![Some(-7), None, Some(9)])))]);
        check(DataType::Int64, &[narrow.clone(), file(&[integers(1, 3)])], Some(1), Some((-7, 9)));
        let other =
            RecordBatch::try_from_iter([("y", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef)]).unwrap();
        check(DataType::Int64, &[file(&[other]), narrow], Some(3), Some((-7, 9)));
        let void = batch(Arc::new(NullArray::new(4)));
        check(DataType::Int64, &[file(&[void]), file(&[integers(1, 3)])], Some(4), Some((1, 3)));
    }

    #[test]
    fn what_proves_nothing_is_not_taken() {
        let list = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), None]), None]);
        let list_type = list.data_type().clone();
        let (rows, found) = facts(list_type, &[file(&[batch(Arc::new(list))])]);
        assert_eq!((rows, found), (2, ColumnFacts { missing: None, min: None, max: None }));

        let floats = file(&[batch(Arc::new(Float64Array::from(vec![1.0, 2.0])))]);
        let nan = Statistics::double(Some(1.0), Some(f64::NAN), None, Some(0), false);
        check(DataType::Float64, &[with_statistics(&floats, 0, Some(nan))], Some(0), None);
        check(DataType::Float64, &[floats], Some(0), Some((1, 2)));

        let unsigned = file(&[batch(Arc::new(UInt32Array::from(vec![1, u32::MAX])))]);
        check(DataType::UInt32, std::slice::from_ref(&unsigned), Some(0), Some((1, i64::from(u32::MAX))));
        let old = Statistics::int32(Some(-1), Some(1), None, Some(0), true);
        check(DataType::UInt32, &[with_statistics(&unsigned, 0, Some(old))], Some(0), None);

        let reversed = Statistics::int64(Some(9), Some(1), None, Some(0), false);
        check(
            DataType::Int64,
            &[with_statistics(&file(&[integers(1, 9)]), 0, Some(reversed))],
            Some(0),
            None,
        );

        let texts = file(&[batch(Arc::new(StringArray::from(vec!["a", "b"])))]);
        let cut = ValueStatistics::new(Some("a".into()), Some("c".into()), None, Some(0), false)
            .with_max_is_exact(false);
        let cut = with_statistics(&texts, 0, Some(Statistics::ByteArray(cut)));
        let (_, found) = facts(DataType::Utf8, &[cut]);
        assert_eq!((found.missing, found.max), (Some(0), None));
    }
}
