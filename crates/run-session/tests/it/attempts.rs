//! Nodes and stages that fail and are run again, or done without.

use std::io;

use daglight_capture_policy::Profile;
use daglight_run_session::{Node, NodeStatus, Run, RunOptions, RunStatus, WarningCode};
use serde_json::json;

use crate::{attribute_names, dag, json as read, spans, telemetry};

#[derive(Debug, thiserror::Error)]
#[error("cannot load the orders")]
struct LoadError(#[source] io::Error);

fn load_error(cause: &str) -> LoadError {
    LoadError(io::Error::other(cause.to_owned()))
}

fn load(node: &Node, rows: u64) -> Result<(), LoadError> {
    node.row_count(rows);
    Ok(())
}

async fn fail(run: &Run, cause: &str) {
    run.node("orders", async |_| Err::<(), _>(load_error(cause))).await.unwrap_err();
}

#[tokio::test]
async fn an_error_is_recorded_with_its_causes_everywhere() {
    let out = tempfile::tempdir().unwrap();
    let run = telemetry(out.path(), Profile::Dev).start_run(&dag(), RunOptions::new());
    fail(&run, "disk on fire").await;
    let report = run.finish().await;
    let expected = "cannot load the orders: disk on fire";
    assert_eq!(report.nodes[0].error.as_deref(), Some(expected));
    let bundle = report.bundle.unwrap();
    assert_eq!(read(bundle.join("manifest.json"))["error"], format!("node orders: {expected}"));
    let spans = spans(&bundle);
    let node = spans.iter().find(|span| span["name"] == "hamilton.node").unwrap();
    let event = node["events"][0]["attributes"].to_string();
    assert!(event.contains(expected) && event.contains("caused by: disk on fire"), "{event}");
    let outbox = std::fs::read_to_string(bundle.join("tracker/outbox.jsonl")).unwrap();
    assert!(outbox.contains("caused by: disk on fire"), "{outbox}");
}

#[tokio::test]
async fn the_last_attempt_of_a_node_counts() {
    let out = tempfile::tempdir().unwrap();
    let run = telemetry(out.path(), Profile::Dev).start_run(&dag(), RunOptions::new());
    fail(&run, "disk on fire").await;
    fail(&run, "disk still on fire").await;
    run.node("orders", async |node| load(&node, 3)).await.unwrap();
    let report = run.finish().await;
    assert_eq!(report.status, RunStatus::Success, "{:?}", report.warnings);
    let node = &report.nodes[0];
    assert_eq!((node.status, node.attempts, node.rows), (NodeStatus::Success, 3, Some(3)));
    let errors: Vec<_> = node.earlier_attempts.iter().map(|earlier| earlier.error.clone().unwrap()).collect();
    assert_eq!(
        errors,
        ["cannot load the orders: disk on fire", "cannot load the orders: disk still on fire"]
    );
    let bundle = report.bundle.unwrap();
    let manifest = read(bundle.join("manifest.json"));
    assert_eq!((&manifest["status"], &manifest["nodes"][0]["attempts"]), (&json!("success"), &json!(3)));
    let names = attribute_names(&bundle, "orders");
    let mut unique = names.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), names.len(), "the server refuses the second of a name: {names:?}");
    for name in ["stack_trace", "stack_trace_attempt_2", "earlier_attempts_attempt_3"] {
        assert!(names.iter().any(|found| found == name), "{name} in {names:?}");
    }
    let spans = spans(&bundle);
    assert_eq!(spans.iter().filter(|span| span["name"] == "hamilton.node").count(), 3);
    let root = spans.iter().find(|span| span["name"] == "pipeline.execute").unwrap();
    assert_ne!(root["status"]["code"], 2, "{root}");
}

#[tokio::test]
async fn an_attempt_that_fails_at_last_fails_the_run() {
    let out = tempfile::tempdir().unwrap();
    let run = telemetry(out.path(), Profile::Dev).start_run(&dag(), RunOptions::new());
    run.node("orders", async |_| Ok::<_, LoadError>(())).await.unwrap();
    fail(&run, "disk on fire").await;
    let report = run.finish().await;
    assert_eq!((report.status, report.nodes[0].status), (RunStatus::Failure, NodeStatus::Failure));
    assert!(report.warnings.iter().any(|warning| warning.code == WarningCode::NodeRepeated
        && warning.message.contains("runs again after it has succeeded")));
}

