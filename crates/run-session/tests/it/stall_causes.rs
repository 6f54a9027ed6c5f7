//! Planted causes of stalls, each with a real query: the evidence names what stands still and why.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use daglight_capture_policy::Profile;
use daglight_run_session::{Node, Run, RunOptions, Telemetry, follow_spawned_tasks};
use daglight_settings::{OnStall, Settings};
use datafusion::{
    arrow::{
        array::{Int64Array, RecordBatch},
        datatypes::{DataType, Field, Schema, SchemaRef},
    },
    catalog::streaming::StreamingTable,
    error::{DataFusionError, Result},
    execution::{
        SendableRecordBatchStream, SessionStateBuilder, TaskContext,
        memory_pool::{MemoryLimit, MemoryPool, MemoryReservation},
        runtime_env::RuntimeEnvBuilder,
    },
    logical_expr::{ColumnarValue, Volatility, create_udf},
    physical_plan::{stream::RecordBatchStreamAdapter, streaming::PartitionStream},
    prelude::SessionContext,
};
use futures::{StreamExt as _, future::BoxFuture, stream};
use serde_json::Value;
use tokio::{runtime::Runtime, sync::Mutex, task::JoinHandle};

use crate::{dag, json, spans};

/// A run whose heartbeat is fast, on a runtime with so many threads.
pub(crate) struct Planted {
    pub(crate) runtime: Runtime,
    pub(crate) telemetry: Telemetry,
    pub(crate) session: SessionContext,
    /// Ends what was planted.
    pub(crate) go_on: Arc<AtomicBool>,
    _out: tempfile::TempDir,
}

impl Planted {
    fn new(workers: usize, state: SessionStateBuilder) -> Self {
        Self::with(workers, state, OnStall::Warn)
    }

    /// In a run that gives up what stands still.
    pub(crate) fn given_up(workers: usize) -> Self {
        Self::with(workers, SessionStateBuilder::new_with_default_features(), OnStall::Cancel)
    }

    fn with(workers: usize, state: SessionStateBuilder, on_stall: OnStall) -> Self {
        follow_spawned_tasks();
        let out = tempfile::tempdir().unwrap();
        let mut settings = Settings::of_profile(Profile::Dev);
        settings.bundle.output_dir = out.path().to_owned();
        settings.heartbeat.interval_seconds = 0.05;
        settings.heartbeat.stall_seconds = 0.5;
        settings.heartbeat.busy_seconds = 1.0;
        settings.heartbeat.on_stall = on_stall;
        let telemetry = Telemetry::new(settings);
        let session = telemetry.session(state);
        let go_on = Arc::new(AtomicBool::new(false));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build().unwrap();
        let planted = Self { runtime, telemetry, session, go_on, _out: out };
        for (name, spins) in [("sleeps", false), ("spins", true)] {
            planted.function(name, spins);
        }
        planted
    }

    fn usual(workers: usize) -> Self {
        Self::new(workers, SessionStateBuilder::new_with_default_features())
    }

    /// A function whose call returns when what was planted ends.
    fn function(&self, name: &str, spins: bool) {
        let go_on = Arc::clone(&self.go_on);
        let call = move |arguments: &[ColumnarValue]| {
            while !go_on.load(Ordering::Relaxed) {
                if spins {
                    std::hint::spin_loop();
                } else {
                    thread::sleep(Duration::from_secs(1));
                }
            }
            Ok(arguments[0].clone())
        };
        let types = vec![DataType::Int64];
        let function = create_udf(name, types, DataType::Int64, Volatility::Volatile, Arc::new(call));
        self.session.register_udf(function);
    }

