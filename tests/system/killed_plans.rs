//! A run that is killed in the middle of a query: what was planned, and how far each operator was.

use std::{
    fs,
    path::{Path, PathBuf},
};

use daglight_system_tests::{Checkout, Daglight};
use serde_json::Value;

/// Long enough that no machine comes to its end.
const HEAVY: &str = "CREATE TABLE n AS SELECT value AS x FROM generate_series(1, 3000);
CREATE EXTERNAL TABLE f STORED AS CSV LOCATION 'in/numbers.csv';
CREATE TABLE heavy AS SELECT count(*) AS c FROM f CROSS JOIN n a CROSS JOIN n b CROSS JOIN n c WHERE a.x + b.x + c.x + f.y > 5;
";

fn bundle(checkout: &Checkout) -> Option<PathBuf> {
    fs::read_dir(checkout.path().join("out/run_bundle")).ok()?.next()?.ok().map(|entry| entry.path())
}

/// The plan of the node that is killed. It is replaced as a whole, so that it can be read at any time.
fn plan(bundle: &Path) -> Option<Value> {
    let mut files = fs::read_dir(bundle.join("plans")).ok()?.flatten();
    let file = files.find(|file| {
        let name = file.file_name();
        let name = name.to_string_lossy();
        name.starts_with("heavy-") && name.ends_with(".json")
    })?;
    serde_json::from_slice(&fs::read(file.path()).ok()?).ok()
}

fn most_rows(plan: &Value) -> u64 {
    let operators = plan["metrics"]["operators"].as_array().expect("operators");
    operators.iter().filter_map(|operator| operator["output_rows"].as_u64()).max().unwrap_or(0)
}

/// What the query has asked of the store of its file so far.
fn storage_bytes(plan: &Value) -> u64 {
    let storage = plan["storage"].as_array().into_iter().flatten();
    storage.filter(|used| used["table"] == "f").filter_map(|used| used["bytes"].as_u64()).sum()
}

#[test]
fn the_plan_of_a_killed_query_is_in_the_bundle_and_in_the_report() {
    for profile in ["dev", "prod"] {
        let checkout = Checkout::new();
        let file = checkout.path().join("in/numbers.csv");
        fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        fs::write(file, "y\n1\n").expect("a file");
        let pipeline = checkout.pipeline("heavy.sql", HEAVY);
        let running = Daglight::run(&checkout, &pipeline)
            .args(["--profile", profile])
            .env("DAGLIGHT_HEARTBEAT_SECONDS", "0.2")
            .start();
        let goes_on = || {
            let plan = bundle(&checkout).and_then(|bundle| plan(&bundle));
            plan.is_some_and(|plan| most_rows(&plan) > 100_000 && storage_bytes(&plan) > 0)
        };
        running.wait_until("rows of the query", goes_on);
        running.signal("KILL");
        assert_eq!(running.finish().code, None);

        let bundle = bundle(&checkout).expect("a bundle");
        let plan = plan(&bundle).expect("a plan");
        assert!(plan["outcome"].is_null() && !plan["running"].as_array().expect("ids").is_empty(), "{plan}");
        let has_literal = plan["physical_plan"].as_str().expect("a physical plan").contains("> 5");
        assert_eq!(has_literal, profile == "dev", "{plan}");
        let report = Daglight::new(&checkout, ["report".as_ref(), bundle.as_os_str(), "--json".as_ref()]);
        let report = report.finish().report(0);
        for place in ["reserve", "tracker/reserve"] {
            assert!(!bundle.join(place).exists(), "{place} keeps space for an end that has come");
        }
        let queries = report["queries"].as_array().expect("queries");
        let heavy =
            queries.iter().find(|query| query["node"] == "heavy").unwrap_or_else(|| panic!("{report}"));
        let operators = heavy["hottest_operators"].as_array().expect("operators");
        assert!(operators.iter().any(|operator| operator["rows"].as_u64() > Some(100_000)), "{heavy}");
        assert!(heavy["plan_file"].as_str().is_some_and(|file| file.starts_with("plans/heavy-")), "{heavy}");
    }
}

/// A step that is written, and one that no machine comes to the end of.
const SAVED: &str = "CREATE TABLE n AS SELECT value AS x FROM generate_series(1, 3000);
COPY (SELECT x % 7 AS k, count(*) AS c FROM n GROUP BY x % 7) TO 'out/sums.parquet';
CREATE TABLE heavy AS SELECT count(*) AS c FROM n CROSS JOIN n a CROSS JOIN n b CROSS JOIN n c WHERE n.x + a.x + b.x + c.x > 5;
COPY (SELECT c FROM heavy) TO 'out/heavy.parquet';
";

#[test]
fn what_the_nodes_of_a_killed_run_had_done_is_in_its_manifest_before_and_after_it_is_closed() {
    let checkout = Checkout::new();
    let pipeline = checkout.pipeline("saved.sql", SAVED);
    let running = Daglight::run(&checkout, &pipeline).env("HAMILTON_TRACKER_ENABLED", "false").start();
    running.wait_until("the query", || bundle(&checkout).is_some_and(|bundle| plan(&bundle).is_some()));
    let table = |of: &str, columns: &str| {
        let sql = format!("SELECT {columns} FROM {of} ORDER BY 1");
        Daglight::new(&checkout, ["query", "out", &sql, "--format", "json"]).finish().ended_with(0).stdout
    };
    let look = || {
        (
            table("nodes", "node, status, rows, duration_ms IS NOT NULL AS ended"),
            table("artifacts", "name, node, rows"),
        )
    };
    let goes_on = look();
    running.signal("KILL");
    running.finish();
    let killed = look();
    let report = Daglight::new(&checkout, ["report", "out"]).finish().ended_with(0);
    assert!(report.stderr.contains("closed as FAILURE"), "{}", report.stderr);
    let closed = look();
    println!("{goes_on:?}\n{killed:?}\n{closed:?}");
    let looks = [(&goes_on, "running"), (&killed, "unfinished"), (&closed, "unfinished")];
    for ((nodes, artifacts), state) in looks {
        let nodes: Value = serde_json::from_str(nodes).expect("JSON");
        let seen: Vec<(&str, &str, Option<u64>, bool)> = nodes
            .as_array()
            .expect("rows")
            .iter()
            .map(|node| {
                let text = |column: &str| node[column].as_str().expect("a text");
                (text("node"), text("status"), node["rows"].as_u64(), node["ended"] == true)
            })
            .collect();
        let expected = [
            ("heavy", state, None, false),
            ("heavy_parquet", "not_run", None, false),
            ("n", "success", Some(3_000), true),
            ("sums_parquet", "success", Some(7), true),
        ];
        assert_eq!(seen, expected);
        let artifacts: Value = serde_json::from_str(artifacts).expect("JSON");
        let written = artifacts.as_array().expect("rows");
        assert!(written.iter().any(|row| row["node"] == "sums_parquet" && row["rows"] == 7), "{artifacts}");
    }
    let bundle = bundle(&checkout).expect("a bundle");
    assert!(bundle.join("artifacts.json").exists() && !bundle.join("nodes.jsonl").exists());
    let verified = Daglight::new(&checkout, ["bundle", "verify"]).args([&bundle]).finish();
    verified.ended_with(0);
}
