//! Statements of every kind: prepared ones, those without a node, and parameters wherever a literal stands.

use std::fs;

use daglight_system_tests::{Checkout, Daglight, Finished, Hamilton};
use serde_json::{Value, json};

/// Without a server.
#[track_caller]
fn finished(checkout: &Checkout, sql: &str, arguments: &[&str]) -> Finished {
    let pipeline = checkout.pipeline("statements.sql", sql);
    Daglight::run(checkout, &pipeline).args(arguments).env("HAMILTON_TRACKER_ENABLED", "false").finish()
}

/// Each node with its kind, rows and dependencies.
fn nodes(report: &Value) -> Vec<Value> {
    let nodes = report["nodes"].as_array().expect("a list").iter();
    nodes.map(|node| json!([node["name"], node["kind"], node["rows"], node["dependencies"]])).collect()
}

fn json_of(checkout: &Checkout, report: &Value, file: &str) -> Value {
    let path = checkout.path().join(report["bundle"].as_str().expect("a bundle")).join(file);
    serde_json::from_str(&fs::read_to_string(path).expect("a file")).expect("JSON")
}

/// The spans of stages, by the text of their SQL, with the rows that they returned.
fn stages(checkout: &Checkout, report: &Value) -> Vec<(String, Option<String>)> {
    let path = checkout.path().join(report["bundle"].as_str().expect("a bundle")).join("otel_traces.json");
    let mut found = Vec::new();
    for line in fs::read_to_string(path).expect("a file").lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let spans = line["resourceSpans"].as_array().expect("a list").iter();
        let spans = spans.flat_map(|resource| resource["scopeSpans"].as_array().expect("a list"));
        for span in spans.flat_map(|scope| scope["spans"].as_array().expect("a list")) {
            let attribute = |key: &str| {
                let attributes = span["attributes"].as_array().expect("a list").iter();
                attributes
                    .filter(|attribute| attribute["key"] == key)
                    .map(|attribute| attribute["value"].clone())
                    .next()
            };
            if span["name"] == "hamilton.stage" {
                let text = attribute("db.query.text")
                    .map(|value| value["stringValue"].as_str().expect("a text").to_owned());
                let rows = attribute("daglight.row_count")
                    .map(|value| value["intValue"].as_str().expect("a number").to_owned());
                found.push((text.unwrap_or_default(), rows));
            }
        }
    }
    found
}

#[test]
fn what_is_executed_is_a_node_like_what_it_was_prepared_from() {
    let checkout = Checkout::new();
    let sql = "CREATE TABLE t (x BIGINT);
               PREPARE add AS INSERT INTO t VALUES ($1), ($1 + 1);
               PREPARE all_from AS SELECT * FROM t WHERE x >= $1 ORDER BY x;
               EXECUTE add(1);
               EXECUTE add($from);
               EXECUTE all_from(2);
               DEALLOCATE add;";
    let finished = finished(&checkout, sql, &["--param", "from=5"]);
    let report = finished.report(0);
    assert_eq!(
        nodes(&report),
        [
            json!(["$from", "input", null, []]),
            json!(["t", "transform", 0, []]),
            json!(["t_insert", "data_saver", 2, ["t"]]),
            json!(["t_insert_2", "data_saver", 2, ["t", "$from"]]),
            json!(["output_1", "transform", 3, ["t", "t_insert", "t_insert_2"]]),
        ]
    );
    let artifacts = json_of(&checkout, &report, "artifacts.json");
    let artifacts = artifacts["artifacts"].as_array().expect("a list");
    let rows: Vec<(&Value, &Value)> =
        artifacts.iter().map(|artifact| (&artifact["name"], &artifact["rows"])).collect();
    assert_eq!(
        rows,
        [0, 2, 2]
            .map(|rows| (json!("t"), json!(rows)))
            .iter()
            .map(|(name, rows)| (name, rows))
            .collect::<Vec<_>>()
    );
    let shown = checkout.path().join("statements.sql");
    let shown = Daglight::new(&checkout, ["run", "--output-dir", "out", "--param", "from=5"])
        .args([shown])
        .env("HAMILTON_TRACKER_ENABLED", "false")
        .finish()
        .ended_with(0);
    assert!(shown.stdout.contains("output_1:\n+---+\n| x |\n+---+\n| 2 |\n| 5 |\n| 6 |"), "{}", shown.stdout);
}

