//! Facts about a table that are available without reading its rows.

use arrow::datatypes::SchemaRef;
use datafusion::{
    common::stats::Precision,
    datasource::{
        listing::{ListingTable, ListingTableUrl},
        physical_plan::FileScanConfig,
    },
    error::Result,
    physical_plan::{
        ExecutionPlan,
        statistics::{StatisticsArgs, StatisticsContext},
    },
    prelude::SessionContext,
};

use crate::{
    column_facts::{ColumnFacts, READING_LIMIT, Unread},
    parquet_facts::{FooterFacts, footer_facts},
    stored_files::{StoredFiles, file_scan},
};

/// A table according to its provider and the metadata of its files.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceFacts {
    /// The columns.
    pub schema: SchemaRef,
    /// The locations of its files, each with its pattern, if any.
    pub locations: Vec<String>,
    /// The same without patterns: files and folders.
    pub places: Vec<String>,
    /// The files that a scan of the whole table reads, if it is a table of files.
    pub files: Option<StoredFiles>,
    /// The number of its rows, if the files contain it.
    pub rows: Option<u64>,
    /// What the metadata of all files proves about each column, in schema order. Empty if nothing is proven.
    pub columns: Vec<ColumnFacts>,
    /// Why the metadata of its files was not read, if rows and columns are unknown for that reason.
    pub unread: Option<Unread>,
}

