//! What is known of a table without reading its rows.

use std::fmt;

use arrow::datatypes::SchemaRef;
use datafusion::{
    common::{ScalarValue, stats::Precision},
    datasource::{listing::ListingTable, physical_plan::FileScanConfig, source::DataSourceExec},
    error::Result,
    physical_plan::{
        ExecutionPlan,
        statistics::{StatisticsArgs, StatisticsContext},
    },
    prelude::SessionContext,
};

use crate::{
    parquet_facts::{FooterFacts, MAX_FILES, READING_LIMIT, footer_facts},
    stored_files::StoredFiles,
};

/// A table as its provider and its files' metadata describe it.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceFacts {
    /// The columns.
    pub schema: SchemaRef,
    /// Where its files lie.
    pub locations: Vec<String>,
    /// Its files, where they can be listed.
    pub files: Option<StoredFiles>,
    /// Its rows, where the files say so.
    pub rows: Option<u64>,
    /// What is proven of each column by the metadata of all files, in the order of the schema. Empty where nothing is.
    pub columns: Vec<ColumnFacts>,
    /// Why the metadata of its files were not read, where that is why rows and columns are not known.
    pub unread: Option<Unread>,
}

/// Why the metadata of files were not read to their end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unread {
    /// There are more than 1,000 files.
    TooManyFiles,
    /// It took longer than a second.
    TooSlow,
    /// The table takes parts of files, whose metadata are of the whole.
    PartsOfFiles,
    /// A file cannot be read, which the scan will say.
    Unreadable,
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyFiles => write!(f, "it has more than {MAX_FILES} files"),
            Self::TooSlow => write!(f, "reading them took longer than {READING_LIMIT:?}"),
            Self::PartsOfFiles => f.write_str("it takes parts of files"),
            Self::Unreadable => f.write_str("one of them cannot be read"),
        }
    }
}

/// A column as the metadata of its files describe it.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnFacts {
    /// Missing values, where known exactly.
    pub missing: Option<u64>,
    /// The least value, where known exactly.
    pub min: Option<ScalarValue>,
    /// The greatest value, where known exactly.
    pub max: Option<ScalarValue>,
}

/// Asks the provider of a registered table. Reads metadata of files, and no rows.
///
/// # Errors
/// When there is no such table, or its provider cannot plan a scan.
pub async fn source_facts(session: &SessionContext, table: &str) -> Result<SourceFacts> {
    let provider = session.table_provider(table).await?;
    let locations: Vec<String> = provider
        .downcast_ref::<ListingTable>()
        .map(|listing| listing.table_paths().iter().map(ToString::to_string).collect())
        .unwrap_or_default();
    // Files that cannot be listed are left out: the scan that reads them will say why.
    let files = match locations.as_slice() {
        [] => None,
        locations => StoredFiles::of_all(session, locations).await.ok(),
    };
    let state = session.state();
    // Planned and not executed: DataFusion collects the statistics that it has while it plans.
    let scan = provider.scan(&state, None, &[], None).await?;
    let statistics = StatisticsContext::new().compute(scan.as_ref(), &StatisticsArgs::new())?;
    let rows = exact(&statistics.num_rows).map(|rows| rows as u64);
    let schema = provider.schema();
    if let Some(parquet) = parquet_scan(scan.as_ref()) {
        let (rows, columns, unread) = match footer_facts(session, parquet, &schema, READING_LIMIT).await {
            Ok(FooterFacts { rows, columns }) => (Some(rows), columns, None),
            Err(unread) => (rows, Vec::new(), Some(unread)),
        };
        return Ok(SourceFacts { schema, locations, files, rows, columns, unread });
    }
    let columns: Vec<ColumnFacts> = statistics
        .column_statistics
        .iter()
        .map(|column| ColumnFacts {
            missing: exact(&column.null_count).map(|count| count as u64),
            min: exact(&column.min_value).filter(|value| !value.is_null()),
            max: exact(&column.max_value).filter(|value| !value.is_null()),
        })
        .collect();
    let known = columns.iter().any(|column| column.missing.is_some() || column.min.is_some());
    let columns = if known { columns } else { Vec::new() };
    Ok(SourceFacts { schema, locations, files, rows, columns, unread: None })
}

/// The files that a scan of Parquet reads.
fn parquet_scan(scan: &dyn ExecutionPlan) -> Option<&FileScanConfig> {
    let files = scan.downcast_ref::<DataSourceExec>()?.data_source().downcast_ref::<FileScanConfig>()?;
    (files.file_source().file_type() == "parquet").then_some(files)
}

fn exact<T: Clone + std::fmt::Debug + PartialEq + Eq + PartialOrd>(value: &Precision<T>) -> Option<T> {
    match value {
        Precision::Exact(value) => Some(value.clone()),
        Precision::Inexact(_) | Precision::Absent => None,
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, time::Duration};

    use datafusion::{dataframe::DataFrameWriteOptions, prelude::ParquetReadOptions};
    use futures::FutureExt as _;

    use super::*;

    const FILES: usize = 20;

    /// A table of several files, whose footers the session remembers.
    async fn table() -> (tempfile::TempDir, SessionContext) {
        let dir = tempfile::tempdir().unwrap();
        let session = SessionContext::new();
        for file in 0..FILES {
            let rows = session.sql(&format!("SELECT {file} AS x UNION ALL SELECT NULL")).await.unwrap();
            let path = dir.path().join(format!("{file}.parquet")).display().to_string();
            rows.write_parquet(&path, DataFrameWriteOptions::new(), None).await.unwrap();
        }
        let path = format!("{}/", dir.path().display());
        session.register_parquet("t", &path, ParquetReadOptions::default()).await.unwrap();
        source_facts(&session, "t").await.unwrap();
        (dir, session)
    }

    #[tokio::test]
    async fn footers_are_read_one_by_one_and_the_caller_can_stop_at_each() {
        let (_dir, session) = table().await;
        let scan = session.table_provider("t").await.unwrap();
        let scan = scan.scan(&session.state(), None, &[], None).await.unwrap();
        let files = parquet_scan(scan.as_ref()).unwrap();
        let schema = scan.schema();
        let mut reading = pin!(footer_facts(&session, files, &schema, Duration::MAX));
        let mut stops = 0;
        let facts = loop {
            match reading.as_mut().now_or_never() {
                Some(facts) => break facts.unwrap(),
                None => stops += 1,
            }
        };
        assert!(stops >= FILES, "{stops}");
        assert_eq!((facts.rows, facts.columns[0].missing), (2 * FILES as u64, Some(FILES as u64)));
        assert_eq!(facts.columns[0].max, Some(ScalarValue::Int64(Some(FILES as i64 - 1))));
    }

    #[tokio::test]
    async fn reading_footers_is_bounded_and_says_why_it_stopped() {
        let (_dir, session) = table().await;
        let scan = session.table_provider("t").await.unwrap();
        let scan = scan.scan(&session.state(), None, &[], None).await.unwrap();
        let files = parquet_scan(scan.as_ref()).unwrap();
        let found = footer_facts(&session, files, &scan.schema(), Duration::ZERO).await;
        assert_eq!(found, Err(Unread::TooSlow));
        assert_eq!(Unread::TooSlow.to_string(), "reading them took longer than 1s");
    }
}
