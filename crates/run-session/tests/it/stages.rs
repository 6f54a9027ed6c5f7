//! Stages and tasks of a program's own, and where what runs inside them belongs.

use std::{
    collections::BTreeSet,
    fs,
    sync::{Arc, Mutex},
};

use daglight_capture_policy::Profile;
use daglight_run_session::{RunOptions, RunStatus, follow_spawned_tasks};
use datafusion::{
    arrow::datatypes::DataType,
    execution::{SessionStateBuilder, context::SessionContext},
    logical_expr::{ColumnarValue, Volatility, create_udf},
    prelude::SessionConfig,
};
use opentelemetry::{Context, trace::TraceContextExt as _};
use serde_json::Value;

use crate::{dag, spans, telemetry};

fn attribute(span: &Value, key: &str) -> String {
    let found = span["attributes"].as_array().unwrap().iter().find(|attribute| attribute["key"] == key);
    found.map(|attribute| attribute["value"]["stringValue"].as_str().unwrap().to_owned()).unwrap_or_default()
}

fn find<'a>(spans: &'a [Value], name: &str, key: &str, value: &str) -> &'a Value {
    let mut found = spans.iter().filter(|span| span["name"] == name && attribute(span, key) == value);
    found.next().unwrap_or_else(|| panic!("no {name} whose {key} is {value} in {spans:#?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn stages_and_tasks_of_a_node_stand_below_it_with_their_queries() {
    let out = tempfile::tempdir().unwrap();
    let telemetry = telemetry(out.path(), Profile::Dev);
    let ctx = telemetry.session(SessionStateBuilder::new_with_default_features());
    let run = telemetry.start_run(&dag(), RunOptions::default());
    run.stage("setup", async { ctx.sql("SET datafusion.execution.batch_size = 1000").await }).await.unwrap();
    run.node("orders", async |node| {
        node.stage("normalize", async { ctx.sql("SELECT 1").await?.collect().await }).await?;
        // A task of the runtime's own has no context: the node's is taken.
        let (spawned, ctx) = (node.clone(), ctx.clone());
        let work = async move {
            spawned.task("second file", async { ctx.sql("SELECT 2").await?.collect().await }).await
        };
        tokio::spawn(work).await.unwrap()
    })
    .await
    .unwrap();
    let failed = run.stage("publish", async { Err::<(), _>("the door is shut") }).await;
    assert_eq!(failed, Err("the door is shut"));
    let report = run.finish().await;
    assert_eq!(report.status, RunStatus::Failure);

    let spans = spans(&report.bundle.unwrap());
    let root = find(&spans, "pipeline.execute", "daglight.stage", "run");
    let node = find(&spans, "hamilton.node", "daglight.node", "orders");
    let setup = find(&spans, "hamilton.stage", "daglight.stage", "setup");
    let normalize = find(&spans, "hamilton.stage", "daglight.stage", "normalize");
    let task = find(&spans, "hamilton.task", "daglight.task", "second file");
    assert_eq!(setup["parentSpanId"], root["spanId"]);
    for span in [normalize, task] {
        assert_eq!(span["parentSpanId"], node["spanId"], "{span:#}");
        assert_eq!(attribute(span, "daglight.node"), "orders");
    }
    assert_eq!(attribute(task, "daglight.stage"), "extract");
    let executed = spans.iter().filter(|span| span["name"] == "datafusion.execute");
    let parents: BTreeSet<_> = executed.map(|span| span["parentSpanId"].as_str().unwrap()).collect();
    assert_eq!(parents, BTreeSet::from([normalize, task].map(|span| span["spanId"].as_str().unwrap())));

    let publish = find(&spans, "hamilton.stage", "daglight.stage", "publish");
    assert_eq!(
        (attribute(publish, "daglight.status"), &publish["status"]["code"]),
        ("error".into(), &2.into())
    );
    assert_eq!(publish["events"][0]["name"], "exception");
    assert_eq!(attribute(publish, "error.type"), "&str");
}

#[tokio::test]
async fn a_snapshot_has_everything_so_far() {
    let out = tempfile::tempdir().unwrap();
    let telemetry = telemetry(out.path(), Profile::Dev);
    let ctx = telemetry.session(SessionStateBuilder::new_with_default_features());
    let run = telemetry.start_run(&dag(), RunOptions::default());
    for queries in 1..=3 {
        run.node("orders", async |_| ctx.sql("SELECT 1").await?.collect().await).await.unwrap();
        assert!(run.snapshot().await);
        let bundle = run.bundle_dir().unwrap();
        assert_eq!(spans(bundle).iter().filter(|span| span["name"] == "datafusion.execute").count(), queries);
        let metrics = fs::read_to_string(bundle.join("otel_metrics.json")).unwrap();
        // A line has what changed since the one before, which a beat in between may have written.
        let executed = metrics.lines().rev().find_map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            let metrics = line["resourceMetrics"][0]["scopeMetrics"][0]["metrics"].as_array()?.clone();
            metrics.into_iter().find(|metric| metric["name"] == "daglight.execute.duration")
        });
        let executed = executed.unwrap();
        assert_eq!(executed["histogram"]["dataPoints"][0]["count"], queries.to_string());
    }
    run.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_that_datafusion_spawns_belong_to_the_query_that_spawned_them() {
    assert!(follow_spawned_tasks());
    assert!(!follow_spawned_tasks(), "there is one place in a process");
    let out = tempfile::tempdir().unwrap();
    let telemetry = telemetry(out.path(), Profile::Dev);
    let config = SessionConfig::new().with_target_partitions(4).with_batch_size(100);
    let builder = SessionStateBuilder::new_with_default_features().with_config(config);
    let ctx = telemetry.session(builder);
    let seen = register_witness(&ctx);
    let run = telemetry.start_run(&dag(), RunOptions::default());
    run.node("late", async |_| {
        let sql = "SELECT sum(witness(value)) FROM generate_series(1, 10000) GROUP BY value % 7";
        ctx.sql(sql).await?.collect().await
    })
    .await
    .unwrap();
    let report = run.finish().await;
    let root_trace = spans(&report.bundle.unwrap())[0]["traceId"].as_str().unwrap().to_owned();
    assert_eq!(*seen.lock().unwrap(), BTreeSet::from([root_trace]));
}

/// Registers a function that returns its argument, and notes in which trace it is called.
fn register_witness(ctx: &SessionContext) -> Arc<Mutex<BTreeSet<String>>> {
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let noted = Arc::clone(&seen);
    let witness = move |arguments: &[ColumnarValue]| {
        let trace = Context::map_current(|context| context.span().span_context().trace_id().to_string());
        noted.lock().unwrap().insert(trace);
        Ok(arguments[0].clone())
    };
    let types = (vec![DataType::Int64], DataType::Int64);
    ctx.register_udf(create_udf("witness", types.0, types.1, Volatility::Volatile, Arc::new(witness)));
    seen
}
