//! The table functions for the session's caches of files: `metadata_cache()`, `statistics_cache()` and `list_files_cache()`, with
//! the same columns as in `datafusion-cli`.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{
            ArrayRef, DurationMillisecondArray, ListArray, RecordBatch, StringArray, StructArray,
            TimestampMillisecondArray, UInt64Array,
        },
        buffer::OffsetBuffer,
        datatypes::{DataType, Field, Fields, Schema},
    },
    catalog::{MemTable, TableFunctionArgs, TableFunctionImpl, TableProvider},
    common::{
        heap_size::{DFHeapSize as _, DFHeapSizeCtx},
        instant::Instant,
        plan_err,
    },
    error::Result,
    execution::cache::cache_manager::CacheManager,
    prelude::SessionContext,
};

/// Registers the three functions.
pub(crate) fn register(session: &SessionContext) {
    let caches = &session.runtime_env().cache_manager;
    for (name, rows) in FUNCTIONS {
        session.register_udtf(name, Arc::new(CacheFunction { name, rows, caches: Arc::clone(caches) }));
    }
}

type Rows = fn(&CacheManager) -> Result<RecordBatch>;

const FUNCTIONS: [(&str, Rows); 3] = [
    ("metadata_cache", metadata_cache),
    ("statistics_cache", statistics_cache),
    ("list_files_cache", list_files_cache),
];

#[derive(Debug)]
struct CacheFunction {
    name: &'static str,
    rows: Rows,
    caches: Arc<CacheManager>,
}

impl TableFunctionImpl for CacheFunction {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        if !args.exprs().is_empty() {
            return plan_err!("{} takes no arguments", self.name);
        }
        let batch = (self.rows)(&self.caches)?;
        Ok(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?))
    }
}

/// A column with its name, and whether it is nullable.
type Described = (&'static str, bool, ArrayRef);

fn batch(columns: Vec<Described>) -> Result<RecordBatch> {
    let field =
        |(name, nullable, column): &Described| Field::new(*name, column.data_type().clone(), *nullable);
    let schema = Schema::new(columns.iter().map(field).collect::<Fields>());
    let columns = columns.into_iter().map(|(_, _, column)| column).collect();
    Ok(RecordBatch::try_new(Arc::new(schema), columns)?)
}

fn texts(texts: impl Iterator<Item = String>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(texts))
}

fn known_texts(texts: impl Iterator<Item = Option<String>>) -> ArrayRef {
    Arc::new(texts.collect::<StringArray>())
}

fn numbers(numbers: impl Iterator<Item = u64>) -> ArrayRef {
    Arc::new(UInt64Array::from_iter_values(numbers))
}

fn times(milliseconds: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampMillisecondArray::from_iter_values(milliseconds))
}

fn metadata_cache(caches: &CacheManager) -> Result<RecordBatch> {
    let mut entries: Vec<_> = caches.get_file_metadata_cache().list_entries().into_iter().collect();
    entries.sort_by_key(|(path, _)| path.to_string());
    let of = || entries.iter();
    let metas = || entries.iter().map(|(_, entry)| &entry.value.meta);
    let extra = of().map(|(_, entry)| {
        let extra = entry.value.file_metadata.extra_info();
        let mut extra: Vec<String> = extra.iter().map(|(key, value)| format!("{key}={value}")).collect();
        extra.sort();
        extra.join(" ")
    });
    batch(vec![
        ("path", false, texts(of().map(|(path, _)| path.to_string()))),
        ("file_modified", false, times(metas().map(|meta| meta.last_modified.timestamp_millis()))),
        ("file_size_bytes", false, numbers(metas().map(|meta| meta.size))),
        ("e_tag", true, known_texts(metas().map(|meta| meta.e_tag.clone()))),
        ("version", true, known_texts(metas().map(|meta| meta.version.clone()))),
        ("metadata_size_bytes", false, numbers(of().map(|(_, entry)| entry.size_bytes as u64))),
        ("hits", false, numbers(of().map(|(_, entry)| entry.hits as u64))),
        ("extra", true, texts(extra)),
    ])
}