    /// Runs the work until a stall is known, ends what was planted, and returns the first stall and the bundle.
    fn stall<F, T>(self, work: impl FnOnce(Run, SessionContext) -> F) -> (Value, PathBuf)
    where
        F: Future<Output = Result<T>>,
    {
        let run = self.telemetry.start_run(&dag(), RunOptions::default());
        let bundle = run.bundle_dir().unwrap().to_owned();
        let (seen, go_on) = (bundle.clone(), Arc::clone(&self.go_on));
        // On a separate thread: what is planted may hold those of the runtime.
        let watching = thread::spawn(move || {
            let started = Instant::now();
            while stalls(&seen)["count"] == 0 && started.elapsed() < Duration::from_secs(60) {
                thread::sleep(Duration::from_millis(20));
            }
            go_on.store(true, Ordering::Relaxed);
        });
        let worked = self.runtime.block_on(work(run.clone(), self.session.clone()));
        watching.join().unwrap();
        run.finish_blocking();
        worked.unwrap();
        let stall = stalls(&bundle)["episodes"][0].clone();
        // The bundle is looked at below.
        std::mem::forget(self._out);
        (stall, bundle)
    }
}

pub(crate) fn stalls(bundle: &Path) -> Value {
    json(bundle.join("heartbeat.json"))["stalls"].clone()
}

pub(crate) async fn collect(session: &SessionContext, sql: &str) -> Result<usize> {
    Ok(session.sql(sql).await?.collect().await?.iter().map(RecordBatch::num_rows).sum())
}

/// A source that returns rows when it is released; before that it may return single ones.
struct Source {
    schema: SchemaRef,
    go_on: Arc<AtomicBool>,
    first: usize,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source")
    }
}

impl PartitionStream for Source {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (schema, go_on) = (Arc::clone(&self.schema), Arc::clone(&self.go_on));
        let batch =
            move || Ok(RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(Int64Array::from(vec![1]))])?);
        let first: Vec<_> = (0..self.first).map(|_| batch()).collect();
        let slowly = stream::iter(first).then(|batch| async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            batch
        });
        let last = stream::once(async move {
            while !go_on.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            batch()
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), slowly.chain(last)))
    }
}

pub(crate) fn register_source(planted: &Planted, first: usize) {
    let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
    let source = Source { schema: Arc::clone(&schema), go_on: Arc::clone(&planted.go_on), first };
    let table = StreamingTable::try_new(schema, vec![Arc::new(source)]).unwrap();
    planted.session.register_table("source", Arc::new(table)).unwrap();
}

#[test]
fn a_provider_that_never_answers() {
    let planted = Planted::usual(4);
    register_source(&planted, 0);
    let (stall, bundle) = planted.stall(async |run, session| {
        run.node("orders", async |_| collect(&session, "SELECT count(*) FROM source").await).await
    });
    assert_eq!(
        (&stall["class"], &stall["operator"]),
        (&"source".into(), &"StreamingTableExec".into()),
        "{stall:#}"
    );
    assert_eq!(stall["node"], "orders");
    // It stands on the root span and among the tags, and the report says what helps.
    let root = spans(&bundle).into_iter().find(|span| span["name"] == "pipeline.execute").unwrap();
    let events: Vec<_> =
        root["events"].as_array().unwrap().iter().map(|event| event["name"].clone()).collect();
    assert_eq!(events, ["stall", "stall_ended"], "{root:#}");
    assert!(root["events"][0].to_string().contains("daglight.stall.class"), "{root:#}");
    let manifest = json(bundle.join("manifest.json"));
    let tag = manifest["identity"]["tags"]["stalls"].as_str().unwrap();
    assert!(tag.starts_with("1: node orders, operator StreamingTableExec, waits for a source"), "{tag}");
    let report = json(bundle.join("run_diagnostics_report.json"));
    assert!(report["heartbeat"]["stalls"][0]["remedy"].as_str().unwrap().contains("source"), "{report:#}");
    let markdown = std::fs::read_to_string(bundle.join("run_diagnostics_report.md")).unwrap();
    assert!(markdown.contains("## Stalls") && markdown.contains("waits for a source"), "{markdown}");
}

