//! Tests of what outputs write, register and report, with a real session.

use std::{fs, path::Path};

use arrow::util::pretty::pretty_format_batches;
use datafusion::prelude::SessionContext;

use super::*;
use crate::file_output::{Arrow, Csv, FileOutput, Ndjson, Parquet};

const ROWS: &str = "SELECT * FROM (VALUES (1, 'a', DATE '2024-01-31', 0.5), (2, 'b', NULL, NULL)) AS t(id, name, day, share)";
const NO_ROWS: &str =
    "SELECT 1::BIGINT AS id, 'a' AS name, DATE '2024-01-31' AS day, 0.5 AS share WHERE false";

/// The rows of a table, sorted by its first column.
async fn rows(session: &SessionContext, table: &str) -> Vec<String> {
    let batches =
        session.sql(&format!("SELECT * FROM {table} ORDER BY 1")).await.unwrap().collect().await.unwrap();
    let table = pretty_format_batches(&batches).unwrap().to_string();
    let lines = table.lines().skip(3).filter(|line| line.starts_with('|'));
    lines.map(|line| line.split('|').map(str::trim).collect::<Vec<_>>().join(" ").trim().to_owned()).collect()
}

async fn write(session: &SessionContext, sql: &str, output: &impl Output) -> Result<Written> {
    let frame = session.sql(sql).await.unwrap();
    output.write(session, frame).await
}

fn files_below(dir: &Path) -> Vec<String> {
    let mut found: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .flat_map(|entry| {
            let path = entry.unwrap().path();
            if path.is_dir() { files_below(&path) } else { vec![path.display().to_string()] }
        })
        .collect();
    found.sort();
    found
}

/// Writes rows, other rows and no rows to an output in turn, and reads each back.
async fn check_replaces(output: impl Output, materialization: &str) {
    let session = SessionContext::new();
    assert_eq!(output.materialization().name(), materialization);
    let written = write(&session, ROWS, &output).await.unwrap();
    assert_eq!((written.rows, written.name.as_str()), (Some(2), output.name()));
    assert_eq!(rows(&session, output.name()).await, ["1 a 2024-01-31 0.5", "2 b"]);

    let written = write(&session, &format!("{ROWS} WHERE id = 2"), &output).await.unwrap();
    assert_eq!(written.rows, Some(1));
    assert_eq!(rows(&session, output.name()).await, ["2 b"]);

    let written = write(&session, NO_ROWS, &output).await.unwrap();
    assert_eq!((written.rows, written.schema.fields().len()), (Some(0), 4));
    assert_eq!(rows(&session, output.name()).await, [""; 0]);
}

/// Creates the output, its format, and the suffix of its files.
type Format = (fn(String) -> FileOutput, &'static str, &'static str);

fn formats() -> [Format; 4] {
    [
        (Parquet::to, "parquet", "parquet"),
        (Csv::to, "csv", "csv"),
        (Ndjson::to, "ndjson", "json"),
        (Arrow::to, "arrow", "arrow"),
    ]
}

#[tokio::test]
async fn a_table_is_replaced() {
    check_replaces(Table::named("out"), "table").await;
}

#[tokio::test]
async fn a_file_of_each_format_is_replaced() {
    for (output, materialization, ending) in formats() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(format!("sub/late_orders.{ending}"));
        check_replaces(output(file.display().to_string()), materialization).await;
        assert_eq!(files_below(dir.path()), [file.display().to_string()]);
    }
}

#[tokio::test]
async fn a_folder_of_each_format_is_replaced() {
    for (output, materialization, ending) in formats() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("late_orders").display().to_string();
        check_replaces(output(folder), materialization).await;
        let left = files_below(&dir.path().join("late_orders"));
        assert!(left.iter().all(|file| file.ends_with(ending)) && left.len() <= 1, "{left:?}");
    }
}

#[tokio::test]
async fn partitions_of_each_format_are_replaced_and_read_back() {
    for (output, _, _) in formats() {
        let dir = tempfile::tempdir().unwrap();
        let session = SessionContext::new();
        let output = output(dir.path().display().to_string()).named("parted").partitioned_by(["id", "name"]);
        let written = write(&session, ROWS, &output).await.unwrap();
        assert_eq!((written.rows, written.file_count), (Some(2), Some(2)));
        assert!(files_below(dir.path())[0].contains("id=1/name=a/"));
        assert_eq!(rows(&session, "(SELECT id, name, day FROM parted)").await, ["1 a 2024-01-31", "2 b"]);

        let written = write(&session, &format!("{ROWS} WHERE id = 1"), &output).await.unwrap();
        assert_eq!((written.rows, written.file_count), (Some(1), Some(1)));
        assert_eq!(rows(&session, "(SELECT id, name, day FROM parted)").await, ["1 a 2024-01-31"]);

        let written = write(&session, NO_ROWS, &output).await.unwrap();
        assert_eq!((written.rows, written.file_count), (Some(0), Some(0)));
        assert_eq!(rows(&session, "parted").await, [""; 0]);
    }
}