#[test]
fn statements_without_a_node_are_setup_with_their_text_and_rows() {
    let checkout = Checkout::new();
    let sql = "SET datafusion.execution.batch_size = 4096;
               SHOW datafusion.execution.batch_size;
               EXPLAIN ANALYZE SELECT count(*) FROM generate_series(1, 3000000) AS a(x) WHERE x % 7 = 1;
               CREATE TABLE t AS SELECT 1 AS x;
               DROP TABLE t;";
    let report = finished(&checkout, sql, &[]).report(0);
    let stages = stages(&checkout, &report);
    assert_eq!(stages.len(), 4, "{stages:?}");
    assert_eq!(stages[1], ("SHOW datafusion.execution.batch_size".to_owned(), Some("1".to_owned())));
    assert!(stages[2].0.starts_with("EXPLAIN ANALYZE SELECT"), "{stages:?}");
    let timeline = &json_of(&checkout, &report, "run_diagnostics_report.json")["timeline"];
    let milliseconds = |key: &str| timeline[key].as_f64().expect("a number");
    assert!(milliseconds("setup_ms") > milliseconds("busy_ms"), "{timeline:#}");
    assert!(milliseconds("setup_ms") > milliseconds("idle_ms"), "{timeline:#}");
}

#[test]
fn a_script_without_nodes_runs() {
    let checkout = Checkout::new();
    let hamilton = Hamilton::take();
    let project = hamilton.project("setup alone");
    let pipeline = checkout.pipeline(
        "setup.sql",
        "CREATE SCHEMA s; SET datafusion.execution.batch_size = 5; SHOW TABLES; DROP SCHEMA s;",
    );
    let report = Daglight::run(&checkout, &pipeline).tracked_in(&project).finish().report(0);
    assert_eq!((&report["status"], nodes(&report).len()), (&json!("success"), 0), "{report:#}");
    let runs = hamilton.runs(&project);
    assert_eq!((runs.len(), &runs[0]["run_status"]), (1, &json!("SUCCESS")));
    assert_eq!(report["ledger"]["tracker"]["waiting"], 0, "{report:#}");
}

#[test]
fn parameters_stand_wherever_a_literal_does() {
    let checkout = Checkout::new();
    let sql = "-- param: place = made/by_default
               -- param: mark = ;

               SET datafusion.execution.batch_size = $size;
               COPY (SELECT * FROM (VALUES (1, $text), ($size, 'b')) AS a(x, y) WHERE x > $low)
               TO $place STORED AS CSV OPTIONS ('format.delimiter' $mark, 'format.has_header' $header);
               CREATE EXTERNAL TABLE back STORED AS CSV LOCATION $place
               OPTIONS ('format.delimiter' $mark, 'format.has_header' $header);
               SELECT x, y, DATE $day + INTERVAL $span AS later, TIME $time AS at,
                      TIMESTAMP $moment AT TIME ZONE $zone AS there FROM back ORDER BY x LIMIT $most;
               SELECT value FROM generate_series($low, $most);
               PREPARE p AS SELECT $1 + $most AS z;
               EXECUTE p($size);";
    let given = [
        "size=4096",
        "text=it's",
        "low=0",
        "header=true",
        "span=1 month",
        "most=2",
        "day=2024-01-31",
        "time=12:30:00",
        "moment=2024-01-31T12:30:00",
        "zone=Europe/Oslo",
    ];
    let mut arguments: Vec<&str> = given.iter().flat_map(|given| ["--param", given]).collect();
    let report = finished(&checkout, sql, &arguments).report(0);
    let by_default = nodes(&report);
    let statements: Vec<&Value> = by_default.iter().filter(|node| node[1] != "input").collect();
    assert_eq!(
        statements.iter().map(|node| (&node[0], &node[2])).collect::<Vec<_>>(),
        [
            (&json!("by_default_csv"), &json!(2)),
            (&json!("back"), &Value::Null),
            (&json!("output_1"), &json!(2)),
            (&json!("output_2"), &json!(3)),
            (&json!("output_3"), &json!(1)),
        ]
    );
    let reads = |node: &Value, name: &str| node[3].as_array().expect("a list").contains(&json!(name));
    assert!(reads(statements[1], "by_default_csv") && reads(statements[1], "$place"), "{by_default:#?}");
    let written: Vec<String> = fs::read_dir(checkout.path().join("made/by_default"))
        .expect("a folder")
        .map(|file| fs::read_to_string(file.expect("a file").path()).expect("a text"))
        .collect();
    assert!(written.concat().contains("1;it's") && written.concat().contains("x;y"), "{written:?}");

    // Another place is the same pipeline.
    arguments.extend(["--param", "place=made/elsewhere"]);
    let elsewhere = finished(&checkout, sql, &arguments).report(0);
    assert_eq!(nodes(&elsewhere), by_default);
    assert!(checkout.path().join("made/elsewhere").is_dir());
}

