//! What `--json` says where something fails: one JSON document in every case, with the error and its place.

use daglight_system_tests::{Checkout, Daglight};
use serde_json::{Value, json};

/// The document of a run of `bad.sql`.
fn document(checkout: &Checkout, sql: &str, arguments: &[&str], code: i32) -> Value {
    let pipeline = checkout.pipeline("bad.sql", sql);
    let run = Daglight::run(checkout, &pipeline).args(arguments).env("RUST_BACKTRACE", "0");
    let finished = run.finish();
    assert!(finished.stderr.contains("error: "), "people see it too: {}", finished.stderr);
    assert!(!finished.stderr.contains("stack backtrace"), "{}", finished.stderr);
    finished.report(code)
}

/// `place` is line, column and node.
#[track_caller]
fn check(sql: &str, arguments: &[&str], code: i32, (line, column, node): (u64, u64, Value), message: &str) {
    let document = document(&Checkout::new(), sql, arguments, code);
    let error = &document["error"];
    let place = (&error["line"], &error["column"], &error["node"]);
    assert_eq!(place, (&json!(line), &json!(column), &node), "{error:#}");
    assert!(error["file"].as_str().is_some_and(|file| file.ends_with("bad.sql")), "{error:#}");
    let text = error["message"].as_str().unwrap_or_default();
    assert!(text.contains(message) && !text.contains(&format!("bad.sql:{line}:{column}: ")), "{error:#}");
    assert_eq!(document["status"].as_str(), (code == 1).then_some("failure"), "{document:#}");
}

#[test]
fn statements_that_fail_in_a_node() {
    check("SELECT 1;\nSELECT a\n  FROM (SELECT 1 AS b);", &[], 1, (2, 8, json!("output_2")), "a");
    check("SELECT CAST('x' AS INT);", &[], 1, (1, 1, json!("output_1")), "Cast error");
    check(
        "CREATE TABLE t AS SELECT 1 AS a;\nINSERT INTO t SELECT 1, 2;",
        &[],
        1,
        (2, 1, json!("t_insert")),
        "",
    );
}

#[test]
fn statements_that_fail_outside_of_nodes() {
    let after = "\nSELECT 1;";
    for (sql, message) in [
        ("SET datafusion.no_such_setting = 1;", "no_such_setting"),
        ("EXPLAIN SELECT no_such_function(1);", "no_such_function"),
    ] {
        let document = document(&Checkout::new(), &format!("{sql}{after}"), &[], 1);
        let error = &document["error"];
        assert!(error["message"].to_string().contains(message), "{sql}: {error:#}");
        assert_eq!((&error["line"], &error["node"]), (&json!(1), &Value::Null), "{sql}: {error:#}");
        assert!(document["tags"]["error"].to_string().contains(message), "{document:#}");
    }
}

/// DataFusion cannot write unions to Parquet, and says so by a panic.
#[test]
fn a_panic_of_the_engine_is_an_error_like_any_other() {
    let sql =
        "SELECT 1;\nCOPY (SELECT arrow_cast(NULL, 'Union(Sparse, 0: (\"a\": Int32))') AS u) TO 'u.parquet';";
    let checkout = Checkout::new();
    let document = document(&checkout, sql, &[], 1);
    let error = document["error"].clone();
    let message = error["message"].as_str().unwrap_or_default();
    assert!(message.contains("panicked at parquet-") && message.contains("ARROW-8817"), "{error:#}");
    assert_eq!((&error["line"], &error["node"]), (&json!(2), &json!("u_parquet")), "{error:#}");
    let node = &document["nodes"][1];
    assert_eq!(node["status"], "failure", "{node:#}");
    assert!(node["error"].to_string().contains("ARROW-8817"), "{node:#}");
    let report = checkout.path().join(document["report"]["json"].as_str().expect("a report"));
    assert!(std::fs::read_to_string(report).expect("a report").contains("panicked at parquet-"));
}

#[test]
fn input_that_is_wrong() {
    check("SELECT 1;\nSELEC 2;", &[], 2, (2, 1, Value::Null), "SELEC");
    check("SELECT $x;", &[], 2, (1, 8, Value::Null), "x");
    check("DROP TABLE no_such_table;\nSELECT 1;", &[], 2, (1, 12, Value::Null), "no_such_table");
    check("SELECT 1;\nDROP SCHEMA no_such_schema;", &[], 2, (2, 13, Value::Null), "no_such_schema");
    check("SELECT 1;\nDROP FUNCTION no_such_drop;", &[], 2, (2, 15, Value::Null), "no_such_drop");
    check("SELECT 1;\nEXECUTE no_such_statement(1);", &[], 2, (2, 9, Value::Null), "no_such_statement");
    check("SELECT 1;\nUSE elsewhere;", &[], 2, (2, 1, Value::Null), "default_schema");
    check("SELECT *\n FROM 'no_such_file.parquet';", &[], 2, (2, 7, Value::Null), "no file or folder");
    check(
        "-- param: day = 2024-01-01\nSELECT $day;",
        &["--param", "day=monday"],
        2,
        (1, 4, Value::Null),
        "monday",
    );
    check("-- node: a\nSELECT 1;\n-- node: a\nSELECT 2;", &[], 2, (4, 1, Value::Null), "a");
}