#[tokio::test]
async fn files_and_bytes_are_those_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.csv");
    let written = write(&SessionContext::new(), ROWS, &Csv::to(file.display().to_string())).await.unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "id,name,day,share\n1,a,2024-01-31,0.5\n2,b,,\n");
    assert_eq!((written.bytes, written.file_count), (Some(fs::metadata(&file).unwrap().len()), Some(1)));
    assert_eq!(written.location.as_deref(), Some(&*file.display().to_string()));
}

#[tokio::test]
async fn options_of_the_format_count_for_writing_and_reading() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.csv");
    let output = Csv::to(file.display().to_string()).option("delimiter", ";");
    let session = SessionContext::new();
    write(&session, ROWS, &output).await.unwrap();
    assert!(fs::read_to_string(&file).unwrap().starts_with("id;name;day;share\n"));
    assert_eq!(rows(&session, "a").await, ["1 a 2024-01-31 0.5", "2 b"]);
}

#[tokio::test]
async fn an_output_may_be_written_from_itself() {
    let dir = tempfile::tempdir().unwrap();
    for location in ["own", "own.parquet"] {
        let output = Parquet::to(dir.path().join(location).display().to_string());
        let session = SessionContext::new();
        write(&session, ROWS, &output).await.unwrap();
        write(&session, "SELECT id + 1 AS id, name FROM own", &output).await.unwrap();
        assert_eq!(rows(&session, "own").await, ["2 a", "3 b"], "{location}");
    }
}

#[tokio::test]
async fn a_write_that_fails_leaves_what_was_there() {
    let dir = tempfile::tempdir().unwrap();
    for location in ["kept", "kept.parquet"] {
        let output = Parquet::to(dir.path().join(location).display().to_string());
        let session = SessionContext::new();
        write(&session, ROWS, &output).await.unwrap();
        let before = files_below(dir.path());
        let failing = "SELECT 10 / (5000 - value) AS id FROM generate_series(1, 9000)";
        write(&session, failing, &output).await.unwrap_err();
        assert_eq!(files_below(dir.path()), before);
        assert_eq!(rows(&session, "kept").await.len(), 2);
    }
}

#[tokio::test]
async fn files_of_others_are_never_removed() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("raw")).unwrap();
    fs::write(dir.path().join("raw/mine.parquet"), "x").unwrap();
    fs::write(dir.path().join("notes.txt"), "x").unwrap();
    let output = Parquet::to(dir.path().display().to_string()).named("out");
    let session = SessionContext::new();
    // Files that are not read as part of the table are not touched.
    write(&session, ROWS, &output).await.unwrap();
    assert_eq!(rows(&session, "out").await.len(), 2);

    fs::write(dir.path().join("mine.parquet"), "x").unwrap();
    let error = write(&session, ROWS, &output).await.unwrap_err().to_string();
    assert!(error.contains("mine.parquet") && error.contains("folder of its own"), "{error}");
    assert_eq!(files_below(dir.path()).len(), 4);
}

#[tokio::test]
async fn a_view_keeps_nothing_and_may_be_replaced() {
    let session = SessionContext::new();
    let output = View::named("semantic.v_risk_v1");
    let written = write(&session, ROWS, &output).await.unwrap();
    assert_eq!((written.rows, written.bytes, written.materialization.name()), (None, None, "view"));
    assert_eq!(rows(&session, "semantic.v_risk_v1").await.len(), 2);
    write(&session, "SELECT id FROM semantic.v_risk_v1 WHERE id = 2", &output).await.unwrap();
    assert_eq!(rows(&session, "semantic.v_risk_v1").await, ["2"]);
}

#[tokio::test]
async fn a_schema_is_made_and_a_catalog_is_not() {
    let session = SessionContext::new();
    let written = write(&session, ROWS, &Table::named("gold.orders")).await.unwrap();
    assert_eq!(written.bytes.map(|bytes| bytes > 0), Some(true));
    assert_eq!(rows(&session, "datafusion.gold.orders").await.len(), 2);
    let error = write(&session, ROWS, &Table::named("lake.gold.orders")).await.unwrap_err().to_string();
    assert!(error.contains("no catalog \"lake\""), "{error}");
}

/// A custom output that counts the rows, and keeps nothing.
struct Counted;

#[async_trait]
impl Output for Counted {
    fn name(&self) -> &str {
        "counted"
    }

    fn materialization(&self) -> Materialization {
        Materialization::Other("count".to_owned())
    }

    async fn write(&self, _: &SessionContext, frame: DataFrame) -> Result<Written> {
        let written = Written::new(self.name(), self.materialization(), Arc::clone(frame.schema().inner()));
        Ok(written.with_rows(frame.count().await? as u64))
    }
}

#[tokio::test]
async fn an_output_of_ones_own_is_one() {
    let written = write(&SessionContext::new(), ROWS, &Counted).await.unwrap();
    assert_eq!((written.rows, written.materialization.name()), (Some(2), "count"));
    let tags = Counted.tags(&Registry::default());
    assert_eq!((tags["materialization"].as_str(), tags["materialized_name"].as_str()), ("count", "counted"));
}
