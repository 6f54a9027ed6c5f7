//! Bundles as tables: SQL over them, Parquet, and the notebook that reads it.

use std::{collections::BTreeMap, fs, path::Path};

use daglight_system_tests::{Checkout, Daglight, decode_strictly, run_notebook};
use serde_json::{Value, json};

use crate::observed::observed;

/// The rows of a query over a bundle, or those below a folder.
fn ask(checkout: &Checkout, bundles: &Path, sql: &str) -> Vec<Value> {
    let call = Daglight::new(checkout, ["query".as_ref(), bundles.as_os_str(), sql.as_ref()]);
    let finished = call.args(["--format", "ndjson"]).finish().ended_with(0);
    finished.stdout.lines().map(|line| serde_json::from_str(line).expect("a row")).collect()
}

#[test]
fn the_tables_have_what_the_files_of_a_run_have() {
    let observed = observed();
    let (checkout, bundle) = (&observed.checkout, observed.bundle());
    let ask = |sql: &str| ask(checkout, &bundle, sql);
    let manifest: Value =
        serde_json::from_slice(&fs::read(bundle.join("manifest.json")).expect("a file")).expect("JSON");

    let runs = ask("SELECT run_id, status, nodes FROM runs");
    let nodes = manifest["nodes"].as_array().expect("nodes");
    let run = json!({
        "run_id": manifest["identity"]["run_id"],
        "status": manifest["status"],
        "nodes": nodes.len(),
    });
    assert_eq!(runs, [run]);
    let rows: Vec<Value> =
        nodes.iter().map(|node| json!({ "node": node["name"], "rows": node["rows"] })).collect();
    assert_eq!(ask("SELECT node, rows FROM nodes"), rows);

    let mut spans = BTreeMap::new();
    for span in decode_strictly(&observed.file("otel_traces.json"), "traces") {
        *spans.entry(span["name"].as_str().unwrap_or_default().to_owned()).or_insert(0_u64) += 1;
    }
    let counted = ask("SELECT name, count(*) AS spans FROM spans GROUP BY name ORDER BY name");
    let counted = counted
        .iter()
        .map(|row| (row["name"].as_str().unwrap_or_default().to_owned(), row["spans"].as_u64()));
    assert_eq!(
        counted.collect::<Vec<_>>(),
        spans.into_iter().map(|(name, n)| (name, Some(n))).collect::<Vec<_>>()
    );
    let logs = decode_strictly(&observed.file("otel_logs.json"), "logs").len();
    assert_eq!(ask("SELECT count(*) AS n FROM logs"), [json!({ "n": logs })]);

    let plans = fs::read_dir(bundle.join("plans")).expect("plans").count();
    assert_eq!(ask("SELECT count(*) AS n FROM queries"), [json!({ "n": plans })]);
    // Every operator belongs to a plan.
    let joined = ask("SELECT count(*) AS n FROM operators o JOIN queries q \
                      ON o.run_id = q.run_id AND o.plan_hash = q.plan_hash AND o.node IS NOT DISTINCT FROM q.node");
    assert_eq!(joined, ask("SELECT count(*) AS n FROM operators"));
    assert_ne!(joined, [json!({ "n": 0 })]);
}

#[test]
fn all_runs_below_a_folder_are_asked_at_once_and_only_read() {
    let checkout = Checkout::new();
    let pipeline = checkout
        .pipeline("orders.sql", "CREATE TABLE orders AS SELECT value AS id FROM generate_series(1, 7);");
    let mut runs = Vec::new();
    for _ in 0..3 {
        let run = Daglight::run(&checkout, &pipeline).env("HAMILTON_TRACKER_ENABLED", "false").finish();
        runs.push(run.report(0)["run_id"].as_str().expect("an id").to_owned());
    }
    let out = checkout.path().join("out");
    let found = ask(&checkout, &out, "SELECT run_id, rows FROM nodes WHERE node = 'orders' ORDER BY run_id");
    let expected: Vec<Value> = runs.iter().map(|run| json!({ "run_id": run, "rows": 7 })).collect();
    assert_eq!(found, expected);

    let query =
        |sql: &str| Daglight::new(&checkout, ["query".as_ref(), out.as_os_str(), sql.as_ref()]).finish();
    for (sql, problem) in [
        ("DROP TABLE runs", "DDL"),
        ("COPY runs TO 'runs.csv'", "DML"),
        ("SET datafusion.execution.batch_size = 1", "Statement"),
        ("SELECT nothing FROM runs", "nothing"),
        ("SELECT * FROM run", "run"),
        ("SELEC 1", "SELEC"),
    ] {
        let refused = query(sql).ended_with(2);
        assert!(refused.stderr.contains(problem), "{sql}: {}", refused.stderr);
    }
    let listed = Daglight::new(&checkout, ["query".as_ref(), out.as_os_str()]).finish().ended_with(0).stdout;
    for table in ["runs", "operators", "findings"] {
        assert!(listed.lines().any(|line| line == table), "{listed}");
    }
    // A damaged file is named, and the rest is there.
    let traces = out.join("run_bundle").join(&runs[1]).join("otel_traces.json");
    fs::write(&traces, "{\n").expect("a file");
    let spoilt = query("SELECT count(DISTINCT run_id) AS runs FROM spans").ended_with(0);
    assert!(
        spoilt.stderr.contains(&*traces.to_string_lossy()) && spoilt.stderr.contains("line 1"),
        "{}",
        spoilt.stderr
    );
    assert!(spoilt.stdout.contains("| 2 "), "{}", spoilt.stdout);
}

