//! The tables of scans, and the rows that they return.

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use daglight_plan_diagnostics::{MeasuredQuery, QueryOutcome};
use datafusion::{datasource::MemTable, prelude::SessionContext};
use futures::TryStreamExt as _;

use crate::support::{only, run, session};

async fn tables(ctx: &SessionContext, dir: &std::path::Path) {
    run(ctx, "CREATE TABLE memory AS SELECT value AS x, value % 7 AS k FROM generate_series(1, 1000)").await;
    run(ctx, "CREATE TABLE other AS SELECT * FROM memory WHERE x <= 200").await;
    run(ctx, "CREATE TABLE empty (x BIGINT)").await;
    run(ctx, "CREATE VIEW seen_through AS SELECT x + 1 AS y, k FROM memory WHERE k = 3").await;
    for format in ["parquet", "csv", "json", "arrow"] {
        let file = dir.join(format!("files.{format}"));
        run(ctx, &format!("COPY (SELECT * FROM memory) TO '{}'", file.display())).await;
        let options = if format == "csv" { " OPTIONS ('has_header' 'true')" } else { "" };
        let stored = format!(
            "CREATE EXTERNAL TABLE {format}_files STORED AS {format} LOCATION '{}'{options}",
            file.display()
        );
        run(ctx, &stored).await;
    }
}

fn scanned(report: &MeasuredQuery) -> Vec<(Option<&str>, Option<u64>)> {
    let scans = report.operators.iter().filter(|operator| operator.is_scan);
    let mut scans: Vec<_> = scans.map(|scan| (scan.table.as_deref(), scan.output_rows)).collect();
    scans.sort();
    scans
}

#[tokio::test]
async fn every_scan_has_its_table_and_its_rows() {
    let (ctx, seen, _) = session();
    let dir = tempfile::tempdir().unwrap();
    tables(&ctx, dir.path()).await;
    seen.reports();
    let cases: [(&str, &[(&str, u64)]); 18] = [
        ("SELECT * FROM memory", &[("memory", 1000)]),
        ("SELECT k FROM memory WHERE x > 990", &[("memory", 1000)]),
        ("SELECT k FROM memory LIMIT 10", &[("memory", 10)]),
        ("SELECT * FROM seen_through", &[("memory", 1000)]),
        ("SELECT * FROM empty", &[("empty", 0)]),
        ("SELECT * FROM memory JOIN other USING (x)", &[("memory", 1000), ("other", 200)]),
        ("SELECT * FROM memory a JOIN memory b ON a.x = b.k", &[("memory", 1000), ("memory", 1000)]),
        ("SELECT x FROM memory UNION ALL SELECT x FROM other", &[("memory", 1000), ("other", 200)]),
        ("SELECT x FROM memory WHERE x IN (SELECT x FROM other)", &[("memory", 1000), ("other", 200)]),
        (
            "SELECT x FROM memory WHERE x < (SELECT max(x) FROM parquet_files WHERE k = 1)",
            &[("memory", 1000), ("parquet_files", 1000)],
        ),
        (
            "SELECT * FROM parquet_files JOIN csv_files USING (x)",
            &[("csv_files", 1000), ("parquet_files", 1000)],
        ),
        ("SELECT sum(x) FROM json_files", &[("json_files", 1000)]),
        ("SELECT sum(x) FROM arrow_files", &[("arrow_files", 1000)]),
        ("SELECT * FROM generate_series(1, 50)", &[("generate_series()", 50)]),
        ("SELECT * FROM memory, (VALUES (1), (2)) AS v(c)", &[("memory", 1000)]),
        ("SELECT * FROM (VALUES (1), (2)) AS v(x)", &[]),
        ("SELECT 1", &[]),
        ("SELECT count(*) FROM memory", &[]),
    ];
    for (sql, expected) in cases {
        run(&ctx, sql).await;
        let report = only(&seen);
        let expected: Vec<_> = expected.iter().map(|(table, rows)| (Some(*table), Some(*rows))).collect();
        assert_eq!(scanned(&report), expected, "{sql}");
        assert_eq!(report.rows_read, Some(expected.iter().filter_map(|scan| scan.1).sum()), "{sql}");
    }
}

#[tokio::test]
async fn a_recursive_query_counts_what_each_round_reads() {
    let (ctx, seen, _) = session();
    run(&ctx, "CREATE TABLE edges AS SELECT value AS a, value + 1 AS b FROM generate_series(1, 10)").await;
    seen.reports();
    let sql = "WITH RECURSIVE walk AS (SELECT 1 AS n UNION ALL SELECT b FROM walk JOIN edges ON a = n) SELECT * FROM walk";
    assert_eq!(run(&ctx, sql).await, 11);
    let report = only(&seen);
    // Ten rounds find an edge, the last one finds none.
    assert_eq!(scanned(&report), [(Some("edges"), Some(110))]);
}

#[tokio::test]
async fn times_are_shown_per_partition() {
    let (ctx, seen, _) = session();
    run(&ctx, "SELECT value % 3 AS k, count(*) FROM generate_series(1, 100000) GROUP BY k").await;
    let report = only(&seen);
    let aggregates: Vec<_> =
        report.operators.iter().filter(|operator| operator.name == "AggregateExec").collect();
    assert!(aggregates.iter().any(|operator| operator.partitions == 2), "{aggregates:?}");
    for operator in &report.operators {
        assert!(operator.busy_per_partition() <= report.wall_time, "{operator:?} in {:?}", report.wall_time);
    }
}

