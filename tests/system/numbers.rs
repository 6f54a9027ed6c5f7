//! The numbers of a run: the same in every place, and those that another way of counting gives.

use std::{collections::BTreeMap, fs, path::Path};

use daglight_system_tests::{Checkout, Daglight, Finished};
use serde_json::{Value, json};

/// A node of every kind and a write of every kind.
const EVERYTHING: &str = "\
-- param: least = 10
-- node: memory
CREATE TABLE memory AS SELECT value AS x, value % 7 AS k FROM generate_series(1, 1000);
-- node: seen_through
CREATE VIEW seen_through AS SELECT x, k FROM memory WHERE x > $least;
-- node: literal
CREATE TABLE literal AS SELECT * FROM (VALUES (1, 'a'), (2, 'b')) AS v(id, name);
-- node: to_parquet
COPY memory TO 'data/p.parquet';
-- node: to_csv
COPY (SELECT * FROM seen_through) TO 'data/c.csv';
-- node: to_json
COPY (SELECT x FROM memory WHERE k = 1) TO 'data/j.json';
-- node: to_arrow
COPY (SELECT x FROM memory LIMIT 5) TO 'data/a.arrow';
-- node: files
CREATE EXTERNAL TABLE files STORED AS PARQUET LOCATION 'data/p.parquet';
-- node: lines
CREATE EXTERNAL TABLE lines STORED AS CSV LOCATION 'data/c.csv' OPTIONS ('has_header' 'true');
-- node: joined
SELECT f.x, l.k FROM files f JOIN lines l ON f.x = l.x;
-- node: grow
INSERT INTO literal SELECT x, 'c' FROM memory WHERE x <= 20;
-- node: grow_by_values
INSERT INTO literal VALUES (3, 'd'), (4, 'e'), (5, 'f');
-- node: change
UPDATE literal SET name = 'z' WHERE id > 3;
-- node: shrink
DELETE FROM literal WHERE name = 'z';
-- node: series
SELECT * FROM generate_series(1, 33);
-- node: constant
SELECT 1 AS one;
-- node: counted
SELECT count(*) AS n FROM seen_through;
";

/// What each node returns and reads, counted by hand.
const NODES: [(&str, Option<u64>, Option<u64>); 17] = [
    ("memory", Some(1000), Some(1000)),
    ("seen_through", None, Some(0)),
    ("literal", Some(2), Some(0)),
    ("to_parquet", Some(1000), Some(1000)),
    ("to_csv", Some(990), Some(1000)),
    ("to_json", Some(143), Some(1000)),
    ("to_arrow", Some(5), Some(5)),
    ("files", Some(1000), Some(0)),
    ("lines", None, Some(0)),
    ("joined", Some(990), Some(1990)),
    ("grow", Some(20), Some(1000)),
    ("grow_by_values", Some(3), Some(0)),
    ("change", Some(19), Some(25)),
    ("shrink", Some(19), Some(25)),
    ("series", Some(33), Some(33)),
    ("constant", Some(1), Some(0)),
    ("counted", Some(1), Some(1000)),
];

struct Places {
    finished: Finished,
    json: Value,
    manifest: Value,
    report: Value,
    spans: Vec<Value>,
    rows_metric: BTreeMap<String, u64>,
    outbox: Vec<Value>,
}

fn run(checkout: &Checkout, sql: &str) -> Places {
    let pipeline = checkout.pipeline("numbers.sql", sql);
    let finished = Daglight::run(checkout, &pipeline).finish();
    let json = finished.report(0);
    let bundle = checkout.path().join(json["bundle"].as_str().expect("a bundle"));
    let spans = lines(&bundle.join("otel_traces.json"))
        .iter()
        .flat_map(|line| items(line, &["resourceSpans", "scopeSpans", "spans"]))
        .collect();
    let metrics = lines(&bundle.join("otel_metrics.json"));
    let last =
        metrics.iter().rev().find(|line| line.to_string().contains("daglight.rows")).expect("the metric");
    let mut rows_metric = BTreeMap::new();
    for metric in items(last, &["resourceMetrics", "scopeMetrics", "metrics"]) {
        if metric["name"] == "daglight.rows" {
            for point in metric["sum"]["dataPoints"].as_array().expect("points") {
                let operation = attribute(point, "daglight.operation").expect("an operation");
                let rows: u64 = point["asInt"].as_str().and_then(|rows| rows.parse().ok()).expect("a number");
                *rows_metric.entry(operation).or_default() += rows;
            }
        }
    }
    Places {
        manifest: file(&bundle.join("manifest.json")),
        report: file(&bundle.join("run_diagnostics_report.json")),
        outbox: lines(&bundle.join("tracker/outbox.jsonl"))
            .into_iter()
            .map(|mut line| line["record"].take())
            .collect(),
        spans,
        rows_metric,
        json,
        finished,
    }
}