#[tokio::test]
async fn a_program_may_recover_from_a_node_or_a_stage() {
    let out = tempfile::tempdir().unwrap();
    let telemetry = telemetry(out.path(), Profile::Dev);
    let run = telemetry.start_run(&dag(), RunOptions::new());
    fail(&run, "disk on fire").await;
    run.stage("publish", async { Err::<(), _>("the door is shut") }).await.unwrap_err();
    run.stage("notify", async { Err::<(), _>("nobody is there") }).await.unwrap_err();
    run.recovered("orders");
    run.recovered("publish");
    run.recovered("late");
    run.stage("notify", async { Ok::<_, &str>(()) }).await.unwrap();
    let report = run.finish().await;
    assert_eq!((report.status, report.nodes[0].status), (RunStatus::Success, NodeStatus::Failure));
    assert!(report.nodes[0].recovered && report.nodes[0].error.is_some());
    let unfounded = report.warnings.iter().filter(|warning| warning.code == WarningCode::NothingToRecover);
    assert_eq!(unfounded.count(), 1, "{:?}", report.warnings);
}

#[tokio::test]
async fn of_two_attempts_at_the_same_time_the_one_that_started_last_counts() {
    let out = tempfile::tempdir().unwrap();
    let run = telemetry(out.path(), Profile::Dev).start_run(&dag(), RunOptions::new());
    let (go, wait) = tokio::sync::oneshot::channel::<()>();
    let first = run.node("orders", async |_| {
        wait.await.unwrap();
        Err::<(), _>(load_error("too late"))
    });
    let second = async {
        let result = run.node("orders", async |node| load(&node, 2)).await;
        go.send(()).unwrap();
        result
    };
    let (first, second) = tokio::join!(first, second);
    assert!(first.is_err() && second.is_ok());
    let report = run.finish().await;
    assert_eq!((report.status, report.nodes[0].rows), (RunStatus::Success, Some(2)));
}

#[tokio::test]
async fn a_stage_that_succeeds_says_nothing_of_a_node_of_its_name() {
    let out = tempfile::tempdir().unwrap();
    let run = telemetry(out.path(), Profile::Dev).start_run(&dag(), RunOptions::new());
    fail(&run, "disk on fire").await;
    run.stage("orders", async { Ok::<_, &str>(()) }).await.unwrap();
    let report = run.finish().await;
    assert_eq!((report.status, report.nodes[0].status), (RunStatus::Failure, NodeStatus::Failure));
}

#[tokio::test]
async fn a_retry_that_does_not_end_takes_no_failure_back() {
    let out = tempfile::tempdir().unwrap();
    let run = telemetry(out.path(), Profile::Dev).start_run(&dag(), RunOptions::new());
    fail(&run, "disk on fire").await;
    let (started, is_started) = tokio::sync::oneshot::channel();
    let retrying = run.clone();
    let retry = tokio::spawn(async move {
        let work = async |_| {
            started.send(()).unwrap();
            std::future::pending::<Result<(), LoadError>>().await
        };
        retrying.node("orders", work).await
    });
    is_started.await.unwrap();
    let report = run.finish().await;
    retry.abort();
    assert_eq!((report.status, report.nodes[0].status), (RunStatus::Failure, NodeStatus::Unfinished));
    let error = report.error.unwrap();
    assert!(error.message.contains("disk on fire"), "{}", error.message);
    assert_eq!(error.node.as_deref(), Some("orders"));
}

#[tokio::test]
async fn the_error_of_a_run_names_the_node_whose_error_it_is() {
    let out = tempfile::tempdir().unwrap();
    let run = telemetry(out.path(), Profile::Dev).start_run(&dag(), RunOptions::new());
    fail(&run, "disk on fire").await;
    run.recovered("orders");
    run.stage("publish", async { Err::<(), _>("the door is shut") }).await.unwrap_err();
    let error = run.finish().await.error.unwrap();
    assert_eq!((error.message.as_str(), error.node), ("the door is shut", None));
}
