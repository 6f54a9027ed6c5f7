//! Outputs in files.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{AsArray as _, RecordBatch},
    datatypes::{DataType, Schema, SchemaRef, UInt64Type},
};
use async_trait::async_trait;
use daglight_run_bundle::Materialization;
use datafusion::{
    common::TableReference,
    dataframe::DataFrame,
    datasource::{
        file_format::{FileFormat, FileFormatFactory, format_as_file_type},
        listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl},
    },
    error::{DataFusionError, Result},
    logical_expr::LogicalPlanBuilder,
    object_store::{ObjectStoreExt as _, path::Path},
    prelude::SessionContext,
};

use crate::{
    location::name_of_files,
    output::{Output, register},
    stored_files::StoredFiles,
    written::Written,
};

/// The length of the prefix that DataFusion generates for each file in a folder.
const WRITE_ID_LENGTH: usize = 16;

/// Parquet files.
#[derive(Debug, Clone, Copy)]
pub struct Parquet;

/// CSV files with a header.
#[derive(Debug, Clone, Copy)]
pub struct Csv;

/// JSON files with one object per line.
#[derive(Debug, Clone, Copy)]
pub struct Ndjson;

/// Arrow IPC files.
#[derive(Debug, Clone, Copy)]
pub struct Arrow;

macro_rules! file_formats {
    ($($format:ident => $file_type:literal),*) => {$(
        impl $format {
            /// A single file if the location has an extension, otherwise a folder of files.
            pub fn to(location: impl Into<String>) -> FileOutput {
                FileOutput::new($file_type, location.into())
            }
        }
    )*};
}
file_formats!(Parquet => "parquet", Csv => "csv", Ndjson => "json", Arrow => "arrow");

/// Files of one format, written like `COPY ... TO`.
///
/// Each write replaces the result of the previous one. A folder must belong to its output: if it contains files that no session
/// wrote, they are never removed, and the write is rejected instead.
#[derive(Debug, Clone)]
pub struct FileOutput {
    /// DataFusion's name of the format.
    file_type: &'static str,
    location: String,
    name: String,
    partition_by: Vec<String>,
    options: HashMap<String, String>,
}

impl FileOutput {
    fn new(file_type: &'static str, location: String) -> Self {
        let name = name_of_files(&location);
        Self { file_type, location, name, partition_by: Vec::new(), options: HashMap::new() }
    }