fn file(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("JSON")
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn items(value: &Value, path: &[&str]) -> Vec<Value> {
    let Some((first, rest)) = path.split_first() else { return vec![value.clone()] };
    value[*first].as_array().into_iter().flatten().flat_map(|item| items(item, rest)).collect()
}

fn attribute(of: &Value, key: &str) -> Option<String> {
    let found = of["attributes"].as_array()?.iter().find(|attribute| attribute["key"] == key)?;
    let value = &found["value"];
    value["stringValue"].as_str().or(value["intValue"].as_str()).map(str::to_owned)
}

fn named<'v>(nodes: &'v Value, name: &str) -> &'v Value {
    let nodes = nodes.as_array().expect("nodes");
    nodes.iter().find(|node| node["name"] == name).unwrap_or_else(|| panic!("no node {name}"))
}

impl Places {
    fn spans_of(&self, node: &str, name: &str) -> Vec<&Value> {
        let is_of =
            |span: &&Value| span["name"] == name && attribute(span, "daglight.node").as_deref() == Some(node);
        self.spans.iter().filter(is_of).collect()
    }

    fn finished_event(&self, node: &str) -> &Value {
        let found =
            self.outbox.iter().find(|record| record["event"] == "task_finished" && record["node"] == node);
        found.unwrap_or_else(|| panic!("{node} has not finished"))
    }

    fn hamilton(&self, node: &str, attribute: &str) -> Option<&Value> {
        let attributes = self.finished_event(node)["attributes"].as_array()?;
        attributes.iter().find(|found| found["name"] == attribute).map(|found| &found["value"])
    }
}

fn count(span: &Value, key: &str) -> Option<u64> {
    attribute(span, key).and_then(|count| count.parse().ok())
}

#[test]
fn rows_are_the_same_in_every_place() {
    let checkout = Checkout::new();
    fs::create_dir(checkout.path().join("data")).expect("a folder");
    let places = run(&checkout, EVERYTHING);
    let mut sum_of_nodes = 0;
    let mut sums_of_queries: BTreeMap<&str, u64> = BTreeMap::new();
    for (node, rows, rows_in) in NODES {
        assert_eq!(named(&places.json["nodes"], node)["rows"], json!(rows), "{node}: --json");
        assert_eq!(named(&places.manifest["nodes"], node)["rows"], json!(rows), "{node}: manifest");
        let reported = named(&places.report["nodes"], node);
        assert_eq!(reported["rows_out"], json!(rows), "{node}: report");
        assert_eq!(reported["rows_in"], json!(rows_in), "{node}: report");
        let [span] = places.spans_of(node, "hamilton.node")[..] else { panic!("{node}: no span") };
        assert_eq!(count(span, "daglight.row_count"), rows, "{node}: span");
        sum_of_nodes += rows.unwrap_or(0);
        for name in ["datafusion.execute", "datafusion.write"] {
            for query in places.spans_of(node, name) {
                assert_eq!(count(query, "daglight.row_count"), rows, "{node}: {name}");
                assert_eq!(count(query, "daglight.rows_read"), rows_in, "{node}: {name}");
                *sums_of_queries.entry(name).or_default() += rows.unwrap_or(0);
                let queries =
                    places.hamilton(node, "queries").unwrap_or_else(|| panic!("{node}: no queries"));
                let query = queries.as_object().and_then(|queries| queries.values().next()).expect("a query");
                assert_eq!(
                    (&query["rows"], &query["rows_read"]),
                    (&json!(rows), &json!(rows_in)),
                    "{node}: {query}"
                );
            }
        }
        if let Some(summary) = places.hamilton(node, "data_summary").filter(|summary| summary.is_object()) {
            for (column, found) in summary.as_object().expect("columns") {
                assert_eq!(found["count"], json!(rows), "{node}.{column}: data summary");
            }
        }
        if let Some(artifact) = places.hamilton(node, "artifact") {
            assert_eq!(artifact["rows"], json!(rows), "{node}: artifact");
        }
        if let Some(rows) = rows {
            let shown = format!("{node:<32}");
            let line = places.finished.stderr.lines().find(|line| line.contains(&shown));
            let line =
                line.unwrap_or_else(|| panic!("{node} is not on the console: {}", places.finished.stderr));
            let grouped = line.replace(['.', ',', '\u{202f}', ' '], "");
            let noun = if rows == 1 { "row" } else { "rows" };
            assert!(grouped.contains(&format!("{rows}{noun}")), "{line}");
        }
    }
    assert_eq!(places.rows_metric["hamilton.node"], sum_of_nodes, "metric");
    for (name, rows) in sums_of_queries {
        assert_eq!(places.rows_metric[name], rows, "metric of {name}");
    }
}