#[test]
fn foreign_placeholders_get_an_error_that_says_what_to_write() {
    let checkout = Checkout::new();
    for (sql, line) in [
        ("SELECT 1 WHERE 1 > ?", "statements.sql:1:20: `?` is not a parameter: write `$name`"),
        ("SELECT 1 WHERE 1 > :low", "statements.sql:1:20: `:low` is not a parameter: write `$low`"),
        (
            "CREATE TABLE t AS SELECT 1;\nCOPY t TO :out",
            "statements.sql:2:11: `:out` is not a parameter: write `$out`",
        ),
    ] {
        let finished = finished(&checkout, sql, &[]).ended_with(2);
        assert!(finished.stderr.contains(line), "{}", finished.stderr);
        assert!(finished.stderr.contains("`--param "), "{}", finished.stderr);
    }
}

/// What acts on a terminal or reorders text, apart from line feeds.
fn acts(c: char) -> bool {
    (c.is_control() && c != '\n')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[test]
fn no_text_of_a_user_acts_on_the_terminal_or_brings_a_line_of_its_own() {
    let checkout = Checkout::new();
    let evil = "\u{1b}[31m\u{9b}2J\u{7}\u{202e}\u{200b}\r\n  ok   forged                           transform";
    let sql = format!(
        "CREATE TABLE \"n{evil}\" AS SELECT '{evil}' AS \"c{evil}\", repeat('x', 5000000) AS long;
         SELECT * FROM \"n{evil}\";
         COPY \"n{evil}\" TO 'made/f\u{1b}[1m.csv';
         SELECT CAST('{evil}' AS INT) AS \"{evil}\""
    );
    let pipeline = checkout.pipeline("evil.sql", &sql);
    let finished = Daglight::new(&checkout, ["run", "--output-dir", "out"])
        .args([&pipeline])
        .env("HAMILTON_TRACKER_ENABLED", "false")
        .finish()
        .ended_with(1);
    for text in [&finished.stdout, &finished.stderr] {
        assert!(!text.contains(acts), "{text:?}");
        assert!(!text.lines().any(|line| line.starts_with("  ok   forged")), "{text}");
        assert!(text.len() < 40_000, "{} bytes", text.len());
    }
    assert!(finished.stdout.contains("xxx…"), "{}", finished.stdout);
    let caret = finished.stderr.lines().position(|line| line.trim_end().ends_with('^')).expect("a caret");
    assert!(
        finished.stderr.lines().nth(caret - 1).is_some_and(|line| line.contains(" | ")),
        "{}",
        finished.stderr
    );
    let bundle =
        fs::read_dir(checkout.path().join("out/run_bundle")).expect("a folder").next().expect("a run");
    let markdown = bundle.expect("a folder").path().join("run_diagnostics_report.md");
    let markdown = fs::read_to_string(markdown).expect("a report");
    assert!(!markdown.contains(acts), "{markdown:?}");
    assert!(!markdown.lines().any(|line| line.starts_with("  ok   forged")), "{markdown}");
}

/// The table functions that `datafusion-cli` has.
#[test]
fn files_and_caches_are_read_by_functions() {
    let checkout = Checkout::new();
    let sql = "COPY (SELECT value AS id FROM generate_series(1, 1000)) TO 'ids.parquet';
               CREATE TABLE groups AS SELECT DISTINCT row_group_id, row_group_num_rows AS n FROM parquet_metadata('ids.parquet');
               CREATE EXTERNAL TABLE ids STORED AS PARQUET LOCATION 'ids.parquet';
               CREATE TABLE counted AS SELECT count(*) AS n FROM ids WHERE id > 10;
               CREATE TABLE cached AS SELECT path FROM metadata_cache() WHERE path LIKE '%ids.parquet';
               SELECT (SELECT sum(n) FROM groups), (SELECT n FROM counted), (SELECT count(*) FROM cached);";
    checkout.pipeline("statements.sql", sql);
    let printed =
        Daglight::new(&checkout, ["run", "statements.sql", "--output-dir", "out", "--format", "csv"])
            .env("HAMILTON_TRACKER_ENABLED", "false")
            .finish()
            .ended_with(0);
    assert!(printed.stdout.ends_with("\n1000,990,1\n"), "{}", printed.stdout);
    // The function waits for the file that the script writes.
    let report = finished(&checkout, sql, &[]).report(0);
    let reads_what_is_written = nodes(&report);
    assert_eq!(reads_what_is_written[1], json!(["groups", "transform", 1, ["ids_parquet"]]), "{report:#}");

    let refused = Daglight::run(
        &checkout,
        &checkout.pipeline("no.sql", "CREATE TABLE a AS SELECT 1 AS x;\nSELECT * FROM metadata_cach();"),
    )
    .finish()
    .ended_with(2);
    assert!(
        refused.stderr.contains(
            "no.sql:2:15: table function \"metadata_cach\" is not defined; did you mean \"metadata_cache\"?"
        ),
        "{}",
        refused.stderr
    );
}