#[test]
fn a_function_that_sleeps() {
    let (stall, _) = Planted::usual(4).stall(async |run, session| {
        run.node("orders", async |_| {
            collect(&session, "SELECT sleeps(value) FROM generate_series(1, 10)").await
        })
        .await
    });
    assert_eq!(
        (&stall["class"], &stall["operator"]),
        (&"blocked_call".into(), &"ProjectionExec".into()),
        "{stall:#}"
    );
    if cfg!(target_os = "linux") {
        assert!(!stall["threads"].as_array().unwrap().is_empty(), "{stall:#}");
    }
    if cfg!(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))) {
        let frames = &stall["threads"][0]["stack"]["frames"];
        assert!(frames.to_string().contains("stall_causes::Planted::function::{{closure}}"), "{stall:#}");
    }
}

#[test]
fn a_function_that_spins() {
    let (stall, _) = Planted::usual(4).stall(async |run, session| {
        run.node("orders", async |_| {
            collect(&session, "SELECT spins(value) FROM generate_series(1, 10)").await
        })
        .await
    });
    assert_eq!(
        (&stall["class"], &stall["operator"]),
        (&"spinning".into(), &"ProjectionExec".into()),
        "{stall:#}"
    );
    // A kernel that does not let a process sample itself is tried with the heartbeat alone.
    let stack = &stall["threads"][0]["stack"];
    let is_there = stack["frames"].to_string().contains("stall_causes::Planted::function::{{closure}}");
    assert!(is_there || stack.is_null(), "{stall:#}");
}

#[test]
fn calls_that_block_all_threads() {
    let (stall, _) = Planted::usual(2).stall(async |run, session| {
        run.node("orders", async |node| {
            let tasks = (0..2).map(|_| {
                let session = session.clone();
                node.spawn(async move {
                    collect(&session, "SELECT sleeps(value) FROM generate_series(1, 10)").await
                })
            });
            let tasks: Vec<_> = tasks.collect();
            for task in tasks {
                task.await.unwrap()?;
            }
            Ok::<_, DataFusionError>(())
        })
        .await
    });
    assert_eq!((&stall["class"], &stall["node"]), (&"blocked_runtime".into(), &"orders".into()), "{stall:#}");
}

