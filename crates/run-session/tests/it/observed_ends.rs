//! Queries of observed sessions that end early, panic or run at once, and sessions that have their own parts.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use daglight_run_session::{NodeStatus, ObserveOptions, Observed, RunStatus};
use datafusion::{
    arrow::datatypes::DataType,
    catalog::Session,
    common::tree_node::Transformed,
    error::{DataFusionError, Result},
    execution::{SessionStateBuilder, context::QueryPlanner, object_store::ObjectStoreUrl},
    logical_expr::{ColumnarValue, LogicalPlan, Volatility, create_udf},
    optimizer::{OptimizerConfig, OptimizerRule},
    physical_plan::ExecutionPlan,
    physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner},
    prelude::SessionContext,
};
use futures::StreamExt as _;
use object_store::{ObjectStoreExt as _, memory::InMemory};

use crate::*;

fn observe(out: &Path, session: impl Into<SessionStateBuilder>) -> Observed {
    telemetry(out, Profile::Dev).observe(session, ObserveOptions::new()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_whose_stream_is_dropped_is_no_failure() {
    let out = tempfile::tempdir().unwrap();
    let ctx = observe(out.path(), SessionContext::new());
    let endless = ctx.sql("SELECT value AS id FROM generate_series(1, 1000000000)").await.unwrap();
    let mut rows = endless.execute_stream().await.unwrap();
    assert!(rows.next().await.unwrap().unwrap().num_rows() > 0);
    drop(rows);
    // A plan that is made and never executed is not a query.
    drop(ctx.sql("SELECT 1 AS one").await.unwrap());
    let report = ctx.finish().await.unwrap();
    let [node] = report.nodes.as_slice() else { panic!("{:?}", report.nodes) };
    assert_eq!((node.status, report.status), (NodeStatus::Success, RunStatus::Success));
    assert!(report.warnings.is_empty(), "{:?}", report.warnings);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_a_function_fails_its_query_and_no_other() {
    let out = tempfile::tempdir().unwrap();
    let ctx = observe(out.path(), SessionContext::new());
    let panics = |_: &[ColumnarValue]| -> Result<ColumnarValue> { panic!("nobody expected this value") };
    ctx.register_udf(create_udf(
        "panics",
        vec![DataType::Int64],
        DataType::Int64,
        Volatility::Volatile,
        Arc::new(panics),
    ));
    let asked = ctx.sql("SELECT panics(value) FROM generate_series(1, 10)").await.unwrap();
    // DataFusion makes an error of a panic in a task that it spawned, and lets one in the caller's go on.
    let ended = tokio::spawn(asked.collect()).await;
    assert!(ended.is_err() || ended.is_ok_and(|rows| rows.is_err()));
    ctx.sql("SELECT 1 AS one").await.unwrap().collect().await.unwrap();
    let report = ctx.finish().await.unwrap();
    let statuses: Vec<NodeStatus> = report.nodes.iter().map(|node| node.status).collect();
    assert_eq!(statuses, [NodeStatus::Failure, NodeStatus::Success]);
    assert_eq!(report.status, RunStatus::Failure);
    let error = report.nodes[0].error.as_deref().unwrap();
    assert!(error.contains("panicked") || error.contains("nobody expected this value"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_that_write_one_table_at_once_are_attempts_of_its_node() {
    let out = tempfile::tempdir().unwrap();
    let ctx = Arc::new(observe(out.path(), SessionContext::new()));
    ctx.sql("CREATE TABLE orders AS SELECT 0 AS id").await.unwrap();
    let inserts = (1..=20).map(|id| {
        let ctx = Arc::clone(&ctx);
        tokio::spawn(async move {
            ctx.sql(&format!("INSERT INTO orders VALUES ({id})")).await.unwrap().collect().await.unwrap()
        })
    });
    for insert in inserts.collect::<Vec<_>>() {
        insert.await.unwrap();
    }
    assert_eq!(ctx.table("orders").await.unwrap().count().await.unwrap(), 21);
    let report = Arc::into_inner(ctx).unwrap().finish().await.unwrap();
    let orders = &report.nodes[0];
    assert_eq!((orders.name.as_str(), orders.attempts, orders.rows), ("orders", 21, Some(1)));
    assert_eq!((orders.dependencies.len(), report.nodes.len()), (0, 2));
    assert_eq!((report.status, report.warnings), (RunStatus::Success, Vec::new()));
}

/// Counts what it plans.
#[derive(Debug, Default)]
struct OwnPlanner(AtomicUsize);

#[async_trait]
impl QueryPlanner for OwnPlanner {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        state: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        DefaultPhysicalPlanner::default().create_physical_plan(plan, state).await
    }
}

/// Counts the plans that it sees.
#[derive(Debug, Default)]
struct OwnRule(AtomicUsize);

impl OptimizerRule for OwnRule {
    fn name(&self) -> &str {
        "own_rule"
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>, DataFusionError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(Transformed::no(plan))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_planner_the_rules_and_the_stores_of_a_session_stay() {
    let out = tempfile::tempdir().unwrap();
    let (planner, rule) = (Arc::new(OwnPlanner::default()), Arc::new(OwnRule::default()));
    let state = SessionStateBuilder::new_with_default_features()
        .with_query_planner(Arc::clone(&planner) as _)
        .with_optimizer_rule(Arc::clone(&rule) as _);
    let store = Arc::new(InMemory::new());
    store.put(&"in/orders.csv".into(), "id\n1\n2\n3\n".into()).await.unwrap();
    let session = SessionContext::new_with_state(state.build());
    let url = ObjectStoreUrl::parse("mem://shop").unwrap();
    session.register_object_store(url.as_ref(), Arc::clone(&store) as _);
    let ctx = observe(out.path(), session);
    ctx.sql("CREATE EXTERNAL TABLE orders STORED AS CSV LOCATION 'mem://shop/in/'").await.unwrap();
    ctx.sql("COPY (SELECT * FROM orders WHERE id > 1) TO 'mem://shop/out/late.csv'")
        .await
        .unwrap()
        .collect()
        .await
        .unwrap();
    ctx.sql("CREATE EXTERNAL TABLE written STORED AS CSV LOCATION 'mem://shop/out/'").await.unwrap();
    assert_eq!(ctx.sql("SELECT * FROM written").await.unwrap().count().await.unwrap(), 2);
    let report = ctx.finish().await.unwrap();
    let names: Vec<&str> = report.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(
        (names[0], &report.nodes[1].dependencies[..]),
        ("late", &["late".to_owned()][..]),
        "{names:?}"
    );
    assert_eq!(planner.0.load(Ordering::Relaxed), 2);
    assert!(rule.0.load(Ordering::Relaxed) > 0);
    assert_eq!((report.status, report.warnings), (RunStatus::Success, Vec::new()));
}
