//! Parts of a pipeline, several files as one, and rows for programs.

use std::fs;

use daglight_run_bundle::{Bundle, Manifest, RunStatus};
use daglight_system_tests::{Checkout, Daglight, Finished};
use serde_json::{Value, json};

const LOAD: &str = "\
-- param: n = 5

CREATE TABLE orders AS SELECT value AS id, value % 3 AS k FROM generate_series(1, $n);
COPY orders TO 'orders.parquet'";

/// Fails in the middle, unless the parameter says otherwise.
const REPORT: &str = "\
-- param: divisor = 0

CREATE EXTERNAL TABLE written STORED AS PARQUET LOCATION 'orders.parquet';
-- tag: layer=gold
CREATE TABLE per_k AS SELECT k, count(*) AS n FROM written GROUP BY k;
-- node: shown
SELECT * FROM per_k ORDER BY k;
-- node: broken
SELECT n / $divisor AS x FROM per_k;
-- node: apart
SELECT 7 AS seven;
COPY (SELECT 1 AS x) TO 'last.csv'
";

struct Pipeline {
    checkout: Checkout,
    files: [String; 2],
}

impl Pipeline {
    fn new() -> Self {
        let checkout = Checkout::new();
        let files = [("load.sql", LOAD), ("report.sql", REPORT)];
        let files = files.map(|(name, sql)| {
            checkout.pipeline(name, sql);
            name.to_owned()
        });
        Self { checkout, files }
    }

    fn run(&self, arguments: &[&str]) -> Finished {
        Daglight::new(&self.checkout, ["run", "--output-dir", "out"])
            .args(&self.files)
            .args(arguments)
            .env("HAMILTON_TRACKER_ENABLED", "false")
            .finish()
    }
}

