//! Runs without any server: what is left in the bundle, however they end.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test ends at its first surprise")]

mod attached;
mod attempts;
mod beats;
mod checks;
mod belonging;
mod damaged;
mod early;
mod ends;
mod gone;
mod handles;
mod many_queries;
mod misuse;
mod observed;
mod observed_ends;
mod outputs;
mod plannings;
mod plans;
mod silent_heart;
mod stages;
mod stall_cancelled;
mod stall_causes;
mod stalls;

use std::{fs, path::Path};

use daglight_capture_policy::Profile;
use daglight_materializers::{Parquet, Table};
use daglight_run_identity::Dag;
use daglight_run_session::{NodeStatus, RunOptions, RunStatus, Telemetry, Tracking, WarningCode};
use daglight_settings::Settings;
use datafusion::{error::DataFusionError, execution::SessionStateBuilder};
use serde_json::Value;

fn telemetry(output_dir: &Path, profile: Profile) -> Telemetry {
    let mut settings = Settings::of_profile(profile);
    settings.bundle.output_dir = output_dir.to_owned();
    settings.heartbeat.interval_seconds = 0.05;
    Telemetry::new(settings)
}

fn dag() -> Dag {
    Dag::builder("test::orders_v1")
        .unwrap()
        .loader("orders")
        .transform("late", ["orders"])
        .saver("late_parquet", ["late"])
        .build()
        .unwrap()
}

fn json(path: impl AsRef<Path>) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The names of the attributes that the tracker's outbox has of a node.
fn attribute_names(bundle: &Path, node: &str) -> Vec<String> {
    let outbox = fs::read_to_string(bundle.join("tracker/outbox.jsonl")).unwrap();
    let events = outbox.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let events = events.map(|line| line["record"].clone());
    let of_node = events.filter(|event| event["event"] == "task_finished" && event["node"] == node);
    let attributes = of_node.flat_map(|event| event["attributes"].as_array().unwrap().clone());
    attributes.map(|attribute| attribute["name"].as_str().unwrap().to_owned()).collect()
}