    /// Sets an external name other than that of the file.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Splits the rows into folders `column=value`. The location must then be a folder. Nulls in these columns are written by
    /// DataFusion as empty text or zero.
    #[must_use]
    pub fn partitioned_by<C: Into<String>>(mut self, columns: impl IntoIterator<Item = C>) -> Self {
        self.partition_by = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Sets an option of the format, like `COPY ... OPTIONS`: `option("compression", "zstd(6)")`.
    #[must_use]
    pub fn option(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let name = name.into();
        let name = if name.contains('.') { name } else { format!("format.{name}") };
        self.options.insert(name, value.into());
        self
    }

    /// Whether it is a single file instead of a folder.
    fn is_single(&self) -> Result<bool> {
        let url = ListingTableUrl::parse(&self.location)?;
        Ok(self.partition_by.is_empty() && !url.is_collection() && url.file_extension().is_some())
    }

    /// The location, with a trailing slash if it is a folder, which need not exist yet.
    fn target(&self) -> Result<String> {
        let slash = if self.is_single()? || self.location.ends_with('/') { "" } else { "/" };
        Ok(format!("{}{slash}", self.location))
    }

    fn url(&self) -> Result<ListingTableUrl> {
        ListingTableUrl::parse(self.target()?)
    }

    fn format(&self, session: &SessionContext) -> Result<Arc<dyn FileFormat>> {
        self.factory(session)?.create(&session.state(), &self.options)
    }

    /// The suffix of generated file names in a folder.
    fn ending(&self, session: &SessionContext) -> Result<String> {
        let format = self.format(session)?;
        let compressed =
            format.compression_type().and_then(|kind| format.get_ext_with_compression(&kind).ok());
        Ok(format!(".{}", compressed.unwrap_or_else(|| format.get_ext())))
    }

    async fn copy(&self, session: &SessionContext, frame: DataFrame, target: String) -> Result<u64> {
        let plan = LogicalPlanBuilder::copy_to(
            frame.into_unoptimized_plan(),
            target,
            format_as_file_type(self.factory(session)?),
            self.options.clone(),
            self.partition_by.clone(),
        )?
        .build()?;
        let counts = session.execute_logical_plan(plan).await?.collect().await?;
        Ok(counts.iter().map(count_of).sum())
    }

    /// The files of this output in its folder.
    async fn own_files(&self, session: &SessionContext, ending: &str) -> Result<StoredFiles> {
        let url = self.url()?;
        let all = StoredFiles::at(session, &self.target()?).await?;
        // Other subfolders are not partitions of this output, and the table does not read them.
        let in_partitions = |path: &Path| {
            let mut folders: Vec<_> = path.parts().skip(url.prefix().parts_count()).collect();
            folders.pop();
            folders.iter().all(|folder| folder.as_ref().contains('='))
        };
        let of_format = all.filter(|path| in_partitions(path) && path.as_ref().ends_with(ending));
        if let Some(foreign) = of_format.paths().find(|path| !is_of_a_session(path, ending)) {
            return Err(DataFusionError::Execution(format!(
                "{foreign} was not written by the output {:?}, and writing beside it would mix their data: \
                 give the output a folder of its own",
                self.name
            )));
        }
        Ok(of_format)
    }

    /// Writes a file next to the old one, which it replaces when complete: a query that fails half way leaves a file with the rows
    /// so far.
    async fn replace_file(&self, session: &SessionContext, frame: DataFrame) -> Result<u64> {
        let target = self.target()?;
        let (stem, ending) = target.rsplit_once('.').unwrap_or((&target, ""));
        // In the same folder, because a rename within one store is atomic, and with the same extension, because DataFusion uses
        // that to decide between a file and a folder.
        let unfinished = format!("{stem}.unfinished.{ending}");
        let [from, to] = [&unfinished, &target].map(ListingTableUrl::parse);
        let (from, to) = (from?, to?);
        let store = session.runtime_env().object_store(to.object_store())?;
        let copied = self.copy(session, frame, unfinished).await;
        match &copied {
            Ok(_) => store.rename(from.prefix(), to.prefix()).await?,
            // The error to report is that of the query, even if deleting fails, too.
            Err(_) => store.delete(from.prefix()).await.unwrap_or_default(),
        }
        copied
    }

    /// Writes next to the existing files of the folder, and then removes those; if writing fails, it removes the new files instead.
    async fn replace_folder(&self, session: &SessionContext, frame: DataFrame) -> Result<u64> {
        let ending = self.ending(session)?;
        // Listed before the query runs: it may read the very files that it replaces.
        let before = self.own_files(session, &ending).await?;
        let copied = self.copy(session, frame, self.target()?).await;
        let stale = match copied {
            Ok(_) => before,
            // The files of a failed write are removed, and the earlier ones are kept.
            Err(_) => self.own_files(session, &ending).await?.since(&before),
        };
        let store = session.runtime_env().object_store(self.url()?.object_store())?;
        for path in stale.paths() {
            store.delete(path).await?;
        }
        copied
    }

    fn factory(&self, session: &SessionContext) -> Result<Arc<dyn FileFormatFactory>> {
        session.state_ref().read().get_file_format_factory(self.file_type).ok_or_else(|| {
            DataFusionError::Configuration(format!("this session has no file format {:?}", self.file_type))
        })
    }

    fn table(&self, session: &SessionContext, schema: &SchemaRef) -> Result<ListingTable> {
        let ending = if self.is_single()? { String::new() } else { self.ending(session)? };
        let partitions: Vec<(String, DataType)> = self
            .partition_by
            .iter()
            .map(|column| Ok((column.clone(), schema.field_with_name(column)?.data_type().clone())))
            .collect::<Result<_>>()?;
        let in_files = schema.fields().iter().filter(|field| !self.partition_by.contains(field.name()));
        let file_schema = Arc::new(Schema::new(in_files.cloned().collect::<Vec<_>>()));
        let options = ListingOptions::new(self.format(session)?)
            .with_file_extension(ending)
            .with_table_partition_cols(partitions);
        // With the table reference, the session's cached facts about the files are dropped when the table is replaced.
        let url = self.url()?.with_table_ref(TableReference::from(self.name.as_str()));
        let config = ListingTableConfig::new(url).with_listing_options(options).with_schema(file_schema);
        let remembered = session.runtime_env().cache_manager.get_file_statistic_cache();
        Ok(ListingTable::try_new(config)?.with_cache(remembered))
    }
}

#[async_trait]
impl Output for FileOutput {
    fn name(&self) -> &str {
        &self.name
    }

    fn materialization(&self) -> Materialization {
        Materialization::files(self.file_type)
    }

    async fn write(&self, session: &SessionContext, frame: DataFrame) -> Result<Written> {
        let schema = Arc::clone(frame.schema().inner());
        let rows = match self.is_single()? {
            true => self.replace_file(session, frame).await?,
            false => self.replace_folder(session, frame).await?,
        };
        register(session, &self.name, Arc::new(self.table(session, &schema)?))?;
        let files = StoredFiles::at(session, &self.target()?).await?;
        Ok(Written {
            location: Some(self.location.clone()),
            rows: Some(rows),
            ..Written::new(&self.name, self.materialization(), schema).with_files(&files)
        })
    }
}

/// Whether DataFusion generated the name: letters and digits, a number unless there are partitions, the extension.
fn is_of_a_session(path: &Path, ending: &str) -> bool {
    let name = path.filename().and_then(|name| name.strip_suffix(ending)).unwrap_or_default();
    let (id, number) = name.split_once('_').unwrap_or((name, "0"));
    // DataFusion names the files of a write with an id of 16 letters and digits, and a number. Nothing else in the folder may be
    // deleted.
    id.len() == WRITE_ID_LENGTH
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// The row count that a sink returns as its only value.
fn count_of(batch: &RecordBatch) -> u64 {
    let counts = batch.columns().first().and_then(|column| column.as_primitive_opt::<UInt64Type>());
    counts.map_or(0, |counts| counts.iter().flatten().sum())
}
