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
fn a_key_that_few_partitions_have_is_found() {
    let sql = "SET datafusion.execution.target_partitions = 4;
               SET datafusion.optimizer.hash_join_single_partition_threshold = 0;
               SET datafusion.optimizer.hash_join_single_partition_threshold_rows = 0;
               CREATE TABLE events AS SELECT CASE WHEN value % 100 = 0 THEN value ELSE 7 END AS k,
                   repeat(CAST(value AS VARCHAR), 10) AS t FROM generate_series(1, 600000);
               CREATE TABLE names AS SELECT value AS k, 'n' || CAST(value AS VARCHAR) AS name
                   FROM generate_series(1, 200000);
               CREATE TABLE joined AS SELECT max(length(repeat(t || name, 3))) AS longest
                   FROM events JOIN names ON events.k = names.k;";
    check(
        sql,
        0,
        "partition-skew",
        Some("joined"),
        "RepartitionExec in node joined had most of its 600,000 rows in few of its 4 partitions (skew 99 %)",
    );
}

#[test]
fn a_scan_of_files_that_cannot_be_divided_evenly_is_found() {
    let checkout = Checkout::new();
    let write =
        "COPY (SELECT value AS v, repeat(CAST(value AS VARCHAR), 20) AS t FROM generate_series(1, 400000))
                     TO 'out-one/one.parquet' STORED AS PARQUET;";
    let read = "SET datafusion.execution.target_partitions = 4;
                SET datafusion.optimizer.repartition_file_min_size = 1;
                CREATE EXTERNAL TABLE one STORED AS PARQUET LOCATION 'out-one/one.parquet';
                CREATE TABLE total AS SELECT max(length(t)) AS longest FROM one WHERE t LIKE '%9%';";
    findings(&checkout, write, &[], 0);
    let found = findings(&checkout, read, &[], 0);
    let skew = found.iter().find(|finding| finding["kind"] == "partition-skew");
    let skew = skew.unwrap_or_else(|| panic!("{found:#?}"));
    assert_eq!(
        (&skew["node"], &skew["operator"]),
        (&"total".into(), &"DataSourceExec (one)".into()),
        "{skew:#}"
    );
}

#[test]
fn a_join_of_files_without_statistics_is_found() {
    let checkout = Checkout::new();
    let write = "COPY (SELECT value AS k, value % 9 AS v FROM generate_series(1, 600000)) TO 'out-csv/a.csv' STORED AS CSV;
                 COPY (SELECT value AS k FROM generate_series(1, 300000)) TO 'out-csv/b.csv' STORED AS CSV;";
    let read = "CREATE EXTERNAL TABLE a STORED AS CSV LOCATION 'out-csv/a.csv' OPTIONS ('has_header' 'true');
                CREATE EXTERNAL TABLE b STORED AS CSV LOCATION 'out-csv/b.csv' OPTIONS ('has_header' 'true');
                CREATE TABLE total AS SELECT a.v, count(*) AS n FROM a JOIN b ON a.k = b.k GROUP BY a.v;";
    findings(&checkout, write, &[], 0);
    // DataFusion is built without optimisation here, and reads CSV for most of the time.
    fs::write(checkout.path().join("daglight.toml"), "[findings]\nmin_share = 0.001\n").expect("a file");
    let found = findings(&checkout, read, &[], 0);
    assert!(
        found.iter().any(|finding| {
            finding["kind"] == "missing-statistics"
                && finding["node"] == "total"
                && finding["summary"].as_str().is_some_and(|text| text.contains("600,000 rows come from it"))
        }),
        "{found:#?}"
    );
}