/// The spans of a bundle.
fn spans(bundle: &Path) -> Vec<Value> {
    let text = fs::read_to_string(bundle.join("otel_traces.json")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let list = |value: &Value| value.as_array().unwrap().clone();
    let scopes = lines.flat_map(|line| list(&line["resourceSpans"])).flat_map(|it| list(&it["scopeSpans"]));
    scopes.flat_map(|scope| list(&scope["spans"])).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_leaves_a_complete_bundle() {
    let out = tempfile::tempdir().unwrap();
    let telemetry = telemetry(out.path(), Profile::Dev);
    let ctx = telemetry.session(SessionStateBuilder::new_with_default_features());
    let run = telemetry.start_run(&dag(), RunOptions::default());

    run.node("orders", async |node| {
        let frame = ctx.sql("SELECT value AS id, value % 7 AS slack FROM generate_series(1, 1000)").await?;
        node.materialize(&ctx, frame, Table::named("orders")).await
    })
    .await
    .unwrap();
    run.node("late", async |node| {
        let frame = ctx.sql("SELECT * FROM orders WHERE slack < 2").await?;
        node.record("threshold", 2);
        node.materialize(&ctx, frame, Table::named("late")).await
    })
    .await
    .unwrap();
    let target = out.path().join("late.parquet");
    let written = run
        .node("late_parquet", async |node| {
            let frame = ctx.table("late").await?;
            node.materialize(&ctx, frame, Parquet::to(target.display().to_string())).await
        })
        .await
        .unwrap();
    assert_eq!(written.rows, Some(285));
    tokio::time::sleep(std::time::Duration::from_millis(120)).await;
    let report = run.finish().await;

    assert_eq!(report.status, RunStatus::Success);
    assert!(report.nodes.iter().all(|node| node.status == NodeStatus::Success));
    assert_eq!(
        report.nodes.iter().map(|node| node.rows).collect::<Vec<_>>(),
        [Some(1000), Some(285), Some(285)]
    );
    let tracker = report.ledger.tracker.as_ref().unwrap();
    assert!(tracker.is_balanced() && tracker.waiting > 0 && tracker.delivered == 0, "{tracker:?}");
    assert!(report.ledger.signals.iter().all(|signal| signal.ledger.is_balanced()));
    assert_eq!((report.tracking, report.warnings), (Tracking::NoServer, vec![]));

    let bundle = report.bundle.unwrap();
    let manifest = json(bundle.join("manifest.json"));
    assert_eq!(manifest["status"], "success");
    assert_eq!(manifest["identity"]["tags"]["otel.trace_id"], manifest["identity"]["trace_id"]);
    assert_eq!(json(bundle.join("artifacts.json"))["artifacts"].as_array().unwrap().len(), 3);
    assert_eq!(fs::read_dir(bundle.join("plans")).unwrap().count(), 3);
    assert!(bundle.join("heartbeat.json").exists());
    for file in ["run_diagnostics_report.json", "run_diagnostics_report.md", "run_diagnostics_report.html"] {
        assert!(fs::metadata(bundle.join(file)).unwrap().len() > 100, "{file}");
    }

    let spans = spans(&bundle);
    let count = |name: &str| spans.iter().filter(|span| span["name"] == name).count();
    assert_eq!((count("pipeline.execute"), count("hamilton.node"), count("datafusion.plan")), (1, 3, 3));
    assert_eq!(count("datafusion.execute") + count("datafusion.write"), 3);
    assert!(count("build.heartbeat") > 0);
    let run_id = report.run_id.to_string();
    assert!(spans.iter().all(|span| span["attributes"].to_string().contains(&run_id)));
}

#[tokio::test]
async fn a_failed_node_fails_the_run_and_its_error_passes_through() {
    let out = tempfile::tempdir().unwrap();
    let telemetry = telemetry(out.path(), Profile::Dev);
    let ctx = telemetry.session(SessionStateBuilder::new_with_default_features());
    let run = telemetry.start_run(&dag(), RunOptions::default());
    let error = run
        .node("orders", async |_| ctx.sql("SELECT 1/0 FROM generate_series(1,2)").await?.collect().await)
        .await
        .unwrap_err();
    assert!(matches!(error.find_root(), DataFusionError::ArrowError(..)), "{error:?}");
    let report = run.finish().await;
    assert_eq!(report.status, RunStatus::Failure);
    let status: Vec<NodeStatus> = report.nodes.iter().map(|node| node.status).collect();
    assert_eq!(status, [NodeStatus::Failure, NodeStatus::NotRun, NodeStatus::NotRun]);
    assert!(report.nodes[0].error.as_ref().unwrap().contains("Divide by zero"));
    let manifest = json(report.bundle.unwrap().join("manifest.json"));
    assert!(manifest["error"].as_str().unwrap().contains("orders"));
}

#[tokio::test]
async fn a_dropped_run_and_a_dropped_node_end_as_failures() {
    let out = tempfile::tempdir().unwrap();
    let telemetry = telemetry(out.path(), Profile::Ci);
    let run = telemetry.start_run(&dag(), RunOptions::default());
    let bundle = run.bundle_dir().unwrap().to_owned();
    let endless = run.node("orders", async |_| std::future::pending::<Result<(), DataFusionError>>().await);
    assert!(tokio::time::timeout(std::time::Duration::from_millis(20), endless).await.is_err());
    drop(run);
    telemetry.shutdown();
    let manifest = json(bundle.join("manifest.json"));
    assert_eq!(manifest["status"], "failure");
    assert_eq!(manifest["nodes"][0]["status"], "failure");
    assert!(manifest["nodes"][0]["error"].as_str().unwrap().contains("dropped"));
    assert!(manifest["delivery"]["tracker"].is_null(), "the ci profile has no tracker");
}

#[test]
fn a_run_without_a_folder_goes_on_and_says_so() {
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("file");
    fs::write(&file, "not a folder").unwrap();
    let telemetry = telemetry(&file, Profile::Dev);
    let run = telemetry.start_run(&dag(), RunOptions::default());
    assert!(run.bundle_dir().is_none());
    let report = run.finish_blocking();
    assert_eq!(report.status, RunStatus::Success);
    assert!(
        report.warnings.iter().any(|warning| warning.code == WarningCode::BundleNotCreated),
        "{:?}",
        report.warnings
    );
}

#[test]
fn several_runs_share_one_telemetry() {
    let out = tempfile::tempdir().unwrap();
    let telemetry = telemetry(out.path(), Profile::Dev);
    let first = telemetry.start_run(&dag(), RunOptions::default());
    let second = telemetry.start_run(&dag(), RunOptions::default());
    let (first, second) = (first.finish_blocking(), second.finish_blocking());
    assert_ne!(first.run_id, second.run_id);
    for report in [first, second] {
        let spans = spans(&report.bundle.unwrap());
        assert_eq!(spans.iter().filter(|span| span["name"] == "pipeline.execute").count(), 1);
    }
}

#[test]
fn the_arguments_of_the_process_are_shown_only_where_the_policy_allows_it() {
    for allowed in [false, true] {
        let out = tempfile::tempdir().unwrap();
        let mut settings = Settings::of_profile(Profile::Dev);
        settings.bundle.output_dir = out.path().to_owned();
        settings.capture.command_line = allowed;
        let run = Telemetry::new(settings).start_run(&dag(), RunOptions::default());
        let bundle = run.finish_blocking().bundle.unwrap();
        let traces = fs::read_to_string(bundle.join("otel_traces.json")).unwrap();
        assert_eq!(traces.contains("process.command_line"), allowed);
    }
}

#[test]
fn a_runtime_without_timers_is_enough() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let out = tempfile::tempdir().unwrap();
    let telemetry = telemetry(out.path(), Profile::Dev);
    let ctx = telemetry.session(SessionStateBuilder::new_with_default_features());
    let run = telemetry.start_run(&dag(), RunOptions::default());
    let result = runtime.block_on(run.node("orders", async |node| {
        ctx.sql("CREATE TABLE orders AS SELECT 1 AS id").await?.collect().await?;
        node.source(&ctx, "orders").await;
        node.files_at(&ctx, &out.path().display().to_string()).await.unwrap();
        // Dropped before its end.
        ctx.sql("SELECT * FROM generate_series(1, 1000000)").await?.execute_stream().await.map(drop)
    }));
    result.unwrap();
    let report = runtime.block_on(run.finish());
    assert_eq!(report.status, RunStatus::Success, "{:?}", report.warnings);
}