/// Nothing is known of a place.
#[track_caller]
fn check_without_place(run: Daglight, message: &str) {
    let document = run.finish().report(2);
    let error = &document["error"];
    assert!(error["message"].as_str().is_some_and(|text| text.contains(message)), "{error:#}");
    for unknown in ["file", "line", "column", "node"] {
        assert_eq!(error[unknown], Value::Null, "{error:#}");
    }
}

#[test]
fn what_keeps_a_command_from_starting() {
    let checkout = Checkout::new();
    let pipeline = checkout.pipeline("good.sql", "SELECT 1;");
    let run = || Daglight::run(&checkout, &pipeline);
    check_without_place(run().args(["--no-such-option"]), "--no-such-option");
    check_without_place(run().args(["--jobs", "0"]), "0");
    check_without_place(run().args(["--profile", "staging"]), "staging");
    check_without_place(run().args(["--param", "a=1", "--param", "a=2"]), "--param a");
    check_without_place(run().env("DAGLIGHT_FLUSH_SECONDS", "soon"), "DAGLIGHT_FLUSH_SECONDS");
    check_without_place(Daglight::new(&checkout, ["run", "--json"]), "FILE.sql");
}

/// The file is known, and the line where there is one.
#[track_caller]
fn check_file(run: Daglight, file: &str, line: Value, message: &str) {
    let document = run.finish().report(2);
    let error = &document["error"];
    assert!(error["message"].as_str().is_some_and(|text| text.contains(message)), "{error:#}");
    assert!(error["file"].as_str().is_some_and(|found| found.ends_with(file)), "{error:#}");
    assert_eq!((&error["line"], &error["column"], &error["node"]), (&line, &Value::Null, &Value::Null));
}

#[test]
fn files_that_keep_a_command_from_starting() {
    let checkout = Checkout::new();
    let run = |pipeline: &std::path::Path| Daglight::run(&checkout, pipeline);
    let nowhere = checkout.path().join("nowhere.sql");
    check_file(run(&nowhere), "nowhere.sql", Value::Null, "cannot read the script");
    check_file(run(checkout.path()), "", Value::Null, "it is a folder");
    let bytes = checkout.path().join("bytes.sql");
    std::fs::write(&bytes, b"SELECT '\xff'").expect("a file");
    check_file(run(&bytes), "bytes.sql", Value::Null, "not valid UTF-8");
    let good = checkout.pipeline("good.sql", "SELECT 1;");
    check_file(run(&good).args(["--param", "x=1"]), "good.sql", Value::Null, "no statement reads");
    for command in ["status", "report"] {
        let named = Daglight::new(&checkout, [command, "good.sql", "--json"]);
        check_file(named, "good.sql", Value::Null, "not a run bundle");
    }
    checkout.pipeline("daglight.toml", "\n[bundle]\nkeep_dayz = 3\n");
    check_file(run(&good), "daglight.toml", json!(3), "keep_dayz");
    check_file(Daglight::new(&checkout, ["config", "--json"]), "daglight.toml", json!(3), "keep_dayz");
    checkout.pipeline("daglight.toml", "[bundle\n");
    check_file(run(&good), "daglight.toml", json!(1), "");
}

#[cfg(unix)]
#[test]
fn arguments_and_variables_that_are_not_utf_8() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

    let odd = OsStr::from_bytes(b"o\xff");
    let checkout = Checkout::new();
    let good = checkout.pipeline("good.sql", "SELECT 1;");
    let run = || Daglight::run(&checkout, &good);
    check_without_place(
        Daglight::new(&checkout, ["run", "--json", "--output-dir"]).args([odd]).args([&good]),
        "setting bundle.output_dir (option --output-dir): the value cannot be used: path contains invalid UTF-8",
    );
    check_without_place(run().env("DAGLIGHT_OUTPUT_DIR", odd), "which is not valid UTF-8");
    check_without_place(
        run().env("HAMILTON_API_KEY", odd),
        "found a value that is not valid UTF-8, and is not shown",
    );
    check_without_place(run().args(["--param"]).args([OsStr::from_bytes(b"x=\xff")]), "UTF-8");
    let script = checkout.path().join(OsStr::from_bytes(b"b\xff.sql"));
    std::fs::copy(&good, &script).expect("a file");
    Daglight::run(&checkout, &script).finish().ended_with(0);
}