#[test]
fn two_tasks_that_wait_for_each_other() {
    let planted = Planted::usual(4);
    let go_on = Arc::clone(&planted.go_on);
    let (stall, _) = planted.stall(async |run, session| {
        run.node("orders", async |node| {
            let locks = [Arc::new(Mutex::new(())), Arc::new(Mutex::new(()))];
            let both_hold = Arc::new(tokio::sync::Barrier::new(2));
            let tasks = [[0, 1], [1, 0]].map(|[own, other]| {
                let (own, other) = (Arc::clone(&locks[own]), Arc::clone(&locks[other]));
                let (session, both_hold, go_on) =
                    (session.clone(), Arc::clone(&both_hold), Arc::clone(&go_on));
                node.spawn(async move {
                    let _held = own.lock().await;
                    let frame = session.sql("SELECT value FROM generate_series(1, 100000)").await?;
                    let mut rows = frame.execute_stream().await?;
                    rows.next().await.transpose()?;
                    both_hold.wait().await;
                    // A deadlock, but for the end of the test.
                    let end = async {
                        while !go_on.load(Ordering::Relaxed) {
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                    };
                    tokio::select! { _ = other.lock() => {}, _ = end => {} }
                    while rows.next().await.transpose()?.is_some() {}
                    Ok::<_, DataFusionError>(())
                })
            });
            for task in tasks {
                task.await.unwrap()?;
            }
            Ok::<_, DataFusionError>(())
        })
        .await
    });
    assert_eq!((&stall["class"], &stall["node"]), (&"tasks".into(), &"orders".into()), "{stall:#}");
}

/// As above, without a query: what the tasks hold is a lock alone. `spawn` is how the node has its tasks.
fn check_tasks_without_queries(spawn: impl Fn(&Node, BoxFuture<'static, ()>) -> JoinHandle<()>) {
    let planted = Planted::usual(4);
    let go_on = Arc::clone(&planted.go_on);
    let (stall, _) = planted.stall(async |run, _| {
        run.node("orders", async |node| {
            let locks = [Arc::new(Mutex::new(())), Arc::new(Mutex::new(()))];
            let both_hold = Arc::new(tokio::sync::Barrier::new(2));
            let tasks = [[0, 1], [1, 0]].map(|[own, other]| {
                let (own, other) = (Arc::clone(&locks[own]), Arc::clone(&locks[other]));
                let (both_hold, go_on) = (Arc::clone(&both_hold), Arc::clone(&go_on));
                let work = async move {
                    let _held = own.lock().await;
                    both_hold.wait().await;
                    let end = async {
                        while !go_on.load(Ordering::Relaxed) {
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                    };
                    tokio::select! { _ = other.lock() => {}, _ = end => {} }
                };
                spawn(&node, Box::pin(work))
            });
            for task in tasks {
                task.await.unwrap();
            }
            Ok::<_, DataFusionError>(())
        })
        .await
    });
    assert_eq!(
        (&stall["class"], &stall["node"], &stall["query_id"]),
        (&"tasks".into(), &"orders".into(), &"".into()),
        "{stall:#}"
    );
}

#[test]
fn two_tasks_without_a_query_that_wait_for_each_other() {
    check_tasks_without_queries(|node, work| node.spawn(work));
}

#[test]
fn two_tasks_that_are_spawned_by_other_means_and_wait_for_each_other() {
    check_tasks_without_queries(|node, work| tokio::spawn(node.in_context(work)));
}

/// A pool in which all is taken until others give it back, which it waits for.
#[derive(Debug)]
struct Exhausted(Arc<AtomicBool>);

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("exhausted")
    }
}

impl MemoryPool for Exhausted {
    fn name(&self) -> &str {
        "exhausted"
    }

    fn grow(&self, _: &MemoryReservation, _: usize) {}

    fn shrink(&self, _: &MemoryReservation, _: usize) {}

    fn try_grow(&self, _: &MemoryReservation, _: usize) -> Result<()> {
        while !self.0.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn reserved(&self) -> usize {
        1 << 20
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(1 << 20)
    }
}

#[test]
fn a_memory_pool_that_is_exhausted() {
    let go_on = Arc::new(AtomicBool::new(false));
    let pool = Arc::new(Exhausted(Arc::clone(&go_on)));
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc().unwrap();
    let state = SessionStateBuilder::new_with_default_features().with_runtime_env(runtime);
    let mut planted = Planted::new(4, state);
    planted.go_on = go_on;
    let sql = "SELECT value FROM generate_series(1, 100000) ORDER BY value % 7";
    let (stall, _) =
        planted.stall(async |run, session| run.node("orders", async |_| collect(&session, sql).await).await);
    assert_eq!(stall["class"], "memory", "{stall:#}");
    assert!(stall["waits_for"].as_str().unwrap().contains("bytes of memory for"), "{stall:#}");
}

#[test]
fn a_slow_source_that_moves_is_not_a_stall() {
    let mut planted = Planted::usual(4);
    let mut settings = planted.telemetry.settings().clone();
    settings.heartbeat.stall_seconds = 2.0;
    planted.telemetry = Telemetry::new(settings);
    planted.session = planted.telemetry.session(SessionStateBuilder::new_with_default_features());
    planted.go_on.store(true, Ordering::Relaxed);
    register_source(&planted, 60);
    let run = planted.telemetry.start_run(&dag(), RunOptions::default());
    let counted = planted.runtime.block_on(
        run.node("orders", async |_| collect(&planted.session, "SELECT count(*) FROM source").await),
    );
    counted.unwrap();
    let bundle = run.finish_blocking().bundle.unwrap();
    assert_eq!(stalls(&bundle)["count"], 0, "{:#}", stalls(&bundle));
}

#[test]
fn a_node_that_waits_outside_of_queries() {
    let planted = Planted::usual(4);
    let go_on = Arc::clone(&planted.go_on);
    let (stall, _) = planted.stall(async |run, _| {
        run.node("orders", async |node| {
            node.stall_after(Duration::from_millis(200));
            while !go_on.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            node.mark_progress();
            Ok::<_, DataFusionError>(())
        })
        .await
    });
    assert_eq!((&stall["class"], &stall["query_id"]), (&"outside".into(), &"".into()), "{stall:#}");
}