#[tokio::test]
async fn what_the_partitions_measured_adds_up() {
    let (ctx, seen, _) = session();
    let dir = tempfile::tempdir().unwrap();
    tables(&ctx, dir.path()).await;
    seen.reports();
    for sql in [
        "SELECT value % 3 AS k, count(*) FROM generate_series(1, 100000) GROUP BY k",
        "SELECT sum(x) FROM parquet_files WHERE x > 10",
    ] {
        run(&ctx, sql).await;
        let metrics = only(&seen).to_plan_metrics(true);
        let mut most = 0;
        for operator in &metrics.operators {
            most = most.max(operator.partition_metrics.len());
            let mut sums: BTreeMap<_, u64> = BTreeMap::new();
            for partition in &operator.partition_metrics {
                for (name, value) in &partition.metrics {
                    *sums.entry(name.clone()).or_default() += value;
                }
            }
            // What is counted beside the engine is counted for all partitions together.
            let counted = operator.metrics.iter().filter(|(name, _)| sums.contains_key(*name));
            assert_eq!(sums, counted.map(|(name, value)| (name.clone(), *value)).collect(), "{operator:?}");
        }
        assert!(most > 1, "{metrics:?}");
    }
}

#[tokio::test]
async fn an_analysed_query_is_seen_like_any_other() {
    let (ctx, seen, _) = session();
    let dir = tempfile::tempdir().unwrap();
    tables(&ctx, dir.path()).await;
    seen.reports();
    seen.tapped_rows();
    let select = "SELECT k, count(*) AS n FROM memory GROUP BY k";
    run(&ctx, select).await;
    let plain = only(&seen);
    seen.tapped_rows();
    run(&ctx, &format!("EXPLAIN ANALYZE {select}")).await;
    let analyzed = only(&seen);
    assert!(analyzed.query.analyzed && !plain.query.analyzed);
    assert_eq!((analyzed.rows, analyzed.rows_read, seen.tapped_rows()), (Some(7), Some(1000), 7));
    assert_eq!(analyzed.query.fingerprints.plan_hash, plain.query.fingerprints.plan_hash);
    assert_eq!(analyzed.query.schema, plain.query.schema);

    let target = dir.path().join("analysed.csv");
    let copy = format!("EXPLAIN ANALYZE COPY (SELECT * FROM memory) TO '{}'", target.display());
    run(&ctx, &copy).await;
    let written = only(&seen);
    assert!(written.query.kind.is_write() && target.exists());
    assert_eq!((written.rows, seen.tapped_rows()), (Some(1000), 1000));
    run(&ctx, "EXPLAIN SELECT * FROM memory").await;
    run(&ctx, "EXPLAIN VERBOSE SELECT * FROM memory").await;
    assert!(seen.reports().is_empty());
}

/// The side of a join that waits for the other one was not executed when that fails.
#[tokio::test]
async fn a_query_that_fails_has_read_what_it_read() {
    let (ctx, seen, _) = session();
    let dir = tempfile::tempdir().unwrap();
    tables(&ctx, dir.path()).await;
    seen.reports();
    let failing = "SELECT * FROM (SELECT x, 1 / (x - x) AS z FROM other) o JOIN parquet_files p ON o.x = p.x AND o.z = p.k";
    ctx.sql(failing).await.unwrap().collect().await.unwrap_err();
    let report = only(&seen);
    assert!(matches!(report.outcome, QueryOutcome::Failed { .. }), "{:?}", report.outcome);
    let read: u64 = scanned(&report).iter().filter_map(|(_, rows)| *rows).sum();
    assert_eq!(report.rows_read, Some(read), "{:?}", scanned(&report));
    assert!((1..=1_200).contains(&read), "{read}");
}

/// What was read is counted by whoever takes the batches.
#[tokio::test]
async fn a_query_that_is_given_up_while_it_runs_has_read_what_it_had_read() {
    let (ctx, seen, live) = session();
    ctx.sql("SET datafusion.execution.target_partitions = 1").await.unwrap();
    let batches: Vec<RecordBatch> = (0..5)
        .map(|_| {
            let column: ArrayRef = Arc::new(Int64Array::from(vec![1; 10]));
            RecordBatch::try_from_iter([("x", column)]).unwrap()
        })
        .collect();
    let table = MemTable::try_new(batches[0].schema(), vec![batches]).unwrap();
    ctx.register_table("five", Arc::new(table)).unwrap();
    let mut stream = ctx.sql("SELECT x FROM five").await.unwrap().execute_stream().await.unwrap();
    let mut taken = 0;
    for _ in 0..2 {
        taken += stream.try_next().await.unwrap().unwrap().num_rows() as u64;
    }
    live.end(|_| false);
    assert_eq!(seen.reports().len(), 0);
    live.end(|_| true);
    let report = only(&seen);
    assert_eq!(
        (report.outcome, report.rows_read, report.rows),
        (QueryOutcome::Cancelled, Some(taken), Some(taken))
    );
    assert_eq!(live.sample().len(), 0);
    // It goes on as it would, and is not heard of again.
    while let Some(batch) = stream.try_next().await.unwrap() {
        taken += batch.num_rows() as u64;
    }
    drop(stream);
    assert_eq!((taken, seen.reports().len()), (50, 0));
}

#[tokio::test]
async fn a_scan_says_whether_its_partitions_share_their_files() {
    let (ctx, seen, _) = session();
    let dir = tempfile::tempdir().unwrap();
    tables(&ctx, dir.path()).await;
    seen.reports();
    let shares = async |sql| {
        run(&ctx, sql).await;
        only(&seen).query.to_plan_bundle(true).sources[0].shares_files
    };
    assert!(shares("SELECT k FROM parquet_files WHERE x > 990").await);
    assert!(!shares("SELECT k FROM memory WHERE x > 990").await);
    run(&ctx, "SET datafusion.execution.enable_file_stream_work_stealing = false").await;
    assert!(!shares("SELECT k FROM parquet_files WHERE x > 990").await);
}