#[test]
fn the_notebook_reads_the_tables_as_parquet() {
    let observed = observed();
    let folder = tempfile::tempdir().expect("a folder");
    let tables = folder.path().join("tables");
    let export = || {
        let call = Daglight::new(&observed.checkout, ["export".as_ref(), observed.bundle().as_os_str()]);
        call.args(["--format", "parquet", "--to", &tables.to_string_lossy()]).finish()
    };
    export().ended_with(0);
    let again = export().ended_with(2);
    assert!(again.stderr.contains("already exists: choose a new folder"), "{}", again.stderr);
    let notebook = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/runs.ipynb");
    let frames = run_notebook(&notebook, &tables, &["last_runs", "slowest_nodes", "compute", "stages"]);
    let ask = |sql: &str| ask(&observed.checkout, &observed.bundle(), sql);
    assert_eq!(frames["last_runs"].as_array().map(Vec::len), Some(1));
    let spans: u64 =
        frames["stages"].as_array().expect("rows").iter().filter_map(|row| row["spans"].as_u64()).sum();
    assert_eq!(ask("SELECT count(*) AS n FROM spans"), [json!({ "n": spans })]);
    let slowest =
        ask("SELECT node FROM nodes WHERE duration_ms IS NOT NULL ORDER BY duration_ms DESC LIMIT 1");
    assert_eq!(frames["slowest_nodes"][0]["node"], slowest[0]["node"]);
    let compute: f64 =
        frames["compute"].as_array().expect("rows").iter().filter_map(|row| row["compute_ms"].as_f64()).sum();
    let summed = ask("SELECT sum(compute_ms) AS ms FROM operators")[0]["ms"].as_f64().expect("a sum");
    assert!((compute - summed).abs() < 1e-6, "{compute} and {summed}");
}

#[test]
fn a_run_with_a_damaged_manifest_is_the_same_run_for_status_history_and_query() {
    let checkout = Checkout::new();
    let pipeline = checkout.pipeline("numbers.sql", "-- node: one\nSELECT 1 AS x;\n");
    let report = Daglight::run(&checkout, &pipeline).finish().report(0);
    let bundle = checkout.path().join(report["bundle"].as_str().expect("a bundle"));
    let out = bundle.parent().and_then(Path::parent).expect("the folder of the runs").to_owned();
    let manifest = fs::read(bundle.join("manifest.json")).expect("a file");
    fs::write(bundle.join("manifest.json"), &manifest[..manifest.len() / 2]).expect("a file");
    let (run, dag) = (&report["run_id"], &report["dag_name"]);

    let rows =
        ask(&checkout, &out, "SELECT run_id, dag_name, status, started_at IS NOT NULL AS starts FROM runs");
    let row = json!({ "run_id": run, "dag_name": dag, "status": "success", "starts": true });
    assert_eq!(rows, [row]);
    let document = |command: &str| -> Value {
        let finished =
            Daglight::new(&checkout, [command.as_ref(), out.as_os_str(), "--json".as_ref()]).finish();
        serde_json::from_str(&finished.ended_with(0).stdout).expect("JSON")
    };
    let status = &document("status")[0];
    assert_eq!((&status["run_id"], &status["dag_name"], &status["status"]), (run, dag, &json!("success")));
    let history = &document("history")[0];
    let of_run = &history["runs"][0];
    assert_eq!((&of_run["run_id"], &history["dag_name"], &of_run["status"]), (run, dag, &json!("success")));
}