/// Asks the provider of a registered table. Reads metadata of files, but no rows.
///
/// # Errors
/// When there is no such table, or its provider cannot plan a scan.
pub async fn source_facts(session: &SessionContext, table: &str) -> Result<SourceFacts> {
    let provider = session.table_provider(table).await?;
    let listing = provider.downcast_ref::<ListingTable>();
    let urls = listing.map(|listing| listing.table_paths().as_slice()).unwrap_or_default();
    let locations: Vec<String> = urls.iter().map(location).collect();
    let places: Vec<String> = urls.iter().map(ToString::to_string).collect();
    let state = session.state();
    // Planned but not executed: DataFusion collects its statistics during planning.
    let scan = provider.scan(&state, None, &[], None).await?;
    // From the scan instead of the folder: pattern, extension, hidden files and subfolders affect what is read.
    let files = listing.map(|_| StoredFiles::read_by(scan.as_ref()));
    let statistics = StatisticsContext::new().compute(scan.as_ref(), &StatisticsArgs::new())?;
    let rows = exact(&statistics.num_rows).map(|rows| rows as u64);
    let schema = provider.schema();
    if let Some(parquet) = parquet_scan(scan.as_ref()) {
        let (rows, columns, unread) = match footer_facts(session, parquet, &schema, READING_LIMIT).await {
            Ok(FooterFacts { rows, columns }) => (Some(rows), columns, None),
            Err(unread) => (rows, Vec::new(), Some(unread)),
        };
        return Ok(SourceFacts { schema, locations, places, files, rows, columns, unread });
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
    Ok(SourceFacts { schema, locations, places, files, rows, columns, unread: None })
}

/// The location of a table's files, with their pattern, which is not part of the URL.
fn location(url: &ListingTableUrl) -> String {
    let pattern = url.get_glob().as_ref().map_or("", |glob| glob.as_str());
    format!("{url}{pattern}")
}

/// The files that a scan of Parquet reads.
fn parquet_scan(scan: &dyn ExecutionPlan) -> Option<&FileScanConfig> {
    file_scan(scan).filter(|files| files.file_source().file_type() == "parquet")
}

fn exact<T: Clone + std::fmt::Debug + PartialEq + Eq + PartialOrd>(value: &Precision<T>) -> Option<T> {
    match value {
        Precision::Exact(value) => Some(value.clone()),
        Precision::Inexact(_) | Precision::Absent => None,
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, pin::pin, time::Duration};

    use arrow::{array::AsArray as _, compute::cast, datatypes::DataType};
    use datafusion::{
        common::ScalarValue,
        dataframe::DataFrameWriteOptions,
        prelude::{CsvReadOptions, ParquetReadOptions},
    };
    use futures::FutureExt as _;

    use super::*;

    const FILES: usize = 20;

    /// A table with several files, whose footers the session has cached.
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

    /// Every file has one row, its own name, so the result of a query shows which files it reads.
    async fn check_files(session: &SessionContext, dir: &std::path::Path, table: &str, case: &str) -> usize {
        let query = session.sql(&format!("SELECT name FROM {table}")).await.unwrap();
        let rows = query.collect().await.unwrap();
        let names = rows.iter().flat_map(|batch| cast(batch.column(0), &DataType::Utf8));
        let names: Vec<String> = names
            .flat_map(|names| {
                names.as_string::<i32>().iter().flatten().map(str::to_owned).collect::<Vec<_>>()
            })
            .collect();
        let read: BTreeSet<&String> = names.iter().collect();
        assert_eq!(read.len(), names.len(), "{case}: {names:?}");
        let bytes = read.iter().map(|file| fs::metadata(dir.join(file)).unwrap().len()).sum::<u64>();
        let facts = source_facts(session, table).await.unwrap();
        let files = facts.files.as_ref().unwrap();
        assert_eq!((files.count(), files.bytes()), (read.len() as u64, bytes), "{case}: {read:?}");
        read.len()
    }

    /// A folder with files of many kinds, each with one row, its own name.
    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["sub/deep", "year=2024", "year=2025/month=1", ".git", "_temporary", "elsewhere"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        for name in [
            "a.csv",
            "ab.csv",
            "abc.csv",
            "b.CSV",
            "plain",
            "sub/x.csv",
            "sub/deep/x.csv",
            "year=2024/x.csv",
            "year=2025/month=1/y.csv",
            ".hidden.csv",
            "_under.csv",
            ".git/x.csv",
            "_temporary/x.csv",
            "data.txt",
            "old.csv.bak",
            "\u{fc}mlaut d.csv",
            "_SUCCESS",
            ".a.csv.crc",
            "big.json",
            "sub/big.parquet",
        ] {
            fs::write(dir.path().join(name), format!("name\n{name}\n")).unwrap();
        }
        #[cfg(unix)]
        {
            fs::write(dir.path().join("elsewhere/target"), "name\nlink.csv\n").unwrap();
            std::os::unix::fs::symlink(dir.path().join("elsewhere/target"), dir.path().join("link.csv"))
                .unwrap();
            fs::write(dir.path().join("elsewhere/target2"), "name\nsub/link.csv\n").unwrap();
            std::os::unix::fs::symlink("../elsewhere/target2", dir.path().join("sub/link.csv")).unwrap();
        }
        dir
    }

    #[tokio::test]
    async fn the_files_of_a_table_are_those_that_its_scan_reads() {
        let dir = folder();
        let places = [
            "*.csv",
            "a?.csv",
            "a*",
            "**/x.csv",
            "sub/*.csv",
            "*/x.csv",
            "[ab]*.csv",
            "a.csv",
            "data.txt",
            "plain",
            "link.csv",
            "sub/",
            "year=2024/",
            "year=2025/",
            "_temporary/",
            ".hidden.csv",
            "*.CSV",
            "ab*.csv",
            "*.none",
        ];
        let mut files = 0;
        for ignored in [true, false] {
            let session = SessionContext::new();
            let set = format!("SET datafusion.execution.listing_table_ignore_subdirectory = {ignored}");
            session.sql(&set).await.unwrap();
            for (number, place) in places.into_iter().enumerate() {
                let case = format!("{place:?} ignoring subfolders: {ignored}");
                let location = dir.path().join(place).display().to_string()
                    + if place.ends_with('/') { "/" } else { "" };
                let create = format!(
                    "CREATE EXTERNAL TABLE t{number} (name VARCHAR) STORED AS CSV LOCATION '{location}'"
                );
                session.sql(&create).await.unwrap();
                files += check_files(&session, dir.path(), &format!("t{number}"), &case).await;
            }
            // The extension of the format excludes files with another one.
            for (table, place, ending) in
                [("all", "", ".csv"), ("part", "sub/", ".csv"), ("texts", "", ".txt"), ("any", "sub/", "")]
            {
                let options = CsvReadOptions::new().file_extension(ending);
                let place = format!("{}/{place}", dir.path().display());
                session.register_csv(table, place, options).await.unwrap();
                files +=
                    check_files(&session, dir.path(), table, &format!("{table} {ending} {ignored}")).await;
            }
        }
        assert!(files > 60, "{files}");
    }

    #[tokio::test]
    async fn partitions_and_compressed_files_are_those_that_a_scan_reads() {
        let dir = tempfile::tempdir().unwrap();
        let session = SessionContext::new();
        let at = |path: &str| dir.path().join(path).display().to_string();
        for folder in ["parts/year=2024", "parts/year=2025", "zipped/sub"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        for name in ["parts/year=2024/x.csv", "parts/year=2025/y.csv"] {
            fs::write(at(name), format!("name\n{name}\n")).unwrap();
        }
        for name in ["zipped/c.csv.gz", "zipped/sub/d.csv.gz"] {
            let copy = format!(
                "COPY (SELECT '{name}' AS name) TO '{}' STORED AS CSV OPTIONS (compression gzip)",
                at(name)
            );
            session.sql(&copy).await.unwrap().collect().await.unwrap();
        }
        fs::write(at("zipped/e.csv"), "name\nzipped/e.csv\n").unwrap();
        let parts = "STORED AS CSV PARTITIONED BY (year)";
        let zipped = "OPTIONS ('format.compression' 'gzip')";
        for (table, columns, kind, place, options, expected) in [
            ("p", "name VARCHAR, year INT", parts, "parts/", "", 2),
            ("q", "name VARCHAR, year INT", parts, "parts/*.csv", "", 2),
            ("z", "name VARCHAR", "STORED AS CSV", "zipped/*.gz", zipped, 1),
            ("one", "name VARCHAR", "STORED AS CSV", "zipped/c.csv.gz", zipped, 1),
            ("text", "name VARCHAR", "STORED AS CSV", "zipped/*.csv", "", 1),
        ] {
            let create = format!(
                "CREATE EXTERNAL TABLE {table} ({columns}) {kind} LOCATION '{}' {options}",
                at(place)
            );
            let create = if place.ends_with('/') {
                create.replace(&at(place), &format!("{}/", at(place)))
            } else {
                create
            };
            session.sql(&create).await.unwrap();
            assert_eq!(check_files(&session, dir.path(), table, place).await, expected, "{place}");
        }
    }

    #[tokio::test]
    async fn a_location_has_its_pattern() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a1.csv"), "x\n1\n").unwrap();
        let session = SessionContext::new();
        for (table, pattern) in [("t", "a?.csv"), ("u", "*.csv"), ("v", "a1.csv")] {
            let place = format!("{}/{pattern}", dir.path().display());
            session
                .sql(&format!("CREATE EXTERNAL TABLE {table} STORED AS CSV LOCATION '{place}'"))
                .await
                .unwrap();
            assert_eq!(source_facts(&session, table).await.unwrap().locations, [format!("file://{place}")]);
        }
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
