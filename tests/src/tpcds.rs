//! The tables of TPC-DS as Parquet files, and its queries. DuckDB makes both, which the package index ships; nothing of the benchmark
//! is kept in this repository.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use dev_services::{Python, VirtualEnv};
use tempfile::TempDir;

use crate::{
    otlp::python_file,
    scratch::{scratch, workspace},
    slt::{SltOutcome, SltRecord},
};

/// How many queries there are.
const QUERIES: usize = 99;

/// A query of TPC-DS behind the tables that it may read, as a test of DataFusion's would have them.
#[derive(Debug)]
pub struct TpcdsQuery {
    /// Such as `tpcds/q64.sql`.
    pub name: String,
    /// The tables, and the query.
    pub records: Vec<SltRecord>,
}

/// The queries with a name that is wanted, in the order of their numbers, on tables at scale factor 0.01, which are generated once.
///
/// # Errors
/// When DuckDB cannot be installed, or does not write them.
pub fn tpcds_queries(is_wanted: impl Fn(&str) -> bool) -> Result<Vec<TpcdsQuery>> {
    let names: Vec<String> =
        (1..=QUERIES).map(|number| format!("tpcds/q{number}.sql")).filter(|name| is_wanted(name)).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let folder = data()?;
    let tables = tables(&folder)?;
    let query = |name: String| {
        let path = folder.join(name.trim_start_matches("tpcds/"));
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let query = record(text.trim().trim_end_matches(';').to_owned());
        Ok(TpcdsQuery { name, records: tables.iter().cloned().chain([query]).collect() })
    };
    names.into_iter().map(query).collect()
}

fn tables(folder: &Path) -> Result<Vec<SltRecord>> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "parquet"));
    paths.sort();
    let create = |path: &PathBuf| {
        let name = path.file_stem().map(|name| name.to_string_lossy()).unwrap_or_default();
        record(format!("CREATE EXTERNAL TABLE {name} STORED AS PARQUET LOCATION '{}'", path.display()))
    };
    Ok(paths.iter().map(create).collect())
}

fn record(sql: String) -> SltRecord {
    // Rows that are equal in what they are sorted by come in any order.
    SltRecord { line: 1, sql, expected: SltOutcome::Success, any_order: true }
}

fn data() -> Result<PathBuf> {
    let folder = scratch().join("tpcds-0.01");
    if !folder.exists() {
        let unfinished = TempDir::with_prefix_in(".tpcds-", scratch())?;
        let environment =
            VirtualEnv::prepare(&workspace(), &Python::find()?, "tpcds", &python_file("tpcds.txt"))?;
        dev_services::run(
            Command::new(environment.python()).arg(python_file("tpcds.py")).arg(unfinished.path()),
        )?;
        // Another process may have been faster.
        let renamed = fs::rename(unfinished.path(), &folder);
        ensure!(renamed.is_ok() || folder.exists(), "cannot write {}", folder.display());
    }
    Ok(folder)
}