/// How each node ended, in the order of the DAG.
fn statuses(report: &Value) -> Vec<String> {
    let nodes = report["nodes"].as_array().expect("a list").iter();
    nodes.map(|node| format!("{} {}", text(&node["name"]), text(&node["status"]))).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

/// What ran, as the manifest says.
fn identity(pipeline: &Pipeline, report: &Value) -> Value {
    let manifest = pipeline.checkout.path().join(text(&report["bundle"])).join("manifest.json");
    let manifest: Value = serde_json::from_str(&fs::read_to_string(manifest).expect("a file")).expect("JSON");
    manifest["identity"].clone()
}

#[test]
fn several_files_are_one_pipeline_and_an_error_names_its_file() {
    let pipeline = Pipeline::new();
    let finished = pipeline.run(&["--json"]);
    let report = finished.report(1);
    assert_eq!(
        statuses(&report),
        [
            "$divisor success",
            "$n success",
            "orders success",
            "orders_parquet success",
            "written success",
            "per_k success",
            "shown success",
            "broken failure",
            "apart not_run",
            "last_csv not_run",
        ]
    );
    assert_eq!(report["dag_name"], "load");
    let error = &report["error"];
    assert_eq!([&error["file"], &error["line"]], [&json!("report.sql"), &json!(9)]);
}

#[test]
fn what_does_not_need_a_failed_node_runs_and_the_rest_can_be_tried_again() {
    let pipeline = Pipeline::new();
    let report = pipeline.run(&["--json", "--keep-going"]).report(1);
    assert_eq!(
        statuses(&report)[6..],
        ["shown success", "broken failure", "apart success", "last_csv success"].map(str::to_owned)
    );
    let first = text(&report["run_id"]).to_owned();

    // What was written stays as it is, also when it was changed since.
    let last = pipeline.checkout.path().join("last.csv");
    fs::write(&last, "changed").expect("it can be written");
    let report = pipeline.run(&["--json", "--retry", "out"]).report(1);
    assert_eq!(
        statuses(&report),
        [
            "$divisor success",
            "$n not_run",
            "orders not_run",
            "orders_parquet not_run",
            "written success",
            "per_k success",
            "shown not_run",
            "broken failure",
            "apart not_run",
            "last_csv not_run",
        ]
    );
    assert_eq!(identity(&pipeline, &report)["tags"]["retry_of"], json!(first));

    // A retry of a retry knows what the first run did.
    let second = text(&report["bundle"]).to_owned();
    let report = pipeline.run(&["--json", "--retry", &second, "--param", "divisor=1"]).report(0);
    assert_eq!(report["status"], "success");
    assert_eq!(
        statuses(&report)[7..],
        ["broken success", "apart not_run", "last_csv not_run"].map(str::to_owned)
    );
    assert_eq!(fs::read_to_string(&last).expect("a file"), "changed");

    let done = text(&report["bundle"]).to_owned();
    let refused = pipeline.run(&["--retry", &done]).ended_with(2);
    assert!(refused.stderr.contains("there is nothing to run"), "{}", refused.stderr);

    // Its process is gone, and had not come to the end of its run.
    let bundle = Bundle::open(pipeline.checkout.path().join(&done)).expect("a bundle");
    let manifest = Manifest::read(&bundle).expect("a manifest");
    Manifest { status: RunStatus::Running, ended_at: None, ..manifest }
        .write(&bundle)
        .expect("it is written");
    let refused = pipeline.run(&["--retry", &done]).ended_with(2);
    let expected = "was killed, and its end is not recorded yet; `daglight sync";
    assert!(refused.stderr.contains(expected), "{}", refused.stderr);
}

#[test]
fn a_part_runs_with_what_it_needs_and_files_are_there_from_before() {
    let pipeline = Pipeline::new();
    pipeline.run(&["--select", "+orders_parquet", "--quiet"]).ended_with(0);
    let report =
        pipeline.run(&["--json", "--select", "written tag:layer=gold", "--select", "shown"]).report(0);
    let ran: Vec<String> =
        statuses(&report).into_iter().filter(|status| !status.ends_with("not_run")).collect();
    assert_eq!(ran, ["written success", "per_k success", "shown success"]);
    assert_eq!(identity(&pipeline, &report)["tags"]["select"], "written tag:layer=gold shown");

    let refused = pipeline.run(&["--select", "shown"]).ended_with(2);
    assert!(
        refused.stderr.contains("shown cannot run without per_k") && refused.stderr.contains("`+shown`"),
        "{}",
        refused.stderr
    );
    let refused = pipeline.run(&["--exclude", "brokn"]).ended_with(2);
    assert!(refused.stderr.contains("did you mean `broken`?"), "{}", refused.stderr);
}

#[test]
fn plan_shows_the_dag_and_runs_nothing() {
    let pipeline = Pipeline::new();
    let plan = |arguments: &[&str]| {
        Daglight::new(&pipeline.checkout, ["plan"])
            .args(&pipeline.files)
            .args(arguments)
            .finish()
            .ended_with(0)
    };
    assert_eq!(
        plan(&["--select", "+per_k"]).stdout,
        "\
per_k  (transform, table)  report.sql:5
└─ written  (data_loader, table)  report.sql:3
   └─ orders_parquet  (data_saver, parquet)  load.sql:4
      └─ orders  (transform, table)  load.sql:3
         └─ $n  (input, integer)  load.sql:1
"
    );
    let document: Value =
        serde_json::from_str(&plan(&["--json", "--select", "+per_k"]).stdout).expect("JSON");
    let runs: Vec<&str> = document["nodes"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|node| node["runs"] == true)
        .map(|node| text(&node["name"]))
        .collect();
    assert_eq!(runs, ["$n", "orders", "orders_parquet", "written", "per_k"]);
    let run = identity(&pipeline, &pipeline.run(&["--json"]).report(1));
    for hash in ["dag_hash", "code_hash"] {
        assert_eq!(document[hash], run[hash], "{hash}");
    }
    assert!(plan(&["--format", "mermaid"]).stdout.starts_with("flowchart LR\n"));
    assert!(plan(&["--format", "dot"]).stdout.starts_with("digraph \"load\" {\n"));
}

/// What is shown of tags and names before a run is what the run records of them.
#[test]
fn plan_shows_tags_as_a_run_records_them() {
    let checkout = Checkout::new();
    let sql = "\
-- tag: api_key=hunter2
-- tag: source=https://ann:hunter2@h/x
-- tag: folder=out/ann:hunter2@h/x
-- tag: said=he said 'hello' to me
-- tag: layer=gold
CREATE TABLE t AS SELECT 1 AS x;
";
    checkout.pipeline("tagged.sql", sql);
    for profile in ["dev", "ci", "prod"] {
        let arguments = ["tagged.sql", "--profile", profile];
        let plan = |more: &[&str]| {
            Daglight::new(&checkout, ["plan"]).args(arguments).args(more).finish().ended_with(0).stdout
        };
        let ran = Daglight::new(&checkout, ["run", "--json"])
            .args(arguments)
            .env("HAMILTON_TRACKER_ENABLED", "true")
            .finish()
            .report(0);
        let bundle = checkout.path().join(ran["bundle"].as_str().expect("a bundle"));
        let outbox = fs::read_to_string(bundle.join("tracker/outbox.jsonl")).expect("an outbox");
        let version = outbox.lines().find(|line| line.contains("\"event\":\"version\"")).expect("a version");
        let recorded: Value = serde_json::from_str(version).expect("JSON");
        let planned: Value = serde_json::from_str(&plan(&["--json"])).expect("JSON");
        let (recorded, planned) = (&recorded["record"]["nodes"][0], &planned["nodes"][0]);
        assert_eq!(planned["tags"], recorded["tags"], "{profile}");
        assert_eq!(planned["tags"]["layer"], "gold");
        for format in ["tree", "mermaid", "dot", "json"] {
            let shown = plan(&["--format", format]);
            assert!(!shown.contains("hunter2"), "{profile} {format}: {shown}");
        }
    }
}

#[track_caller]
fn check_rows(arguments: &[&str], input: &str, expected: &str) {
    let checkout = Checkout::new();
    checkout.pipeline("input.sql", input);
    // The shell gives it standard input.
    let finished = Daglight::new(&checkout, ["run", "--output-dir", "out", "--quiet"])
        .args(arguments)
        .env("HAMILTON_TRACKER_ENABLED", "false")
        .through("sh", &["-c", "exec \"$@\" < input.sql", "sh"])
        .finish()
        .ended_with(0);
    assert_eq!(finished.stdout, expected);
}

#[test]
fn rows_are_printed_for_programs() {
    let sql = "SELECT * FROM (VALUES (1, 'a,\"b'), (2, NULL)) AS t(x, y); SELECT 3 AS z WHERE false";
    check_rows(&["-", "--format", "csv"], sql, "x,y\n1,\"a,\"\"b\"\n2,\nz\n");
    check_rows(&["-", "--format", "ndjson"], sql, "{\"x\":1,\"y\":\"a,\\\"b\"}\n{\"x\":2,\"y\":null}\n");
    check_rows(&["-", "--format", "json"], sql, "[{\"x\":1,\"y\":\"a,\\\"b\"},{\"x\":2,\"y\":null}]\n[]\n");
    check_rows(&["-", "--format", "csv", "--max-rows", "1"], sql, "x,y\n1,\"a,\"\"b\"\nz\n");
    check_rows(&["-c", "SELECT 1 AS a", "-c", "SELECT 2 AS b", "--format", "csv"], "", "a\n1\nb\n2\n");
    // A list is a text in CSV, as a table shows it.
    let nested = "SELECT [1, NULL] AS l, {a: 'x,y'} AS s, NULL AS n";
    check_rows(&["-", "--format", "csv"], nested, "l,s,n\n\"[1, ]\",\"{a: x,y}\",\n");
    // A key of an object is a text in JSON, wherever the map is.
    let keys = "SELECT MAP {1: 'a', 2: NULL} AS m, [{k: MAP {true: MAP {'x': 1.5}}}] AS l";
    let expected = "{\"m\":{\"1\":\"a\",\"2\":null},\"l\":[{\"k\":{\"true\":{\"x\":1.5}}}]}\n";
    check_rows(&["-", "--format", "ndjson"], keys, expected);
    // A query without columns.
    let bare = "SELECT 1 AS a; SET datafusion.sql_parser.dialect = 'postgresql';
                SELECT FROM (VALUES (1), (2)) AS t(x); SELECT 2 AS b";
    check_rows(&["-", "--format", "csv"], bare, "a\n1\nb\n2\n");
    check_rows(&["-", "--format", "ndjson"], bare, "{\"a\":1}\n{}\n{}\n{\"b\":2}\n");
    check_rows(&["-", "--format", "json"], bare, "[{\"a\":1}]\n[{},{}]\n[{\"b\":2}]\n");
    // More than one batch, in the order of the query.
    let numbers = "SELECT value FROM generate_series(1, 20000) ORDER BY value";
    let expected: String = (1..=20_000).fold("value\n".to_owned(), |text, value| format!("{text}{value}\n"));
    check_rows(&["-", "--format", "csv"], numbers, &expected);
}

#[test]
fn files_are_read_by_their_names() {
    let checkout = Checkout::new();
    let sql = "COPY (SELECT 1 AS x, 'a' AS y UNION ALL SELECT 2, 'b') TO 'in/one.csv';
               SELECT sum(x) AS sum FROM 'in/one.csv'; SELECT count(*) AS files FROM 'in/*.csv'; SELECT max(y) AS y FROM 'in/';
               CREATE VIEW v AS SELECT * FROM 'in/one.csv' WHERE x > 1; SELECT * FROM v";
    let run = |sql: &str| {
        Daglight::new(&checkout, ["run", "--output-dir", "out", "--format", "csv", "--quiet", "-c", sql])
            .env("HAMILTON_TRACKER_ENABLED", "false")
            .finish()
    };
    assert_eq!(run(sql).ended_with(0).stdout, "sum\n3\nfiles\n2\ny\nb\nx,y\n2,b\n");
    let refused = run("SELECT * FROM 'in/two.csv'").ended_with(2);
    assert!(refused.stderr.contains("there is no file or folder of this name"), "{}", refused.stderr);
}

/// Where DataFusion says that a table is not there, or that the error is internal.
#[test]
fn a_place_that_cannot_be_read_or_written_is_named_with_the_reason() {
    let checkout = Checkout::new();
    let folder = checkout.path().join("in");
    fs::create_dir_all(folder.join("sensors/day=1")).expect("a folder");
    for file in ["orders.txt", "sensors/day=1/x.csv"] {
        fs::write(folder.join(file), "a,b\n1,2\n").expect("a file");
    }
    let run = |sql: &str| {
        Daglight::new(&checkout, ["run", "--output-dir", "out", "--format", "csv", "--quiet", "-c", sql])
            .env("HAMILTON_TRACKER_ENABLED", "false")
            .finish()
    };
    for (sql, code, expected) in [
        ("SELECT * FROM 'in/orders.txt'", 1, "expected one of .arrow, .avro, .csv, .json and .parquet"),
        ("SELECT * FROM 'in/sensors/*/x.csv'", 2, "is compared without the folders of partitions"),
        ("COPY (SELECT 1 AS x) TO 'in/orders.txt/y.csv'", 1, "cannot write to 'in/orders.txt/y.csv'"),
        ("COPY (SELECT 1 AS x) TO 'in/orders.txt/y/' STORED AS CSV", 1, "cannot write to 'in/orders.txt/y/'"),
        ("COPY (SELECT 1 AS x) TO 'nope://a/b.csv'", 1, "there is no object store for nope://"),
        (
            "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION 'nope://a/b.csv'",
            1,
            "there is no object store for nope://",
        ),
    ] {
        let refused = run(sql).ended_with(code);
        assert!(refused.stderr.contains(expected), "{sql}: {}", refused.stderr);
        assert!(!refused.stderr.contains("Internal error"), "{sql}: {}", refused.stderr);
    }
    // What the messages say to write.
    let other = "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION 'in/orders.txt'; SELECT a + b AS c FROM t";
    assert_eq!(run(other).ended_with(0).stdout, "c\n3\n");
    assert_eq!(run("SELECT a, day FROM 'in/sensors/'").ended_with(0).stdout, "a,day\n1,1\n");
    assert_eq!(run("SELECT a FROM 'in/sensors/*.csv'").ended_with(0).stdout, "a\n1\n");
}

#[test]
fn a_mistyped_parameter_table_or_selector_is_corrected() {
    let checkout = Checkout::new();
    checkout.pipeline("daglight.toml", "[param_tables.regions]\nrows = [{ name = \"north\" }]\n");
    checkout.pipeline(
        "tagged.sql",
        "-- tag: layer=gold\nCREATE TABLE t AS SELECT 1 AS x;\nSELECT * FROM regions\n",
    );
    let refused = |arguments: &[&str]| {
        let finished = Daglight::new(&checkout, ["plan"]).args(arguments).finish().ended_with(2);
        finished.stderr
    };
    for (selector, expected) in [
        ("tag:layr=gold+", "no node matches `tag:layr=gold+`; did you mean `tag:layer=gold`?"),
        ("tag:layr", "did you mean `tag:layer`?"),
        ("+kind:transfrom", "did you mean `kind:transform`?"),
    ] {
        let stderr = refused(&["tagged.sql", "--select", selector]);
        assert!(stderr.contains(expected), "{stderr}");
    }
    let mistyped = Daglight::new(&checkout, ["run", "-c", "SELECT * FROM regoins"]).finish().ended_with(2);
    assert!(mistyped.stderr.contains("did you mean \"regions\"?"), "{}", mistyped.stderr);
}

#[test]
fn memory_is_bounded_and_an_error_names_who_holds_it() {
    let checkout = Checkout::new();
    let sql = "SELECT value, repeat('x', 100) AS s FROM generate_series(1, 200000) ORDER BY s, value DESC";
    let run = |arguments: &[&str]| {
        Daglight::new(&checkout, ["run", "--output-dir", "out", "--quiet", "-c", sql])
            .args(["--format", "csv", "--max-rows", "1", "--threads", "2"])
            .args(arguments)
            .env("HAMILTON_TRACKER_ENABLED", "false")
            .finish()
    };
    let spilled = run(&["--memory-limit", "40MB", "--spill-dir", "spill"]).ended_with(0);
    assert!(spilled.stdout.starts_with("value,s\n200000,xxx"), "{}", spilled.stdout);
    let left = |folder: &str| fs::read_dir(checkout.path().join(folder)).expect("a folder").count();
    assert_eq!(left("spill"), 0);
    let failed = run(&["--memory-limit", "1MB"]).ended_with(1);
    assert!(
        failed.stderr.contains("top memory consumers") && failed.stderr.contains("raise --memory-limit"),
        "{}",
        failed.stderr
    );
}

/// Whatever became of the bundles of the runs before: in another folder, or pruned.
#[test]
fn a_retry_of_a_retry_writes_no_rows_twice() {
    let checkout = Checkout::new();
    checkout.pipeline(
        "r.sql",
        "CREATE EXTERNAL TABLE led (v BIGINT) STORED AS CSV LOCATION 'led/' OPTIONS ('format.has_header' 'true');
         INSERT INTO led SELECT value FROM generate_series(1, 10);
         CREATE TABLE m AS SELECT 1 AS x; SELECT * FROM m; SELECT * FROM 'in.csv'",
    );
    fs::write(checkout.path().join("in.csv"), "a,b\n1,2\n3\n").expect("it can be written");
    let run = |output_dir: &str, arguments: &[&str]| {
        Daglight::new(&checkout, ["run", "r.sql", "--keep-going", "--output-dir", output_dir])
            .args(arguments)
            .env("HAMILTON_TRACKER_ENABLED", "false")
            .finish()
    };
    run("o1", &[]).ended_with(1);
    run("o2", &["--retry", "o1"]).ended_with(1);
    let first = checkout.path().join("o1");
    fs::rename(&first, checkout.path().join("gone")).expect("it can be moved");
    run("o3", &["--retry", "o2"]).ended_with(1);
    fs::write(checkout.path().join("in.csv"), "a,b\n1,2\n").expect("it can be written");
    let report = run("o3", &["--json", "--retry", "o3"]).report(0);
    assert!(statuses(&report).contains(&"led_insert not_run".to_owned()), "{:?}", statuses(&report));
    let files = fs::read_dir(checkout.path().join("led")).expect("a folder").flatten();
    let rows = files.map(|file| fs::read_to_string(file.path()).expect("a file").lines().count() - 1);
    assert_eq!(rows.sum::<usize>(), 10);
}