fn statistics_cache(caches: &CacheManager) -> Result<RecordBatch> {
    let cache = caches.get_file_statistic_cache();
    let mut entries: Vec<_> =
        cache.map(|cache| cache.list_entries()).unwrap_or_default().into_iter().collect();
    entries.sort_by_key(|(path, _)| path.path.to_string());
    let of = || entries.iter();
    let metas = || entries.iter().map(|(_, entry)| &entry.value.meta);
    let statistics = || entries.iter().map(|(_, entry)| &entry.value.statistics);
    let table = |table: &Option<_>| table.as_ref().map_or_else(String::new, ToString::to_string);
    batch(vec![
        ("path", false, texts(of().map(|(path, _)| path.path.to_string()))),
        ("table", false, texts(of().map(|(path, _)| table(&path.table)))),
        ("file_modified", false, times(metas().map(|meta| meta.last_modified.timestamp_millis()))),
        ("file_size_bytes", false, numbers(metas().map(|meta| meta.size))),
        ("e_tag", true, known_texts(metas().map(|meta| meta.e_tag.clone()))),
        ("version", true, known_texts(metas().map(|meta| meta.version.clone()))),
        ("num_rows", false, texts(statistics().map(|of| of.num_rows.to_string()))),
        ("num_columns", false, numbers(statistics().map(|of| of.column_statistics.len() as u64))),
        ("table_size_bytes", false, texts(statistics().map(|of| of.total_byte_size.to_string()))),
        (
            "statistics_size_bytes",
            false,
            numbers(statistics().map(|of| of.heap_size(&mut DFHeapSizeCtx::default()) as u64)),
        ),
        ("hits", false, numbers(of().map(|(_, entry)| entry.hits as u64))),
    ])
}

fn list_files_cache(caches: &CacheManager) -> Result<RecordBatch> {
    let cache = caches.get_list_files_cache();
    let mut entries: Vec<_> =
        cache.map(|cache| cache.list_entries()).unwrap_or_default().into_iter().collect();
    entries.sort_by_key(|(path, _)| path.path.to_string());
    let of = || entries.iter();
    let files = || entries.iter().flat_map(|(_, entry)| entry.value.files.iter());
    let fields = Fields::from(vec![
        Field::new("file_path", DataType::Utf8, false),
        Field::new("file_modified", TIME, false),
        Field::new("file_size_bytes", DataType::UInt64, false),
        Field::new("e_tag", DataType::Utf8, true),
        Field::new("version", DataType::Utf8, true),
    ]);
    let listed = StructArray::try_new(
        fields,
        vec![
            texts(files().map(|file| file.location.to_string())),
            times(files().map(|file| file.last_modified.timestamp_millis())),
            numbers(files().map(|file| file.size)),
            known_texts(files().map(|file| file.e_tag.clone())),
            known_texts(files().map(|file| file.version.clone())),
        ],
        None,
    )?;
    let item = Arc::new(Field::new("metadata", DataType::Struct(listed.fields().clone()), true));
    let lengths = OffsetBuffer::<i32>::from_lengths(of().map(|(_, entry)| entry.value.files.len()));
    let now = Instant::now();
    let left = of().map(|(_, entry)| {
        let left = entry.expires?.saturating_duration_since(now);
        i64::try_from(left.as_millis()).ok()
    });
    batch(vec![
        ("table", true, known_texts(of().map(|(path, _)| path.table.as_ref().map(ToString::to_string)))),
        ("path", false, texts(of().map(|(path, _)| path.path.to_string()))),
        ("metadata_size_bytes", false, numbers(of().map(|(_, entry)| entry.size_bytes as u64))),
        ("expires_in", true, Arc::new(left.collect::<DurationMillisecondArray>())),
        ("metadata_list", true, Arc::new(ListArray::try_new(item, lengths, Arc::new(listed), None)?)),
        ("hits", false, numbers(of().map(|(_, entry)| entry.hits as u64))),
    ])
}

/// The type of modification times.
const TIME: DataType = DataType::Timestamp(datafusion::arrow::datatypes::TimeUnit::Millisecond, None);
