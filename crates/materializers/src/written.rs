//! What an output says it has written.

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

/// An output that exists now.
///
/// One that is written by other means than an [`Output`](crate::Output) starts from [`Written::new`], and says what else
/// is known: `Written::new("risk", Materialization::Table, schema).with_rows(12)`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Written {
    /// The stable external name.
    pub name: String,
    /// How it is kept.
    pub materialization: Materialization,
    /// The path or URL of its files, as it was given.
    pub location: Option<String>,
    /// Rows written; `None` for a view.
    pub rows: Option<u64>,
    /// Bytes written: of files, or in memory. `None` where nobody says.
    pub bytes: Option<u64>,
    /// How many files were written.
    pub file_count: Option<u64>,
    /// The columns.
    pub schema: SchemaRef,
    /// What makes the rows of a parameter table the same: [`ParamTable`](crate::ParamTable) says how.
    pub signature: Option<String>,
    /// When it was complete.
    pub written_at: DateTime<Utc>,
}

impl Written {
    /// Written just now, with nothing known but the columns.
    #[expect(clippy::disallowed_methods, reason = "an output has the time at which it was complete")]
    pub fn new(name: impl Into<String>, materialization: Materialization, schema: SchemaRef) -> Self {
        Self {
            name: name.into(),
            materialization,
            location: None,
            rows: None,
            bytes: None,
            file_count: None,
            schema,
            signature: None,
            written_at: Utc::now(),
        }
    }

    /// Kept in another way than was found out.
    #[must_use]
    pub fn kept_as(mut self, materialization: Materialization) -> Self {
        self.materialization = materialization;
        self
    }

    /// With the path or URL of its files.
    #[must_use]
    pub fn with_location(mut self, location: impl Into<String>) -> Self {
        self.location = Some(location.into());
        self
    }

    /// With the number of rows written.
    #[must_use]
    pub fn with_rows(mut self, rows: u64) -> Self {
        self.rows = Some(rows);
        self
    }

    /// With the bytes written.
    #[must_use]
    pub fn with_bytes(mut self, bytes: u64) -> Self {
        self.bytes = Some(bytes);
        self
    }

    /// With the files that hold it.
    #[must_use]
    pub fn with_files(mut self, files: &StoredFiles) -> Self {
        self.bytes = Some(files.bytes());
        self.file_count = Some(files.count());
        self
    }

    /// A registered table as it is kept: in memory with the rows and bytes that are there, or at the location of its
    /// files, of which only the format is looked at.
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

/// What batches take of memory. Buffers that they share count once: a join may return thousands of batches whose columns are
/// slices of one buffer.
pub fn memory_bytes<'b>(batches: impl IntoIterator<Item = &'b RecordBatch>) -> u64 {
    let mut memory = RecordBatchMemoryCounter::new();
    for batch in batches {
        memory.count_batch(batch);
    }
    memory.memory_usage() as u64
}
