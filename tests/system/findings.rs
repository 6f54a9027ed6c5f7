//! Causes planted in real runs of DataFusion: each is found, and rightly named; and a healthy run has none.

use std::fs;

use daglight_system_tests::{Checkout, Daglight, generate_tpch, tpch_query};
use serde_json::Value;

/// Each finding of a run, by kind, with its node, operator and summary.
fn findings(checkout: &Checkout, sql: &str, arguments: &[&str], code: i32) -> Vec<Value> {
    let pipeline = checkout.pipeline("planted.sql", sql);
    let finished = Daglight::run(checkout, &pipeline)
        .args(arguments)
        .env("HAMILTON_TRACKER_ENABLED", "false")
        .finish()
        .report(code);
    let bundle = checkout.path().join(finished["bundle"].as_str().expect("a bundle"));
    let report = fs::read_to_string(bundle.join("run_diagnostics_report.json")).expect("a report");
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let findings = report["findings"].as_array().expect("a list").clone();
    let markdown = fs::read_to_string(bundle.join("run_diagnostics_report.md")).expect("a report");
    for finding in &findings {
        let page = finding["page"].as_str().expect("a page");
        assert!(markdown.contains(page), "{page} is not in\n{markdown}");
    }
    findings
}

#[track_caller]
fn check(sql: &str, code: i32, kind: &str, node: Option<&str>, summary: &str) {
    let findings = findings(&Checkout::new(), sql, &[], code);
    let found = findings.iter().find(|finding| finding["kind"] == kind);
    let found = found.unwrap_or_else(|| panic!("{kind} is not among {findings:#?}"));
    assert_eq!(found["node"].as_str(), node, "{found:#}");
    assert!(found["summary"].as_str().is_some_and(|text| text.contains(summary)), "{found:#}");
    assert!(found["evidence"].as_array().is_some_and(|evidence| !evidence.is_empty()), "{found:#}");
}

#[test]
fn a_cross_join_is_found() {
    let sql = "CREATE TABLE a AS SELECT value AS id FROM generate_series(1, 6000);
               CREATE TABLE b AS SELECT value AS id FROM generate_series(1, 5000);
               CREATE TABLE pairs AS SELECT count(*) AS n FROM a JOIN b ON a.id > b.id + 5990;";
    check(
        sql,
        0,
        "cross-join",
        Some("pairs"),
        "NestedLoopJoinExec in node pairs compared all of 6,000 rows with all of 5,000",
    );
}

#[test]
fn an_exploding_join_is_found() {
    let sql = "CREATE TABLE a AS SELECT value AS id, value % 3 AS k FROM generate_series(1, 6000);
               CREATE TABLE b AS SELECT value AS id, value % 3 AS k FROM generate_series(1, 5000);
               CREATE TABLE pairs AS SELECT max(a.id + b.id) AS n FROM a JOIN b ON a.k = b.k;";
    check(
        sql,
        0,
        "exploding-join",
        Some("pairs"),
        "HashJoinExec in node pairs returned 10.0 M rows from 5,000 and 6,000",
    );
}

#[test]
fn spill_is_found() {
    let sql = "SET datafusion.runtime.memory_limit = '40M';
               SET datafusion.execution.target_partitions = 1;
               CREATE VIEW wide AS SELECT value AS id, repeat(CAST(value AS VARCHAR), 20) AS t
                   FROM generate_series(1, 400000);
               COPY (SELECT * FROM wide ORDER BY t) TO 'out-sorted/sorted.parquet';";
    check(
        sql,
        0,
        "spill",
        Some("sorted_parquet"),
        "Memory was short: SortExec in node sorted_parquet spilled",
    );
}

#[test]
fn a_query_that_fails_for_want_of_memory_is_found() {
    let sql = "SET datafusion.runtime.memory_limit = '1M';
               CREATE TABLE many AS SELECT value % 300000 AS k, count(*) AS n
                   FROM generate_series(1, 600000) GROUP BY value % 300000 ORDER BY n, k;";
    check(
        sql,
        1,
        "memory-pressure",
        Some("many"),
        "Node many failed, because the memory that it may use was used up",
    );
}

#[test]
fn many_tiny_files_are_found_where_they_are_written_and_where_they_are_read() {
    let checkout = Checkout::new();
    let write = "COPY (SELECT value AS v, value % 150 AS part FROM generate_series(1, 15000)) TO 'out-tiny/'
                     STORED AS PARQUET PARTITIONED BY (part);";
    let read = "CREATE EXTERNAL TABLE small STORED AS PARQUET LOCATION 'out-tiny/';
                CREATE TABLE total AS SELECT sum(v) AS s FROM small;";
    let written = findings(&checkout, write, &[], 0);
    assert!(
        written.iter().any(|finding| {
            finding["kind"] == "tiny-output-files"
                && finding["summary"].as_str().is_some_and(|text| text.contains("consists of 150 files"))
        }),
        "{written:#?}"
    );
    let read = findings(&checkout, read, &[], 0);
    assert!(
        read.iter().any(|finding| {
            finding["kind"] == "many-small-files"
                && finding["node"] == "total"
                && finding["summary"].as_str().is_some_and(|text| text.contains("opened 150 files"))
        }),
        "{read:#?}"
    );
}

#[test]
fn nodes_that_could_run_at_once_are_found() {
    let table = |name: &str| {
        format!(
            "CREATE TABLE {name} AS SELECT sum(length(repeat(CAST(value AS VARCHAR), 200))) AS n
                 FROM generate_series(1, 400000);"
        )
    };
    let sql = ["a", "b", "c"].map(table).concat()
        + "CREATE TABLE all_of AS SELECT a.n + b.n + c.n AS n FROM a, b, c;";
    check(&sql, 0, "serial-nodes", None, "Nodes ran one after another");
}

#[test]
fn a_healthy_run_has_no_findings() {
    let checkout = Checkout::new();
    let data = checkout.path().join("tpch");
    generate_tpch(&data, 0.1, |_, _| ()).expect("the tables of TPC-H");
    let mut sql = String::new();
    for table in ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"] {
        let path = data.join(format!("{table}.parquet"));
        sql += &format!("CREATE EXTERNAL TABLE {table} STORED AS PARQUET LOCATION '{}';\n", path.display());
    }
    // The fifteenth is a view and a query of it.
    for number in (1..=22).filter(|number| *number != 15) {
        let query = tpch_query(number).expect("a query of TPC-H");
        sql += &format!("CREATE TABLE q{number} AS {};\n", query.trim().trim_end_matches(';'));
    }
    let mut found = findings(&checkout, &sql, &["--jobs", "2"], 0);
    // Other tests run on the same machine, and Daglight is built without optimisation here: benches measure what it costs.
    found.retain(|finding| finding["kind"] != "heartbeat-pause" && finding["kind"] != "telemetry-cost");
    assert!(found.is_empty(), "{found:#?}");
}
