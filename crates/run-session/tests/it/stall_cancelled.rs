//! Planted causes of stalls in runs that give up what stands still.

use std::{
    future::pending,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use daglight_run_session::{NodeStatus, QueryCancelled, Run, RunOptions, RunStatus, StallClass, catch_panic};
use datafusion::error::DataFusionError;
use futures::StreamExt as _;
use serde_json::Value;
use tokio::{sync::Mutex, time::timeout};

use crate::{
    dag, json, spans,
    stall_causes::{Planted, collect, register_source, stalls},
};

/// What waits longer is not given up.
const LIMIT: Duration = Duration::from_secs(60);

/// Does the work, which must end by itself, and ends the run.
fn finished<T>(planted: Planted, work: impl AsyncFnOnce(Run) -> T) -> (T, PathBuf) {
    let run = planted.telemetry.start_run(&dag(), RunOptions::default());
    let worked = planted.runtime.block_on(async { timeout(LIMIT, work(run.clone())).await });
    // A call that nobody can end may hold a thread.
    planted.go_on.store(true, Ordering::Relaxed);
    let report = run.finish_blocking();
    assert_eq!(report.status, RunStatus::Failure, "{report:#?}");
    // The bundle is looked at below.
    let bundle = report.bundle.unwrap();
    std::mem::forget(planted);
    (worked.expect("it is given up"), bundle)
}

/// The error of the node in every place.
#[track_caller]
fn check_node(bundle: &std::path::Path, class: &str, words: &str) {
    let manifest = json(bundle.join("manifest.json"));
    let node = &manifest["nodes"][0];
    let error = node["error"].as_str().unwrap_or_default();
    assert_eq!(node["status"], "failure", "{manifest:#}");
    for part in ["no progress for", words, &format!("class {class}"), "processor time", "heartbeat.on_stall"]
    {
        assert!(error.contains(part), "no {part:?} in {error:?}");
    }
    assert!(manifest["error"].as_str().unwrap().contains(error), "{manifest:#}");
    assert_eq!(manifest["nodes"][1]["status"], "not_run", "{manifest:#}");
    let spans = spans(bundle);
    let span = spans.iter().find(|span| span["name"] == "hamilton.node").unwrap();
    assert_eq!(span["status"]["code"], 2, "{span:#}");
    let error_type = |attribute: &&Value| attribute["key"] == "error.type";
    let error_type = span["attributes"].as_array().unwrap().iter().find(error_type).unwrap();
    assert_eq!(error_type["value"]["stringValue"], "stall", "{span:#}");
    let stalls = stalls(bundle);
    assert_eq!((&stalls["count"], &stalls["episodes"][0]["class"]), (&1.into(), &class.into()), "{stalls:#}");
}

#[test]
fn a_query_whose_source_never_answers_fails() {
    let planted = Planted::given_up(4);
    register_source(&planted, 0);
    let session = planted.session.clone();
    let (failed, bundle) = finished(planted, async |run| {
        run.node("orders", async |_| collect(&session, "SELECT count(*) FROM source").await).await
    });
    let error = failed.unwrap_err();
    let cancelled = QueryCancelled::of(&error).unwrap_or_else(|| panic!("{error}"));
    assert!(cancelled.reason.contains("waits for a source"), "{cancelled}");
    check_node(
        &bundle,
        "source",
        "operator StreamingTableExec, waits for a source (rows of StreamingTableExec",
    );
}

#[test]
fn code_may_deal_with_the_query_that_was_given_up() {
    let planted = Planted::given_up(4);
    register_source(&planted, 0);
    let session = planted.session.clone();
    let run = planted.telemetry.start_run(&dag(), RunOptions::default());
    let counted = planted.runtime.block_on(run.node("orders", async |_| {
        let waited = timeout(LIMIT, collect(&session, "SELECT count(*) FROM source")).await.unwrap();
        assert!(QueryCancelled::of(&waited.unwrap_err()).is_some());
        collect(&session, "SELECT 1").await
    }));
    assert_eq!(counted.unwrap(), 1);
    let report = run.finish_blocking();
    assert_eq!((report.status, report.nodes[0].status), (RunStatus::Success, NodeStatus::Success));
}

#[test]
fn two_tasks_that_wait_for_each_other_are_aborted_with_their_node() {
    let planted = Planted::given_up(4);
    let session = planted.session.clone();
    let locks = [Arc::new(Mutex::new(())), Arc::new(Mutex::new(()))];
    let held = locks.clone();
    let (stalled, bundle) = finished(planted, async |run| {
        let wait = async |node: daglight_run_session::Node| {
            let both_hold = Arc::new(tokio::sync::Barrier::new(2));
            let tasks = [[0, 1], [1, 0]].map(|[own, other]| {
                let (own, other) = (Arc::clone(&locks[own]), Arc::clone(&locks[other]));
                let (session, both_hold) = (session.clone(), Arc::clone(&both_hold));
                node.spawn(async move {
                    let _held = own.lock_owned().await;
                    let frame = session.sql("SELECT value FROM generate_series(1, 100000)").await?;
                    let mut rows = frame.execute_stream().await?;
                    rows.next().await.transpose()?;
                    both_hold.wait().await;
                    let _both = other.lock().await;
                    while rows.next().await.transpose()?.is_some() {}
                    Ok::<_, DataFusionError>(())
                })
            });
            for task in tasks {
                task.await.unwrap()?;
            }
            Ok::<_, DataFusionError>(())
        };
        run.node_unless_stalled("orders", wait).await
    });
    let stalled = stalled.unwrap_err();
    assert_eq!(stalled.class, Some(StallClass::Tasks), "{stalled}");
    let manifest = json(bundle.join("manifest.json"));
    assert!(manifest["nodes"][0]["error"].as_str().unwrap().contains(&stalled.reason), "{manifest:#}");
    // Their tasks are gone, and with them what they held.
    let begun = std::time::Instant::now();
    while held.iter().any(|lock| lock.try_lock().is_err()) {
        assert!(begun.elapsed() < LIMIT, "a lock is still held");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_query_of_which_a_task_spins_fails_beside_it() {
    let planted = Planted::given_up(4);
    let session = planted.session.clone();
    let sql =
        "SELECT k, count(*) FROM (SELECT spins(value) % 7 AS k FROM generate_series(1, 100000)) GROUP BY k";
    let (failed, bundle) =
        finished(planted, async |run| run.node("orders", async |_| collect(&session, sql).await).await);
    let error = failed.unwrap_err();
    assert!(QueryCancelled::of(&error).is_some(), "{error}");
    check_node(&bundle, "spinning", "is busy without output");
}

#[test]
fn code_that_waits_outside_of_queries_is_dropped_and_the_call_unwinds() {
    let planted = Planted::given_up(4);
    let (panic, bundle) = finished(planted, async |run| {
        catch_panic(run.node("orders", async |_| pending::<Result<(), String>>().await)).await
    });
    let panic = panic.unwrap_err();
    assert!(panic.message().contains("waits for something outside of its queries"), "{panic}");
    check_node(&bundle, "outside", "waits for something outside of its queries");
}