#[test]
fn thresholds_are_settings() {
    let checkout = Checkout::new();
    let sql = "CREATE TABLE a AS SELECT value AS id, value % 3 AS k FROM generate_series(1, 600);
               CREATE TABLE b AS SELECT value AS id, value % 3 AS k FROM generate_series(1, 500);
               CREATE TABLE pairs AS SELECT max(a.id + b.id) AS n FROM a JOIN b ON a.k = b.k;";
    let explodes = |checkout: &Checkout| {
        let found = findings(checkout, sql, &[], 0);
        found.iter().any(|finding| finding["kind"] == "exploding-join")
    };
    assert!(!explodes(&checkout));
    let settings = "[findings]\nexplosion_rows = 1000\nmin_ms = 0.0\nmin_share = 0.0\n";
    fs::write(checkout.path().join("daglight.toml"), settings).expect("a file");
    assert!(explodes(&checkout));
    // Afterwards the settings count that are there then.
    fs::write(checkout.path().join("daglight.toml"), "[findings]\nmax_per_kind = 0\n").expect("a file");
    let report = Daglight::new(&checkout, ["report", "out", "--json"]).finish().report(0);
    let found = report["findings"].as_array().expect("a list");
    assert!(found.iter().all(|finding| finding["kind"] != "exploding-join"), "{report:#}");
    fs::write(checkout.path().join("daglight.toml"), "[findings]\nexplosion_row = 1000\n").expect("a file");
    let wrong = Daglight::new(&checkout, ["run", "planted.sql"]).finish().ended_with(2);
    assert!(wrong.stderr.contains("explosion_rows"), "{}", wrong.stderr);
    // Who is on call needs the report, whatever is wrong with the settings.
    let report = Daglight::new(&checkout, ["report", "out"]).finish().ended_with(0);
    assert!(report.stderr.contains("findings are judged by the defaults"), "{}", report.stderr);
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

/// The findings of a run that are said against the last good one: kind, node and summary.
fn against_the_last_run(findings: &[Value]) -> Vec<(String, String, String)> {
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    let kinds = ["rows-lost", "row-drift", "schema-drift"];
    let found = findings.iter().filter(|finding| kinds.contains(&&*text(finding, "kind")));
    found.map(|finding| (text(finding, "kind"), text(finding, "node"), text(finding, "summary"))).collect()
}

#[test]
fn what_is_otherwise_than_in_the_last_good_run_is_found() {
    let checkout = Checkout::new();
    let file = |name: &str, text: String| fs::write(checkout.path().join(name), text).expect("a file");
    let customers = |prefix: &str, rows: u32| {
        let lines = (0..rows).map(|id| format!("{prefix}{id},DE\n")).collect::<String>();
        file("customers.csv", format!("customer,country\n{lines}"));
    };
    let orders = |rows: u32| {
        let lines = (0..rows).map(|id| format!("{id},C{},{}\n", id % 500, id % 100)).collect::<String>();
        file("orders.csv", format!("id,customer,amount\n{lines}"));
    };
    let sql = "CREATE EXTERNAL TABLE customers STORED AS CSV LOCATION 'customers.csv' OPTIONS ('format.has_header' 'true');
               CREATE EXTERNAL TABLE orders STORED AS CSV LOCATION 'orders.csv' OPTIONS ('format.has_header' 'true');
               CREATE TABLE large AS SELECT * FROM orders WHERE amount >= 50;
               CREATE TABLE joined AS SELECT o.*, c.country FROM large o JOIN customers c ON o.customer = c.customer;
               COPY (SELECT country, count(*) AS n FROM joined GROUP BY country) TO 'out-totals/totals.parquet';";
    let run = || against_the_last_run(&findings(&checkout, sql, &[], 0));
    customers("C", 500);
    orders(4_000);
    assert_eq!(run(), []);
    assert_eq!(run(), [], "the same once more");
    // A join by a key that is written in another way.
    customers("c-", 500);
    let lost = run();
    let summary = "HashJoinExec in node joined returned 0 rows from 500 and 2,000. \
                   At the rate of the last good run it would have been 2,000.";
    assert_eq!(lost[0], ("rows-lost".to_owned(), "joined".to_owned(), summary.to_owned()), "{lost:#?}");
    assert_eq!(lost.len(), 1, "what follows from it is not found again: {lost:#?}");
    // An old run is compared with the one before it, whatever came later.
    customers("C", 500);
    run();
    let old = Daglight::new(&checkout, ["status", "out", "--json"]).finish().report(0);
    let ids: Vec<&str> =
        old.as_array().expect("a list").iter().filter_map(|run| run["run_id"].as_str()).collect();
    let report = |id: &str| Daglight::new(&checkout, ["report", id, "--json"]).finish().report(0);
    let mut ids: Vec<String> = ids.into_iter().map(str::to_owned).collect();
    ids.sort();
    assert_eq!(ids.len(), 4, "{old:#}");
    assert_eq!(report(&format!("out/run_bundle/{}", ids[0]))["since"], Value::Null);
    assert_eq!(report(&format!("out/run_bundle/{}", ids[2]))["since"]["run_id"], ids[1]);
    // A source with a part of its rows, and one with another column.
    orders(400);
    file("customers.csv", "customer,land\nC1,DE\n".to_owned());
    let failed = findings(&checkout, sql, &[], 1);
    let drift = (
        "row-drift".to_owned(),
        "large".to_owned(),
        "Node large returned 200 rows; in the last good run it was 2,000.".to_owned(),
    );
    assert_eq!(against_the_last_run(&failed), [drift], "{failed:#?}");
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
    findings(&checkout, &sql, &["--jobs", "2"], 0);
    // Once more, so that it has a last run as well.
    let mut found = findings(&checkout, &sql, &["--jobs", "2"], 0);
    // Other tests run on the same machine, and Daglight is built without optimisation here: benches measure what it costs.
    found.retain(|finding| finding["kind"] != "heartbeat-pause" && finding["kind"] != "telemetry-cost");
    assert!(found.is_empty(), "{found:#?}");
}
