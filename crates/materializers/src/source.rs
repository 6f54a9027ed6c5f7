//! What is known of a table without reading its rows.

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
    StoredFiles,
    parquet_facts::{FooterFacts, footer_facts},
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
    // Files that cannot be listed are not told: the scan that reads them will say why.
    let files = match locations.as_slice() {
        [] => None,
        locations => StoredFiles::of_all(session, locations).await.ok(),
    };
    let state = session.state();
    let scan = provider.scan(&state, None, &[], None).await?;
    let statistics = StatisticsContext::new().compute(scan.as_ref(), &StatisticsArgs::new())?;
    let rows = exact(&statistics.num_rows).map(|rows| rows as u64);
    let schema = provider.schema();
    if let Some(parquet) = parquet_scan(scan.as_ref()) {
        // A footer that cannot be read is one for the scan to fail at.
        let footers = footer_facts(session, parquet, &schema).await.ok().flatten();
        let (rows, columns) = match footers {
            Some(FooterFacts { rows, columns }) => (Some(rows), columns),
            None => (rows, Vec::new()),
        };
        return Ok(SourceFacts { schema, locations, files, rows, columns });
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
    Ok(SourceFacts { schema, locations, files, rows, columns: if known { columns } else { Vec::new() } })
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
