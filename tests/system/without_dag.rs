//! A program that declares no DAG: what is seen of its queries, on disk and in Hamilton, however it ends.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use daglight_system_tests::{Checkout, Daglight, Hamilton};
use serde_json::{Value, json};

fn program(checkout: &Checkout, mode: &str) -> Daglight {
    Daglight::program(Path::new(env!("CARGO_BIN_EXE_observed-run")), checkout, [mode])
        .env("DAGLIGHT_OUTPUT_DIR", "out")
        .env("HAMILTON_DAG_NAME", "test::observed_v1")
}

fn bundles(checkout: &Checkout) -> Vec<PathBuf> {
    let runs = fs::read_dir(checkout.path().join("out/run_bundle")).expect("runs are recorded");
    runs.flatten().map(|run| run.path()).collect()
}

fn json_file(path: &Path) -> Value {
    let text = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The manifest of the only run.
fn manifest(checkout: &Checkout) -> Value {
    let bundles = bundles(checkout);
    let [bundle] = &bundles[..] else { panic!("not one run: {bundles:?}") };
    json_file(&bundle.join("manifest.json"))
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value:#}"))
}

/// Each node with those that it depends on.
fn edges<'v>(nodes: &'v Value, name: &str, dependencies: &str) -> BTreeMap<&'v str, Vec<&'v str>> {
    let edges = |node: &'v Value| {
        let read = node[dependencies].as_array().into_iter().flatten();
        (text(node, name), read.map(|read| read.as_str().expect("a name")).collect())
    };
    nodes.as_array().expect("nodes").iter().map(edges).collect()
}

#[test]
fn a_program_without_a_dag_is_one_in_hamilton() {
    let hamilton = Hamilton::take();
    let project = hamilton.project("without a DAG");
    let checkout = Checkout::new();
    program(&checkout, "whole").tracked_in(&project).finish().ended_with(0);
    let manifest = manifest(&checkout);
    assert_eq!((&manifest["status"], &manifest["observed"]), (&json!("success"), &json!(true)));
    assert_eq!(manifest["delivery"]["tracker"]["waiting"], 0, "{:#}", manifest["delivery"]);
    let expected = edges(&manifest["nodes"], "name", "dependencies");
    assert_eq!(expected.len(), 5);
    assert_eq!((&expected["orders"][..], &expected["late"][..]), (&[][..], &["orders"][..]));
    assert_eq!(expected["days"], ["late"]);

    let versions = hamilton.versions(&project);
    assert_eq!((versions.len(), &versions[0]["name"]), (1, &json!("test::observed_v1")));
    assert_eq!(versions[0]["dag_hash"], manifest["identity"]["dag_hash"]);
    let version = hamilton.version(&versions[0]["id"]);
    assert_eq!(edges(&version["nodes"], "name", "dependencies"), expected, "{:#}", version["nodes"]);
    let runs = hamilton.runs(&project);
    assert_eq!((runs.len(), &runs[0]["run_status"]), (1, &json!("SUCCESS")));
    let run = hamilton.run(&runs[0]["id"]);
    let tasks = run["node_runs"].as_array().expect("tasks");
    assert_eq!(tasks.len(), 5);
    for task in tasks {
        assert_eq!(task["status"], "SUCCESS", "{task:#}");
        let attributes = task["attributes"].as_array().expect("attributes");
        assert!(attributes.iter().any(|attribute| attribute["name"] == "data_summary"), "{attributes:#?}");
    }

    // Another run is another one of the same version, whatever ran first.
    let again = Checkout::new();
    program(&again, "turned").tracked_in(&project).finish().ended_with(0);
    assert_eq!((hamilton.versions(&project).len(), hamilton.runs(&project).len()), (1, 2));
}

#[test]
fn a_program_that_was_killed_is_closed_with_the_nodes_that_were_seen() {
    let hamilton = Hamilton::take();
    let project = hamilton.project("without a DAG, killed");
    let checkout = Checkout::new();
    let running = program(&checkout, "waits").tracked_in(&project).start();
    running.wait_until("it waits", || running.output().contains("waits"));
    running.signal("KILL");
    running.finish();
    assert!(hamilton.versions(&project).is_empty(), "a version was sent before it was known");
    Daglight::new(&checkout, ["sync", "out"]).tracked_in(&project).finish().ended_with(0);

    let manifest = manifest(&checkout);
    assert_eq!(manifest["status"], "failure");
    let expected = edges(&manifest["nodes"], "name", "dependencies");
    assert_eq!((expected.len(), &expected["days"][..]), (5, &["late"][..]));
    let versions = hamilton.versions(&project);
    assert_eq!((versions.len(), &versions[0]["dag_hash"]), (1, &manifest["identity"]["dag_hash"]));
    let runs = hamilton.runs(&project);
    assert_eq!((runs.len(), &runs[0]["run_status"]), (1, &json!("FAILURE")));
    let bundle = bundles(&checkout).remove(0);
    Daglight::new(&checkout, ["bundle", "verify"]).args([&bundle]).finish().ended_with(0);
    Daglight::new(&checkout, ["report"]).args([&bundle]).finish().ended_with(0);

    // The same program to its end is the same version.
    let whole = Checkout::new();
    program(&whole, "whole").tracked_in(&project).finish().ended_with(0);
    assert_eq!((hamilton.versions(&project).len(), hamilton.runs(&project).len()), (1, 2));
}

#[test]
fn each_request_and_each_window_is_a_run() {
    let hamilton = Hamilton::take();
    let project = hamilton.project("without a DAG, a service");
    let checkout = Checkout::new();
    program(&checkout, "requests").tracked_in(&project).finish().ended_with(0);
    assert_eq!(bundles(&checkout).len(), 50);
    // Fifty deliveries at once may be more than a server on SQLite takes in time.
    // Nor does it say in time what became of each request, so that the exit code may be another.
    Daglight::new(&checkout, ["sync", "out"]).tracked_in(&project).finish();
    let runs = hamilton.runs(&project);
    assert_eq!((hamilton.versions(&project).len(), runs.len()), (1, 50));
    let mut numbers: Vec<u32> =
        runs.iter().map(|run| text(&run["tags"], "request").parse().expect("a number")).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..50));

    let windows = Checkout::new();
    program(&windows, "windows").finish().ended_with(0);
    let statuses: Vec<Value> = bundles(&windows)
        .iter()
        .map(|bundle| json_file(&bundle.join("manifest.json"))["status"].clone())
        .collect();
    assert_eq!(statuses, ["success", "success"]);
}

#[test]
fn a_panic_and_a_server_that_is_not_there_leave_a_whole_bundle() {
    let checkout = Checkout::new();
    program(&checkout, "panics").finish().ended_with(101);
    let panicked = manifest(&checkout);
    assert_eq!(panicked["status"], "failure");
    assert!(text(&panicked, "error").contains("panicked"), "{panicked:#}");
    assert_eq!(edges(&panicked["nodes"], "name", "dependencies").len(), 4);

    let hamilton = Hamilton::take();
    let project = hamilton.project("without a DAG, later");
    let checkout = Checkout::new();
    let offline = program(&checkout, "whole").tracked_in(&project);
    offline.env("HAMILTON_API_URL", "http://127.0.0.1:1").finish().ended_with(0);
    assert!(manifest(&checkout)["delivery"]["tracker"]["waiting"].as_u64() > Some(0));
    Daglight::new(&checkout, ["sync", "out"]).tracked_in(&project).finish().ended_with(0);
    assert_eq!((hamilton.versions(&project).len(), hamilton.runs(&project).len()), (1, 1));
}
