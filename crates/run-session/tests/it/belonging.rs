//! Where the queries of a program belong: to a node where one is known, else to the run.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use daglight_capture_policy::Profile;
use daglight_run_session::{FinishReport, Node, RunOptions, RunStatus, Telemetry, WarningCode};
use datafusion::{
    error::DataFusionError,
    execution::SessionStateBuilder,
    physical_plan::collect,
    prelude::{DataFrame, SessionContext},
};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::{dag, json, spans, telemetry};

fn session(telemetry: &Telemetry) -> SessionContext {
    telemetry.session(SessionStateBuilder::new_with_default_features())
}

async fn rows(ctx: &SessionContext, rows: u64) -> Result<(), DataFusionError> {
    ctx.sql(&format!("SELECT value FROM generate_series(1, {rows})")).await?.collect().await.map(drop)
}

/// The rows of the executed queries of a bundle, by the node that the span says; `-` where it says none.
fn executed(bundle: &Path) -> BTreeMap<String, Vec<u64>> {
    let mut found: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for span in spans(bundle).iter().filter(|span| span["name"] == "datafusion.execute") {
        let value = |key: &str| {
            let attributes = span["attributes"].as_array().unwrap();
            attributes.iter().find(|attribute| attribute["key"] == key).map(|found| found["value"].clone())
        };
        let node = value("daglight.node")
            .map_or("-".to_owned(), |node| node["stringValue"].as_str().unwrap().to_owned());
        let rows = value("daglight.row_count").unwrap()["intValue"].as_str().unwrap().parse().unwrap();
        found.entry(node).or_default().push(rows);
    }
    found.values_mut().for_each(|rows| rows.sort_unstable());
    found
}