#[test]
fn rows_and_bytes_of_files_tables_and_the_process_are_distinguished() {
    let checkout = Checkout::new();
    let data = checkout.path().join("data");
    fs::create_dir(&data).expect("a folder");
    let places = run(&checkout, EVERYTHING);
    let totals = &places.report["totals"];
    let sizes = fs::read_dir(&data)
        .expect("a folder")
        .map(|file| file.expect("a file").metadata().expect("a size").len());
    assert_eq!(totals["bytes_written"], json!(sizes.sum::<u64>()));
    assert_eq!(totals["rows_written"], json!(1000 + 990 + 143 + 5));
    assert_eq!(totals["rows_in_tables"], json!(1000 + 2 + 20 + 3));
    // Two columns of eight bytes a row, in `memory` alone.
    assert!(totals["bytes_in_tables"].as_u64() >= Some(16_000), "{totals}");
    let headline = places.report["headline"][0]["text"].as_str().expect("a text");
    assert!(
        headline.contains("2,138 rows written to files") && headline.contains("1,025 rows put into tables"),
        "{headline}"
    );
    // Those that came into tables later have bytes as well.
    assert!(headline.contains("put into tables ("), "{headline}");
}

#[test]
fn a_node_took_the_same_time_everywhere() {
    let checkout = Checkout::new();
    fs::create_dir(checkout.path().join("data")).expect("a folder");
    let places = run(&checkout, EVERYTHING);
    for (node, ..) in NODES {
        let recorded = named(&places.manifest["nodes"], node);
        let duration_ms = recorded["duration_ms"].as_f64().expect("a duration");
        let [span] = places.spans_of(node, "hamilton.node")[..] else { panic!("{node}: no span") };
        let nanoseconds =
            |key: &str| span[key].as_str().and_then(|text| text.parse::<u64>().ok()).expect("a time");
        let span_ms = (nanoseconds("endTimeUnixNano") - nanoseconds("startTimeUnixNano")) as f64 / 1e6;
        assert!((span_ms - duration_ms).abs() < 0.01, "{node}: {span_ms} and {duration_ms}");
        assert_eq!(named(&places.report["nodes"], node)["duration_ms"], recorded["duration_ms"]);
        assert_eq!(named(&places.json["nodes"], node)["duration_ms"], recorded["duration_ms"]);
        let started =
            places.outbox.iter().find(|record| record["event"] == "task_started" && record["node"] == node);
        assert_eq!(started.expect("a start")["time"], recorded["started_at"], "{node}");
    }
    let own = &places.json["own_time"];
    for part in ["nodes_ms", "metadata_ms", "plans_ms", "summaries_ms", "delivery_ms", "report_ms"] {
        assert!(own[part].as_f64() > Some(0.0), "{part}: {own}");
    }
    assert_eq!(places.manifest["own_time"]["nodes_ms"], own["nodes_ms"]);
    assert_eq!(places.report["own_time"]["nodes_ms"], own["nodes_ms"]);
    let markdown = fs::read_to_string(
        checkout
            .path()
            .join(places.json["bundle"].as_str().expect("a bundle"))
            .join("run_diagnostics_report.md"),
    );
    assert!(markdown.expect("a text").contains("Daglight itself took"));
}

#[test]
fn scans_are_called_by_their_table_and_times_by_their_partitions() {
    let checkout = Checkout::new();
    fs::create_dir(checkout.path().join("data")).expect("a folder");
    let places = run(&checkout, EVERYTHING);
    let queries = places.report["queries"].as_array().expect("queries");
    let operators: Vec<&Value> =
        queries.iter().flat_map(|query| query["hottest_operators"].as_array().expect("operators")).collect();
    let tables: Vec<&str> = operators
        .iter()
        .filter(|operator| operator["name"] == "DataSourceExec")
        .map(|operator| operator["table"].as_str().unwrap_or_else(|| panic!("{operator}")))
        .collect();
    assert!(tables.contains(&"files"), "{tables:?}");
    for operator in operators {
        let number = |key: &str| operator[key].as_f64().unwrap_or_else(|| panic!("{key}: {operator}"));
        let sum = number("per_partition_ms") * number("partitions");
        assert!((sum - number("compute_ms")).abs() < 1e-6, "{operator}");
    }
    let busiest = places.hamilton("joined", "queries").expect("queries").to_string();
    assert!(busiest.contains("DataSourceExec (files)"), "{busiest}");
}

#[test]
fn a_run_that_fails_says_which_plans_it_had() {
    let checkout = Checkout::new();
    let sql = "CREATE TABLE a AS SELECT 1 AS x; SELECT arrow_cast('x', 'Int64') FROM a; SELECT 2";
    let pipeline = checkout.pipeline("failing.sql", sql);
    let report = Daglight::run(&checkout, &pipeline).finish().report(1);
    let signature =
        report["tags"]["plan_signature"].as_str().unwrap_or_else(|| panic!("{:#}", report["tags"]));
    assert!(signature.strip_prefix("partial-").is_some_and(|hash| hash.len() == 64), "{signature}");
}
