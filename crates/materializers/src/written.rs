//! The description of a written output.

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use chrono::{DateTime, Utc};
use daglight_run_bundle::Materialization;
use datafusion::{
    common::{TableReference, utils::memory::RecordBatchMemoryCounter},
    datasource::{MemTable, listing::ListingTable},
    error::Result,
    prelude::SessionContext,
};

use crate::stored_files::StoredFiles;

/// An existing output.
///
/// An output that is written by other means than an [`Output`](crate::Output) starts with [`Written::new`], and adds what else is
/// known: `Written::new("risk", Materialization::Table, schema).with_rows(12)`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Written {
    /// The stable external name.
    pub name: String,
    /// How it is kept.
    pub materialization: Materialization,
    /// The path or URL of its files, as given.
    pub location: Option<String>,
    /// Rows written; `None` for a view.
    pub rows: Option<u64>,
    /// Bytes written: to files, or in memory. `None` if unknown.
    pub bytes: Option<u64>,
    /// How many files were written.
    pub file_count: Option<u64>,
    /// How many files of the same kind were there before, and still are.
    pub files_before: Option<u64>,
    /// The columns.
    pub schema: SchemaRef,
    /// The signature of a parameter table: see [`ParamTable`](crate::ParamTable).
    pub signature: Option<String>,
    /// When it was complete.
    pub written_at: DateTime<Utc>,
}

impl Written {
    /// Written just now; only the columns are known.
    #[expect(clippy::disallowed_methods, reason = "an output has the time at which it was complete")]
    pub fn new(name: impl Into<String>, materialization: Materialization, schema: SchemaRef) -> Self {
        Self {
            name: name.into(),
            materialization,
            location: None,
            rows: None,
            bytes: None,
            file_count: None,
            files_before: None,
            schema,
            signature: None,
            written_at: Utc::now(),
        }
    }

    /// Sets another way in which it is kept.
    #[must_use]
    pub fn kept_as(mut self, materialization: Materialization) -> Self {
        self.materialization = materialization;
        self
    }

    /// Sets the path or URL of its files.
    #[must_use]
    pub fn with_location(mut self, location: impl Into<String>) -> Self {
        self.location = Some(location.into());
        self
    }

    /// Sets the number of rows written.
    #[must_use]
    pub fn with_rows(mut self, rows: u64) -> Self {
        self.rows = Some(rows);
        self
    }

    /// Sets the number of bytes written.
    #[must_use]
    pub fn with_bytes(mut self, bytes: u64) -> Self {
        self.bytes = Some(bytes);
        self
    }

    /// Sets the files that contain it.
    #[must_use]
    pub fn with_files(mut self, files: &StoredFiles) -> Self {
        self.bytes = Some(files.bytes());
        self.file_count = Some(files.count());
        self
    }

    /// A registered table: either in memory, with its rows and bytes, or at the location of its files, of which only the format is
    /// inspected.
    ///
    /// # Errors
    /// When there is no such table.
    pub async fn table(
        session: &SessionContext,
        table: impl Into<TableReference>,
        name: impl Into<String>,
    ) -> Result<Self> {
        let provider = session.table_provider(table).await?;
        let mut written = Self::new(name, Materialization::Table, provider.schema());
        if let Some(in_memory) = provider.downcast_ref::<MemTable>() {
            let mut rows = 0;
            let mut memory = RecordBatchMemoryCounter::new();
            for partition in &in_memory.batches {
                for batch in partition.read().await.iter() {
                    rows += batch.num_rows() as u64;
                    memory.count_batch(batch);
                }
            }
            (written.rows, written.bytes) = (Some(rows), Some(memory.memory_usage() as u64));
        } else if let Some(listing) = provider.downcast_ref::<ListingTable>() {
            written.materialization = Materialization::files(&listing.options().format.get_ext());
            written.location = listing.table_paths().first().map(ToString::to_string);
        }
        Ok(written)
    }
}

/// The memory used by batches. Shared buffers count once: a join may return thousands of batches whose columns are slices of one
/// buffer.
pub fn memory_bytes<'b>(batches: impl IntoIterator<Item = &'b RecordBatch>) -> u64 {
    let mut memory = RecordBatchMemoryCounter::new();
    for batch in batches {
        memory.count_batch(batch);
    }
    memory.memory_usage() as u64
}
