//! Ends that nobody waits for, and ends by panics.

use std::{net::TcpListener, panic::AssertUnwindSafe, sync::mpsc, thread};

use daglight_capture_policy::Profile;
use daglight_run_session::{
    Interrupted, NodeStatus, OnInterrupt, RunOptions, RunStatus, StopSignal, Telemetry, catch_panic,
};
use daglight_settings::Settings;
use datafusion::{
    arrow::datatypes::DataType,
    error::DataFusionError,
    execution::SessionStateBuilder,
    logical_expr::{ColumnarValue, Volatility, create_udf},
};
use futures::FutureExt as _;
use std::sync::Arc;

use super::{dag, json, spans, telemetry};

/// A server that takes connections and says nothing.
fn silent_server() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let held: Vec<_> = listener.incoming().collect();
        drop(held);
    });
    format!("http://{address}")
}

#[tokio::test]
async fn a_dropped_run_ends_beside_the_thread_that_dropped_it() {
    let out = tempfile::tempdir().unwrap();
    let mut settings = Settings::of_profile(Profile::Dev);
    settings.bundle.output_dir = out.path().to_owned();
    settings.tracker.api_url = Some(silent_server());
    settings.tracker.project_id = Some(1);
    settings.tracker.username = Some("ann@example.com".to_owned());
    settings.tracker.flush_seconds = 2.0;
    let telemetry = Telemetry::new(settings);
    let run = telemetry.start_run(&dag(), RunOptions::default());
    let report = run.bundle_dir().unwrap().join("run_diagnostics_report.json");
    let manifest = run.bundle_dir().unwrap().join("manifest.json");
    drop(run);
    // The report comes after the delivery, which the server holds up.
    assert!(!report.exists(), "dropping the run has waited for the server");
    telemetry.shutdown();
    assert_eq!(json(&manifest)["status"], "failure");
    assert_eq!(json(&report)["status"], "failure");
    assert!(json(&manifest)["delivery"]["tracker"]["waiting"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn dropping_the_last_telemetry_waits_for_the_ends_of_its_runs() {
    let out = tempfile::tempdir().unwrap();
    let telemetry = telemetry(out.path(), Profile::Dev);
    let runs = [(); 3].map(|()| telemetry.start_run(&dag(), RunOptions::default()));
    let bundles = runs.each_ref().map(|run| run.bundle_dir().unwrap().to_owned());
    drop(runs);
    drop(telemetry);
    for bundle in bundles {
        assert!(bundle.join("run_diagnostics_report.html").exists());
        assert_eq!(json(bundle.join("manifest.json"))["status"], "failure");
    }
}

#[tokio::test]
async fn a_run_outlives_the_telemetry_that_started_it() {
    let out = tempfile::tempdir().unwrap();
    let run = telemetry(out.path(), Profile::Dev).start_run(&dag(), RunOptions::default());
    run.node("orders", async |_| Ok::<_, DataFusionError>(())).await.unwrap();
    let report = run.finish().await;
    assert_eq!(report.status, RunStatus::Success);
    assert!(report.ledger.signals.iter().all(|signal| signal.ledger.waiting == 0), "{:?}", report.ledger);
}

/// A panic goes on to the program, and the bundle has its message and its place.
#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_recorded_with_message_and_place() {
    let out = tempfile::tempdir().unwrap();
    let telemetry = telemetry(out.path(), Profile::Dev);
    let ctx = telemetry.session(SessionStateBuilder::new_with_default_features());
    let unlucky = create_udf(
        "unlucky",
        vec![DataType::Int64],
        DataType::Int64,
        Volatility::Volatile,
        Arc::new(|arguments: &[ColumnarValue]| panic!("unlucky with {} argument", arguments.len())),
    );
    ctx.register_udf(unlucky);
    let run = telemetry.start_run(&dag(), RunOptions::default());
    // In a task that DataFusion spawns, below an exchange.
    let in_a_task = async |_| {
        let sql = "SELECT sum(unlucky(value)) FROM generate_series(1, 100000) GROUP BY value % 3";
        ctx.sql(sql).await?.collect().await
    };
    let caught = AssertUnwindSafe(run.node("orders", in_a_task)).catch_unwind().await;
    // As a panic, or as the error of the task, as DataFusion will have it.
    assert!(!matches!(caught, Ok(Ok(_))), "{caught:?}");
    let direct = async |_| -> Result<(), DataFusionError> { panic!("out of luck") };
    let caught = catch_panic(run.node("late", direct)).await;
    assert_eq!(caught.unwrap_err().message(), "out of luck");

    let report = run.finish().await;
    assert_eq!(report.status, RunStatus::Failure);
    let error = |node: usize| report.nodes[node].error.clone().unwrap();
    let place = "panicked at crates/run-session/tests/it/ends.rs:";
    for (node, message) in [(0, "unlucky with 1 argument"), (1, "out of luck")] {
        assert!(error(node).starts_with(place) && error(node).contains(message), "{}", error(node));
    }
    let manifest = json(report.bundle.as_ref().unwrap().join("manifest.json"));
    assert!(manifest["error"].as_str().unwrap().contains("unlucky with 1 argument"), "{manifest:#}");
    let spans = spans(&report.bundle.unwrap()).iter().map(ToString::to_string).collect::<String>();
    assert!(spans.contains(place), "{spans}");
    let cause = &report.tags["error"];
    assert!(cause.contains("orders") && cause.contains("unlucky"), "{cause}");
}

#[tokio::test]
async fn the_cause_of_a_run_is_a_tag_that_does_not_replace_the_users() {
    let out = tempfile::tempdir().unwrap();
    let telemetry = telemetry(out.path(), Profile::Dev);
    let run = telemetry.start_run(&dag(), RunOptions::new().tag("error", "none so far"));
    run.fail(format!("no disk\n{}", "x".repeat(1_000)));
    let report = run.finish().await;
    assert_eq!(report.tags["error"], "none so far");
    assert!(report.tags["daglight.error"].starts_with("no disk xxx"), "{:?}", report.tags);
    assert_eq!(report.tags["daglight.error"].chars().count(), 501);
    let error = report.error.unwrap();
    assert!(error.message.starts_with("no disk"), "{error:?}");
    assert_eq!((error.node, error.line), (None, None));
}

#[test]
fn a_signal_says_its_name_and_its_exit_code() {
    let signals = [StopSignal::Interrupt, StopSignal::Terminate, StopSignal::Hangup];
    assert_eq!(signals.map(StopSignal::exit_code), [130, 143, 129]);
    assert_eq!(signals.map(StopSignal::name), ["SIGINT", "SIGTERM", "SIGHUP"]);
}

/// Work that ends by itself is not changed by the watch, also on a runtime without drivers.
#[test]
fn work_that_no_signal_interrupts_passes_through() {
    let out = tempfile::tempdir().unwrap();
    let telemetry = telemetry(out.path(), Profile::Ci);
    let run = telemetry.start_run(&dag(), RunOptions::default());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let answer = OnInterrupt::new().announce(|line| panic!("{line}"));
    let (sender, receiver) = mpsc::channel();
    let result: Result<u8, Interrupted> = runtime.block_on(run.until_interrupted_with(answer, async {
        sender.send(1).unwrap();
        2
    }));
    assert_eq!((result, receiver.recv()), (Ok(2), Ok(1)));
    let report = runtime.block_on(run.finish());
    assert!(report.nodes.iter().all(|node| node.status == NodeStatus::NotRun));
    assert_eq!((report.status, report.error), (RunStatus::Success, None));
}
