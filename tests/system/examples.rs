//! The example programs of the facade, run as their readers run them: what each has left.

use std::path::{Path, PathBuf};

use daglight_system_tests::{Checkout, Daglight, OtlpReceiver};
use serde_json::{Value, json};

fn example(checkout: &Checkout, name: &str) -> Daglight {
    let folder = Path::new(env!("CARGO_BIN_EXE_ending-run")).with_file_name("examples");
    let program = folder.join(name);
    assert!(program.exists(), "{} is not built: run `cargo build --workspace --examples`", program.display());
    Daglight::program(&program, checkout, [""; 0])
}

/// The manifests of all runs, with their folders.
fn manifests(checkout: &Checkout) -> Vec<(PathBuf, Value)> {
    let runs = std::fs::read_dir(checkout.path().join("out/run_bundle")).expect("runs are recorded");
    let read = |bundle: PathBuf| {
        let text = std::fs::read(bundle.join("manifest.json")).expect("a manifest");
        (bundle, serde_json::from_slice(&text).expect("JSON"))
    };
    runs.flatten().map(|run| read(run.path())).collect()
}

fn only(checkout: &Checkout) -> (PathBuf, Value) {
    let mut runs = manifests(checkout);
    assert_eq!(runs.len(), 1, "{runs:#?}");
    runs.remove(0)
}

/// Each node with its rows.
fn rows(manifest: &Value) -> Vec<(&str, u64)> {
    let nodes = manifest["nodes"].as_array().expect("nodes").iter();
    nodes
        .map(|node| (node["name"].as_str().expect("a name"), node["rows"].as_u64().unwrap_or_default()))
        .collect()
}

#[test]
fn one_line_makes_nodes_of_queries() {
    let checkout = Checkout::new();
    example(&checkout, "observe").finish().ended_with(0);
    let (bundle, manifest) = only(&checkout);
    assert_eq!((&manifest["status"], &manifest["observed"]), (&json!("success"), &json!(true)));
    assert!(rows(&manifest).contains(&("orders", 1000)) && rows(&manifest).contains(&("risk", 285)));
    assert!(bundle.join("run_diagnostics_report.html").exists());
}

#[test]
fn a_service_has_a_run_for_each_request() {
    let checkout = Checkout::new();
    let finished = example(&checkout, "observed_service").finish().ended_with(0);
    assert_eq!(finished.stdout.matches("143 orders\n").count(), 10, "{}", finished.stdout);
    let mut of_requests: Vec<u64> = Vec::new();
    for (_, manifest) in manifests(&checkout) {
        assert_eq!(manifest["status"], "success", "{manifest:#}");
        let request = manifest["identity"]["tags"]["request"].as_str();
        of_requests.extend(request.map(|number| number.parse::<u64>().expect("a number")));
    }
    of_requests.sort_unstable();
    assert!(of_requests.into_iter().eq(0..10));
}

#[test]
fn a_pipeline_of_frames_has_an_output_a_stage_and_values_of_its_own() {
    let checkout = Checkout::new();
    let finished = example(&checkout, "dataframes").finish().ended_with(0);
    assert!(finished.stdout.contains("slack_by_day: Success, 5 rows"), "{}", finished.stdout);
    let (bundle, manifest) = only(&checkout);
    assert_eq!(rows(&manifest), [("orders", 1000), ("slack_by_day", 5)]);
    let artifacts = std::fs::read_to_string(bundle.join("artifacts.json")).expect("artifacts");
    assert!(artifacts.contains("\"sorted\""), "{artifacts}");
    let outbox = std::fs::read_to_string(bundle.join("tracker/outbox.jsonl")).expect("an outbox");
    assert!(outbox.contains("\"name\":\"limit\""), "{outbox}");
    let traces = std::fs::read_to_string(bundle.join("otel_traces.json")).expect("traces");
    assert!(traces.contains("choose a limit") && traces.contains("publish"), "{traces}");
}

#[test]
fn a_program_that_is_not_async_sends_its_own_metrics_with_its_signals() {
    let receiver = OtlpReceiver::start();
    let checkout = Checkout::new();
    let program = example(&checkout, "blocking")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint("http/protobuf"))
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
    let finished = program.finish().ended_with(0);
    assert!(finished.stdout.contains("285 late orders, Success"), "{}", finished.stdout);
    assert_eq!(only(&checkout).1["status"], "success");
    let spans = receiver.spans();
    assert_eq!(spans.iter().filter(|span| span["name"] == "hamilton.node").count(), 2, "{spans:#?}");
    let metrics = receiver.metrics();
    let own = metrics.iter().find(|metric| metric["name"] == "sales.late_orders").expect("the program's own");
    assert!(own.to_string().contains("285"), "{own:#}");
}