#[track_caller]
fn check(report: &FinishReport, of_node: &[u64], of_run: &[u64]) {
    assert_eq!(report.status, RunStatus::Success, "{:?}", report.warnings);
    let bundle = report.bundle.as_ref().unwrap();
    let found = executed(bundle);
    let expected = [("orders", of_node), ("-", of_run)].into_iter().filter(|(_, rows)| !rows.is_empty());
    assert_eq!(found, expected.map(|(node, rows)| (node.to_owned(), rows.to_vec())).collect());
    assert_eq!(report.queries_without_node, of_run.len() as u64);
    let plans = std::fs::read_dir(bundle.join("plans")).unwrap();
    let plans: Vec<Value> = plans.map(|plan| json(plan.unwrap().path())).collect();
    let executions = |plans: &mut dyn Iterator<Item = &Value>| -> u64 {
        plans.map(|plan| plan["executions"]["started"].as_u64().unwrap()).sum()
    };
    let of_none = executions(&mut plans.iter().filter(|plan| plan["node"].is_null()));
    assert_eq!(of_none, of_run.len() as u64);
    assert_eq!(executions(&mut plans.iter()), (of_node.len() + of_run.len()) as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_a_node_starts_elsewhere_is_the_nodes() {
    let out = tempfile::tempdir().unwrap();
    let telemetry = telemetry(out.path(), Profile::Dev);
    let ctx = session(&telemetry);
    let run = telemetry.start_run(&dag(), RunOptions::new());
    let work = async |node: Node| {
        let spawned = ctx.clone();
        node.spawn(async move { rows(&spawned, 1).await }).await??;
        let (blocking, runtime) = (ctx.clone(), tokio::runtime::Handle::current());
        node.spawn_blocking(move || runtime.block_on(rows(&blocking, 2))).await??;
        let mut set = JoinSet::new();
        let joined = ctx.clone();
        set.spawn(node.in_context(async move { rows(&joined, 3).await }));
        while let Some(result) = set.join_next().await {
            result??;
        }
        let (threaded, runtime, context) = (ctx.clone(), tokio::runtime::Handle::current(), node.context());
        let thread = std::thread::spawn(move || {
            let _guard = context.attach();
            runtime.block_on(rows(&threaded, 4))
        });
        thread.join().unwrap()?;
        anyhow::Ok(())
    };
    run.node("orders", work).await.unwrap();
    check(&run.finish().await, &[1, 2, 3, 4], &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_without_a_node_is_the_runs() {
    let out = tempfile::tempdir().unwrap();
    let telemetry = telemetry(out.path(), Profile::Dev);
    let ctx = session(&telemetry);
    rows(&ctx, 100).await.unwrap();
    let run = telemetry.start_run(&dag(), RunOptions::new());
    rows(&ctx, 1).await.unwrap();
    run.stage("setup", rows(&ctx, 2)).await.unwrap();
    let work = async |_: Node| {
        let spawned = ctx.clone();
        tokio::spawn(async move { rows(&spawned, 3).await }).await??;
        rows(&ctx, 10).await?;
        anyhow::Ok(())
    };
    run.node("orders", work).await.unwrap();
    let report = run.finish().await;
    check(&report, &[10], &[1, 2, 3]);
    assert_eq!(report.nodes[0].rows, Some(10));
    rows(&ctx, 100).await.unwrap();
    assert_eq!(telemetry.open_work(), 0);
}

#[tokio::test]
async fn a_plan_that_is_made_before_a_node_belongs_to_the_node_that_executes_it() {
    let out = tempfile::tempdir().unwrap();
    let telemetry = telemetry(out.path(), Profile::Dev);
    let ctx = session(&telemetry);
    let plan = async |rows: u64| -> Result<_, DataFusionError> {
        ctx.sql(&format!("SELECT value FROM generate_series(1, {rows})")).await?.create_physical_plan().await
    };
    let before_the_run = plan(1).await.unwrap();
    let run = telemetry.start_run(&dag(), RunOptions::new());
    let before_the_node = plan(2).await.unwrap();
    let outside = plan(3).await.unwrap();
    run.node("orders", async |_| {
        for plan in [&before_the_run, &before_the_node] {
            collect(Arc::clone(plan), ctx.task_ctx()).await?;
        }
        Ok::<_, DataFusionError>(())
    })
    .await
    .unwrap();
    collect(outside, ctx.task_ctx()).await.unwrap();
    let report = run.finish().await;
    check(&report, &[1, 2], &[3]);
}

#[tokio::test]
async fn of_several_open_runs_the_context_decides() {
    let out = tempfile::tempdir().unwrap();
    let telemetry = telemetry(out.path(), Profile::Dev);
    let ctx = session(&telemetry);
    let (first, second) =
        (telemetry.start_run(&dag(), RunOptions::new()), telemetry.start_run(&dag(), RunOptions::new()));
    first.in_context(rows(&ctx, 1)).await.unwrap();
    second.stage("setup", rows(&ctx, 2)).await.unwrap();
    // A run inside a node of another: the inner one counts.
    let inside = first.node("orders", async |_| {
        let ctx = &ctx;
        let (result, report) = telemetry.run(&dag(), RunOptions::new(), async |_| rows(ctx, 3).await).await;
        result.map(|()| report)
    });
    let inner = inside.await.unwrap();
    rows(&ctx, 9).await.unwrap();
    check(&inner, &[], &[3]);
    for (run, expected) in [(first, 1), (second, 2)] {
        let report = run.finish().await;
        let nobodys = report.warnings.iter().filter(|warning| {
            warning.code == WarningCode::QueriesUnassigned && warning.message.starts_with("1 query ran while")
        });
        assert_eq!(nobodys.count(), 1, "{:?}", report.warnings);
        check(&report, &[], &[expected]);
    }
}

#[tokio::test]
async fn a_session_of_what_is_there_shares_its_tables_and_sees_queries_once() {
    let out = tempfile::tempdir().unwrap();
    let telemetry = telemetry(out.path(), Profile::Dev);
    let own = SessionContext::new();
    own.sql("CREATE TABLE t AS SELECT 1 AS id").await.unwrap().collect().await.unwrap();
    let of_context = telemetry.session(own.clone());
    let of_state = telemetry.session(own.state());
    let twice = telemetry.session(of_context.clone());
    let run = telemetry.start_run(&dag(), RunOptions::new());
    run.node("orders", async |_| {
        for ctx in [of_context, of_state, twice] {
            ctx.sql("SELECT * FROM t").await?.collect().await?;
        }
        Ok::<_, DataFusionError>(())
    })
    .await
    .unwrap();
    check(&run.finish().await, &[1, 1, 1], &[]);
}

/// A frame of as many rows as it is asked for.
async fn series(ctx: &SessionContext, rows: u64) -> DataFrame {
    ctx.sql(&format!("SELECT value AS id FROM generate_series(1, {rows})")).await.unwrap()
}

#[tokio::test]
async fn a_stream_that_is_returned_is_the_nodes_when_it_is_read() {
    let out = tempfile::tempdir().unwrap();
    let telemetry = telemetry(out.path(), Profile::Dev);
    let ctx = session(&telemetry);
    let run = telemetry.start_run(&dag(), RunOptions::new());
    let stream = run.node("orders", async |_| series(&ctx, 7).await.execute_stream().await).await.unwrap();
    assert_eq!(run.node_record("orders").unwrap().rows, None);
    datafusion::physical_plan::common::collect(stream).await.unwrap();
    assert_eq!(run.node_record("orders").unwrap().rows, Some(7));
    let report = run.finish().await;
    check(&report, &[7], &[]);
    let names = crate::attribute_names(report.bundle.as_ref().unwrap(), "orders");
    assert!(names.contains(&"data_summary".to_owned()) && names.contains(&"queries".to_owned()), "{names:?}");
}

#[tokio::test]
async fn a_stream_that_is_never_read_ends_with_the_run() {
    let out = tempfile::tempdir().unwrap();
    let telemetry = telemetry(out.path(), Profile::Dev);
    let ctx = session(&telemetry);
    let run = telemetry.start_run(&dag(), RunOptions::new());
    let stream = run.node("orders", async |_| series(&ctx, 7).await.execute_stream().await).await.unwrap();
    let report = run.finish().await;
    assert_eq!((report.status, report.nodes[0].rows), (RunStatus::Success, None));
    let bundle = report.bundle.unwrap();
    assert_eq!(spans(&bundle).iter().filter(|span| span["name"] == "hamilton.node").count(), 1);
    drop(stream);
    assert_eq!(telemetry.open_work(), 0);
}

#[tokio::test]
async fn a_frame_that_is_handed_out_shows_its_own_rows() {
    let out = tempfile::tempdir().unwrap();
    let telemetry = telemetry(out.path(), Profile::Dev);
    let ctx = session(&telemetry);
    let run = telemetry.start_run(&dag(), RunOptions::new());
    let frame = async |node: Node, rows| {
        let frame = series(&ctx, rows).await;
        frame.clone().count().await?;
        node.frame(&frame);
        frame
            .clone()
            .filter(datafusion::prelude::col("id").gt(datafusion::prelude::lit(2)))?
            .collect()
            .await?;
        Ok::<_, DataFusionError>(frame)
    };
    let orders = run.node("orders", async |node| frame(node, 7).await).await.unwrap();
    let late = run.node("late", async |node| frame(node, 5).await).await.unwrap();
    let unread = run.node("late_parquet", async |node| frame(node, 3).await).await.unwrap();
    assert_eq!(run.node_record("orders").unwrap().rows, None);
    orders.collect().await.unwrap();
    // To write a frame is to execute it.
    let target = out.path().join("late.parquet").display().to_string();
    run.stage("write", late.write_parquet(&target, Default::default(), None)).await.unwrap();
    let report = run.finish().await;
    let rows: Vec<_> = report.nodes.iter().map(|node| node.rows).collect();
    assert_eq!((rows, report.status), (vec![Some(7), Some(5), None], RunStatus::Success));
    for (node, has_summary) in [("orders", true), ("late", true), ("late_parquet", false)] {
        let names = crate::attribute_names(report.bundle.as_ref().unwrap(), node);
        assert_eq!(names.contains(&"data_summary".to_owned()), has_summary, "{node}: {names:?}");
        assert!(names.contains(&"schema".to_owned()), "{node}: {names:?}");
    }
    drop(unread);
    assert_eq!(telemetry.open_work(), 0);
}