/// Where the folder was asked for, nothing runs without it; where it is only a setting, the run goes on and says so.
#[test]
fn an_output_folder_that_cannot_be_made() {
    let checkout = Checkout::new();
    let pipeline = checkout.pipeline("good.sql", "COPY (SELECT 1 AS id) TO 'written.csv';");
    checkout.pipeline("file", "not a folder");
    for folder in ["file", "file/below"] {
        let run = Daglight::new(&checkout, ["run", "--json", "--output-dir", folder]).args([&pipeline]);
        check_without_place(run, "--output-dir file");
        assert!(!checkout.path().join("written.csv").exists(), "nothing has run");
    }
    for folder in ["file", "file/below", "/proc/x"] {
        let run = Daglight::new(&checkout, ["run", "--json"]).args([&pipeline]);
        check_without_place(run.env("DAGLIGHT_OUTPUT_DIR", folder), &format!("DAGLIGHT_OUTPUT_DIR {folder}"));
        assert!(!checkout.path().join("written.csv").exists(), "nothing has run");
    }
    checkout.pipeline("daglight.toml", "[bundle]\noutput_dir = \"file\"\n");
    let run = Daglight::new(&checkout, ["run", "--json"]).args([&pipeline]);
    let finished = run.finish();
    let warnings = finished.stderr.matches("WARN").count();
    assert_eq!(
        (warnings, finished.stderr.contains("nothing of this run will be recorded")),
        (1, true),
        "{}",
        finished.stderr
    );
    let report = finished.report(0);
    assert_eq!((&report["status"], &report["bundle"]), (&json!("success"), &Value::Null));
    assert!(checkout.path().join("written.csv").exists());
}

/// A name that changes with each day cannot be the name of a pipeline: the script runs under the name without the day.
#[test]
fn a_script_whose_name_has_a_date() {
    for (script, name) in
        [("2024-01-01_load.sql", "load"), ("load_4f2a9bc.sql", "load"), ("2024-01-01.sql", "pipeline_v1")]
    {
        let checkout = Checkout::new();
        let finished = Daglight::run(&checkout, &checkout.pipeline(script, "SELECT 1;")).finish();
        assert!(
            finished.stderr.contains("warning: ") && finished.stderr.contains("--dag-name"),
            "{}",
            finished.stderr
        );
        assert_eq!(finished.report(0)["dag_name"], name);
    }
    let checkout = Checkout::new();
    let pipeline = checkout.pipeline("2024-01-01_load.sql", "SELECT 1;");
    let named = Daglight::run(&checkout, &pipeline).args(["--dag-name", "sales::load_v1"]).finish();
    assert!(!named.stderr.contains("warning: "), "{}", named.stderr);
    assert_eq!(named.report(0)["dag_name"], "sales::load_v1");
}

/// Machine-written statements are deep: what the engine takes, passes all that is in front of it.
#[test]
fn deep_statements() {
    let ors = |terms: usize| (0..terms).map(|n| format!("a = {n}")).collect::<Vec<_>>().join(" OR ");
    let sql = format!(
        "-- param: top = 5\nCREATE TABLE t AS SELECT value AS a FROM generate_series(1, 100);\n\
         CREATE VIEW few AS SELECT a FROM t WHERE a <= $top AND ({});\nSELECT count(*) AS n FROM few;\n\
         SELECT {} AS n;\n",
        ors(1_000),
        ["1"; 1_000].join("+"),
    );
    let checkout = Checkout::new();
    let report = Daglight::run(&checkout, &checkout.pipeline("deep.sql", &sql)).finish().report(0);
    assert_eq!(report["status"], "success", "{report:#}");
    let nested = format!("SELECT {}1{} AS x;", "(".repeat(60), ")".repeat(60));
    check(&nested, &[], 2, (1, 1, Value::Null), "nested too deep");
}

/// An error quotes what it does not understand: what the policy hides is in neither stream.
#[test]
fn errors_hide_on_both_streams_what_is_secret() {
    let checkout = Checkout::new();
    let defaults = "-- param: password = 1\nSELECT $password AS p;\n";
    let syntax = "SELECT 1 AS a FROM 'postgres://me:hunter2secret@db/x' password 'hunter2secret';\n";
    for (sql, arguments) in [(defaults, &["--param", "password=hunter2secret"][..]), (syntax, &[])] {
        let pipeline = checkout.pipeline("bad.sql", sql);
        let finished = Daglight::run(&checkout, &pipeline).args(arguments).finish();
        assert!(finished.report(2)["error"]["message"].is_string());
        for stream in [&finished.stdout, &finished.stderr] {
            assert!(!stream.contains("hunter2secret"), "{stream}");
        }
    }
}
