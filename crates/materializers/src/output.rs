//! Where the rows of a `DataFrame` can go.

use std::{collections::HashMap, sync::Arc};

use arrow::array::{Array as _, UInt64Array};
use async_trait::async_trait;
use chrono::Utc;
use datafusion::{
    dataframe::DataFrame,
    datasource::{
        MemTable,
        file_format::{FileFormatFactory, format_as_file_type},
    },
    error::{DataFusionError, Result},
    execution::options::ArrowReadOptions,
    logical_expr::LogicalPlanBuilder,
    prelude::{CsvReadOptions, JsonReadOptions, ParquetReadOptions, SessionContext},
};

use crate::{Files, Materialization, Written, files_at};

/// Takes the rows of a `DataFrame`, and makes them known to a session under a stable name.
///
/// Implement it for destinations of one's own: write through a plan of the session where possible, because then the
/// data are summarised while they are written.
#[async_trait]
pub trait Output: Send + Sync {
    /// The stable external name.
    fn name(&self) -> &str;

    /// Writes and registers the rows.
    async fn write(&self, session: &SessionContext, frame: DataFrame) -> Result<Written>;
}

/// Parquet files.
#[derive(Debug, Clone, Copy)]
pub struct Parquet;

/// CSV files with a header.
#[derive(Debug, Clone, Copy)]
pub struct Csv;

/// JSON files, one object a line.
#[derive(Debug, Clone, Copy)]
pub struct Json;

/// Arrow IPC files.
#[derive(Debug, Clone, Copy)]
pub struct Arrow;

macro_rules! file_formats {
    ($($format:ident => $extension:literal),*) => {$(
        impl $format {
            #[doc = concat!("An output of `", $extension, "` files at `location`: one file where that ends in `.", $extension, "`, otherwise a folder.")]
            pub fn to(location: impl Into<String>) -> FileOutput {
                FileOutput::new($extension, location.into())
            }
        }
    )*};
}
file_formats!(Parquet => "parquet", Csv => "csv", Json => "json", Arrow => "arrow");

/// Files of one format.
#[derive(Debug, Clone)]
pub struct FileOutput {
    format: &'static str,
    location: String,
    name: String,
    partition_by: Vec<String>,
    options: HashMap<String, String>,
}

impl FileOutput {
    fn new(format: &'static str, location: String) -> Self {
        let stem = location.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let name = stem.split('.').next().unwrap_or_default().to_owned();
        Self { format, location, name, partition_by: Vec::new(), options: HashMap::new() }
    }

    /// The external name, instead of the file's.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Splits the rows into folders `column=value`.
    #[must_use]
    pub fn partitioned_by<C: Into<String>>(mut self, columns: impl IntoIterator<Item = C>) -> Self {
        self.partition_by = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Sets an option of the format, as `COPY ... OPTIONS` would.
    #[must_use]
    pub fn option(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.insert(name.into(), value.into());
        self
    }

    async fn register(&self, session: &SessionContext) -> Result<()> {
        let location = self.location.as_str();
        match self.format {
            "parquet" => session.register_parquet(&self.name, location, ParquetReadOptions::default()).await,
            "csv" => session.register_csv(&self.name, location, CsvReadOptions::default()).await,
            "json" => session.register_json(&self.name, location, JsonReadOptions::default()).await,
            _ => session.register_arrow(&self.name, location, ArrowReadOptions::default()).await,
        }
    }
}

#[async_trait]
impl Output for FileOutput {
    fn name(&self) -> &str {
        &self.name
    }

    async fn write(&self, session: &SessionContext, frame: DataFrame) -> Result<Written> {
        let schema = Arc::clone(frame.schema().inner());
        let factory = file_format(session, self.format)?;
        let plan = LogicalPlanBuilder::copy_to(
            frame.into_unoptimized_plan(),
            self.location.clone(),
            format_as_file_type(factory),
            self.options.clone(),
            self.partition_by.clone(),
        )?
        .build()?;
        let counts = session.execute_logical_plan(plan).await?.collect().await?;
        let rows = counts.iter().map(count_of).sum();
        session.deregister_table(self.name.as_str())?;
        self.register(session).await?;
        Ok(Written {
            name: self.name.clone(),
            materialization: Materialization::Files { format: self.format.to_owned() },
            location: Some(self.location.clone()),
            files: files_at(&self.location),
            rows: Some(rows),
            schema,
            written_at: Utc::now(),
        })
    }
}

fn file_format(session: &SessionContext, extension: &str) -> Result<Arc<dyn FileFormatFactory>> {
    session.state_ref().read().get_file_format_factory(extension).ok_or_else(|| {
        DataFusionError::Configuration(format!("this session has no file format {extension:?}"))
    })
}

/// The row count that a sink returns as its only value.
fn count_of(batch: &arrow::array::RecordBatch) -> u64 {
    let counts = batch.columns().first().and_then(|column| column.as_any().downcast_ref::<UInt64Array>());
    counts.map_or(0, |counts| counts.iter().flatten().sum())
}

/// A table in memory.
#[derive(Debug, Clone)]
pub struct Table {
    name: String,
}

impl Table {
    /// A table of that name.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }
}

#[async_trait]
impl Output for Table {
    fn name(&self) -> &str {
        &self.name
    }

    async fn write(&self, session: &SessionContext, frame: DataFrame) -> Result<Written> {
        let schema = Arc::clone(frame.schema().inner());
        let partitions = frame.collect_partitioned().await?;
        let batches = || partitions.iter().flatten();
        let rows = batches().map(|batch| batch.num_rows() as u64).sum();
        let bytes = batches().map(|batch| batch.get_array_memory_size() as u64).sum();
        session.register_table(
            self.name.as_str(),
            Arc::new(MemTable::try_new(Arc::clone(&schema), partitions)?),
        )?;
        Ok(Written {
            name: self.name.clone(),
            materialization: Materialization::Table,
            location: None,
            files: Some(Files { count: 0, bytes }),
            rows: Some(rows),
            schema,
            written_at: Utc::now(),
        })
    }
}

/// A view.
#[derive(Debug, Clone)]
pub struct View {
    name: String,
}

impl View {
    /// A view of that name.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }
}

#[async_trait]
impl Output for View {
    fn name(&self) -> &str {
        &self.name
    }

    async fn write(&self, session: &SessionContext, frame: DataFrame) -> Result<Written> {
        let schema = Arc::clone(frame.schema().inner());
        session.register_table(self.name.as_str(), frame.into_view())?;
        Ok(Written {
            name: self.name.clone(),
            materialization: Materialization::View,
            location: None,
            files: None,
            rows: None,
            schema,
            written_at: Utc::now(),
        })
    }
}
