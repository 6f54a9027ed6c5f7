//! What a run leaves on disk.

use std::{collections::BTreeSet, fs};

use daglight_system_tests::{attributes, decode_strictly};
use serde_json::{Value, json};

use crate::{observed::observed, pipelines::SHOP_QUERIES};

#[test]
fn the_signal_files_are_what_the_protos_say_and_hold_what_was_sent() {
    let observed = observed();
    for (file, signal, sent) in [
        ("otel_traces.json", "traces", &observed.spans),
        ("otel_metrics.json", "metrics", &observed.metrics),
        ("otel_logs.json", "logs", &observed.logs),
    ] {
        let kept = decode_strictly(&observed.file(file), signal);
        // Metrics are read once more while the run goes on, so that there are more points of the same.
        let names = |records: &[Value]| -> BTreeSet<String> {
            records.iter().map(|record| format!("{} {}", record["name"], record["spanId"])).collect()
        };
        assert_eq!(names(&kept), names(sent), "{file}");
        for record in &kept {
            assert_eq!(record["resource"]["daglight.run_id"], observed.run_id(), "{file}: {record}");
            assert!(record["resource"]["daglight.output_dir"].is_string(), "{file}: {record}");
        }
    }
}

#[test]
fn there_is_a_plan_bundle_for_every_query() {
    let observed = observed();
    let mut nodes = Vec::new();
    let mut files: Vec<_> = fs::read_dir(observed.file("plans"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a text"))
        .collect();
    files.sort_unstable();
    for file in files {
        let plan = observed.json(&format!("plans/{file}"));
        assert_eq!(plan["format"], "datafusion_plan_bundle_v2", "{file}");
        let node = plan["node"].as_str().unwrap_or_else(|| panic!("{file} has no node")).to_owned();
        assert!(file.contains(&node), "{file}");
        nodes.push(node);
    }
    nodes.sort_unstable();
    assert_eq!(nodes, SHOP_QUERIES);
}

#[test]
fn the_heartbeat_of_a_run_that_outlives_an_interval_is_there() {
    let observed = observed();
    let evidence = observed.json("heartbeat.json");
    assert!(evidence["pid"].is_u64() && evidence["stopped_at"].is_string(), "{evidence}");
    let beats = evidence["beats"].as_u64().expect("a count");
    assert!(beats > 0, "{evidence}");
    for spans in [&observed.spans, &decode_strictly(&observed.file("otel_traces.json"), "traces")] {
        let shown = spans.iter().filter(|span| span["name"] == "build.heartbeat").count() as u64;
        assert_eq!(shown, beats, "a span for each beat");
    }
}

#[test]
fn artifacts_are_registered_with_place_rows_and_schema() {
    let observed = observed();
    let artifacts = observed.json("artifacts.json");
    let list = artifacts["artifacts"].as_array().expect("a list");
    let file = list
        .iter()
        .find(|artifact| artifact["materialization"] == "parquet")
        .expect("the file is registered");
    assert!(
        file["location"].as_str().is_some_and(|place| place.ends_with("out/yearly_sales.parquet")),
        "{file}"
    );
    assert_eq!((&file["rows"], &file["run_id"]), (&json!(7), &observed.report["run_id"]), "{file}");
    assert_eq!(file["schema"][2]["name"], "sales", "{file}");
    assert!(observed.checkout.path().join("out/yearly_sales.parquet").exists());
}

#[test]
fn the_manifest_lists_the_files_and_every_account_balances() {
    let observed = observed();
    let manifest = observed.json("manifest.json");
    assert_eq!(manifest["status"], "success");
    assert_eq!(manifest["identity"]["run_id"], observed.run_id());
    assert_eq!(manifest["identity"]["execution_run_id"], observed.runs[0]["id"].to_string());
    assert_eq!(manifest["identity"]["dag_hash"], observed.version["dag_hash"]);
    assert_eq!(manifest["identity"]["code_hash"], observed.version["code_hash"]);

    let listed: BTreeSet<&str> = manifest["files"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|file| file["path"].as_str())
        .collect();
    for name in [
        "artifacts.json",
        "heartbeat.json",
        "otel_logs.json",
        "otel_metrics.json",
        "otel_traces.json",
        "run_diagnostics_report.html",
        "run_diagnostics_report.json",
        "run_diagnostics_report.md",
    ] {
        assert!(listed.contains(name), "{name} is not among {listed:?}");
        assert!(observed.file(name).exists(), "{name}");
    }
    assert!(listed.iter().any(|name| name.starts_with("tracker/")), "{listed:?}");

    let delivery = &manifest["delivery"];
    let signals = delivery["signals"].as_array().expect("a list");
    assert_eq!(signals.len(), 6, "three signals, to the bundle and to the receiver: {delivery}");
    for account in signals.iter().chain([&delivery["tracker"]]) {
        let number = |key: &str| account[key].as_u64().unwrap_or_else(|| panic!("no {key}: {account}"));
        assert!(number("produced") > 0, "{account}");
        assert_eq!(number("delivered"), number("produced"), "{account}");
        assert_eq!(
            (number("waiting"), account["dropped"].as_object().map(|dropped| dropped.len())),
            (0, Some(0))
        );
    }
}

#[test]
fn the_root_span_of_the_bundle_says_which_run_of_the_hamilton_ui_it_is() {
    let observed = observed();
    let spans = decode_strictly(&observed.file("otel_traces.json"), "traces");
    let root = spans.iter().find(|span| span["name"] == "pipeline.execute").expect("a root span");
    assert_eq!(attributes(root)["hamilton.execution_run_id"], observed.runs[0]["id"]);
}
