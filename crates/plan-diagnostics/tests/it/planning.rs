//! What stays of plans that are planned, or fail to be.

use std::{sync::Arc, time::Duration};

use arrow::{
    array::{Int64Array, RecordBatch},
    datatypes::SchemaRef,
    util::pretty::pretty_format_batches,
};
use async_trait::async_trait;
use daglight_plan_diagnostics::{LiveQueries, PlanningPart, instrument};
use datafusion::{
    catalog::Session,
    common::{config::ConfigOptions, tree_node::Transformed},
    datasource::MemTable,
    error::Result,
    execution::{context::QueryPlanner, session_state::SessionStateBuilder},
    logical_expr::LogicalPlan,
    optimizer::{AnalyzerRule, ApplyOrder, OptimizerConfig, OptimizerRule},
    physical_optimizer::PhysicalOptimizerRule,
    physical_plan::ExecutionPlan,
    physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner},
    prelude::{SessionConfig, SessionContext, col, lit},
};

use crate::support::{Shared, only, run, session};

/// Registers a table, and returns what lives as long as somebody holds the table.
fn table(ctx: &SessionContext) -> std::sync::Weak<MemTable> {
    let batch = RecordBatch::try_from_iter([("x", Arc::new(Int64Array::from(vec![1, 2, 3])) as _)]).unwrap();
    let schema: SchemaRef = batch.schema();
    let table = Arc::new(MemTable::try_new(schema, vec![vec![batch]]).unwrap());
    ctx.register_table("held", Arc::clone(&table) as _).unwrap();
    Arc::downgrade(&table)
}

#[tokio::test]
async fn no_plan_outlives_its_planning() {
    let (ctx, seen, _) = session();
    for sql in [
        // Fails in the analyzer, in the physical planner, and not at all.
        "SELECT * FROM held WHERE x IN (SELECT x, x FROM held)",
        "SELECT x FROM held WHERE x > ANY (SELECT x FROM held)",
        "SELECT sum(x) FILTER (WHERE x > 1) FROM held",
    ] {
        let held = table(&ctx);
        match ctx.sql(sql).await {
            Ok(frame) => drop(frame.collect().await),
            Err(error) => drop(error),
        }
        ctx.deregister_table("held").unwrap();
        seen.reports();
        assert_eq!(held.strong_count(), 0, "{sql}");
    }
    // Optimised, and never planned.
    let held = table(&ctx);
    let frame = ctx.table("held").await.unwrap().filter(col("x").gt(lit(1))).unwrap();
    drop(frame.clone().into_optimized_plan().unwrap());
    let failing = frame.filter(col("x").eq(lit("no number"))).unwrap().create_physical_plan().await;
    drop(failing);
    ctx.deregister_table("held").unwrap();
    assert_eq!(held.strong_count(), 0);
}

#[tokio::test]
async fn a_query_is_never_taken_for_one_that_was_analysed_before_it() {
    let (ctx, seen, _) = session();
    let held = table(&ctx);
    // The same columns of the same table, but another filter.
    let frame = ctx.table("held").await.unwrap();
    let first = frame.clone().filter(col("x").gt(lit(1))).unwrap();
    let optimized = first.into_optimized_plan().unwrap();
    frame.filter(col("x").lt(lit(3))).unwrap().collect().await.unwrap();
    let report = only(&seen);
    assert!(report.query.texts.logical.contains("x < "), "{}", report.query.texts.logical);
    // A plan on top of one that was optimised by itself.
    let on_top = ctx.execute_logical_plan(optimized).await.unwrap().filter(col("x").not_eq(lit(2))).unwrap();
    on_top.collect().await.unwrap();
    let report = only(&seen);
    assert!(report.query.texts.logical.contains("x != "), "{}", report.query.texts.logical);
    drop(held);
    run(&ctx, "CREATE TABLE made AS SELECT x FROM held WHERE 1 = 1 AND x > 1").await;
    assert!(only(&seen).query.texts.logical.contains("Int64(1) = Int64(1)"), "as it was written");
}

/// A rule of each kind that takes a while.
#[derive(Debug)]
struct Slow;

const WHILE: Duration = Duration::from_millis(20);

impl AnalyzerRule for Slow {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        std::thread::sleep(WHILE);
        Ok(plan)
    }

    fn name(&self) -> &str {
        "slow_analysis"
    }
}

impl OptimizerRule for Slow {
    fn name(&self) -> &str {
        "slow_optimization"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        std::thread::sleep(WHILE);
        Ok(Transformed::no(plan))
    }
}

impl PhysicalOptimizerRule for Slow {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        std::thread::sleep(WHILE);
        Ok(plan)
    }

    fn name(&self) -> &str {
        "slow_physical"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn with_slow_rules() -> SessionStateBuilder {
    SessionStateBuilder::new_with_default_features()
        .with_config(SessionConfig::new().with_target_partitions(2))
        .with_analyzer_rule(Arc::new(Slow))
        .with_optimizer_rule(Arc::new(Slow))
        .with_physical_optimizer_rule(Arc::new(Slow))
}

#[tokio::test]
async fn planning_is_measured_from_the_analysis_to_the_physical_plan() {
    let seen = Shared::default();
    let state = instrument(with_slow_rules(), Arc::new(seen.clone()), LiveQueries::new()).build();
    let ctx = SessionContext::new_with_state(state);
    for sql in [
        "SELECT value + 1 + 1 FROM generate_series(1, 3) WHERE value > 1 AND 1 = 1",
        // Optimised twice, for one query.
        "CREATE TABLE made AS SELECT value FROM generate_series(1, 3) WHERE value > 1 AND 1 = 1",
    ] {
        run(&ctx, sql).await;
        let planning = only(&seen).query.planning.clone();
        assert!(planning.analysis >= WHILE && planning.optimization >= WHILE, "{planning:?}");
        assert!(planning.physical >= WHILE, "{planning:?}");
        for (part, name) in [
            (PlanningPart::Analysis, "slow_analysis"),
            (PlanningPart::Optimization, "slow_optimization"),
            (PlanningPart::Physical, "slow_physical"),
        ] {
            let of_part = planning.rules.iter().filter(|rule| rule.part == part);
            assert!(of_part.clone().count() > 1, "{part:?}: {planning:?}");
            let total = match part {
                PlanningPart::Analysis => planning.analysis,
                PlanningPart::Optimization => planning.optimization,
                PlanningPart::Physical => planning.physical,
            };
            let of_rules: Duration = of_part.clone().map(|rule| rule.time).sum();
            assert!(of_rules <= total, "{part:?}: {of_rules:?} of {total:?}: {planning:?}");
            let slow = of_part.clone().find(|rule| &*rule.name == name).unwrap();
            assert!(slow.time >= WHILE, "{slow:?}");
            assert_ne!(slow.changed, Some(true), "{slow:?}");
        }
        let changed = |name: &str| planning.rules.iter().find(|rule| &*rule.name == name).unwrap().changed;
        assert_eq!(changed("simplify_expressions"), Some(true));
        assert_eq!(changed("extract_equijoin_predicate"), Some(false));
        assert_eq!(changed("type_coercion"), None);
    }
}

#[tokio::test]
async fn explain_shows_no_rule_of_an_observer() {
    let observed = instrument(with_slow_rules(), Arc::new(Shared::default()), LiveQueries::new()).build();
    let mut explained = Vec::new();
    for state in [with_slow_rules().build(), observed] {
        let ctx = SessionContext::new_with_state(state);
        let sql = "EXPLAIN VERBOSE SELECT value FROM generate_series(1, 10) WHERE value > 3 ORDER BY value";
        let rows = ctx.sql(sql).await.unwrap().collect().await.unwrap();
        explained.push(pretty_format_batches(&rows).unwrap().to_string());
    }
    assert!(explained[0].contains("slow_optimization") && explained[0].contains("slow_physical"));
    assert_eq!(explained[0], explained[1]);
}

#[tokio::test]
async fn a_session_that_is_instrumented_again_is_seen_once() {
    let (ctx, seen, _) = session();
    let count = async |builder: SessionStateBuilder| {
        let state = instrument(builder, Arc::new(seen.clone()), LiveQueries::new()).build();
        run(&SessionContext::new_with_state(state), "SELECT 1 AS x").await;
        seen.reports().len()
    };
    assert_eq!(count(SessionStateBuilder::from(ctx.state())).await, 1);
    // A library has put its planner in front of the observing one, which it asks.
    let inner = Arc::clone(ctx.state().query_planner());
    let passing = SessionStateBuilder::from(ctx.state()).with_query_planner(Arc::new(Passing(inner)));
    assert_eq!(count(passing).await, 1);
    // A library has replaced the planner, or somebody has copied the configuration.
    let replaced = SessionStateBuilder::from(ctx.state()).with_query_planner(Arc::new(Replacing));
    assert_eq!(count(replaced).await, 1);
    let copied = SessionStateBuilder::new_with_default_features().with_config(ctx.copied_config());
    assert_eq!(count(copied).await, 1);
}

#[derive(Debug)]
struct Passing(Arc<dyn QueryPlanner + Send + Sync>);

#[async_trait]
impl QueryPlanner for Passing {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.0.create_physical_plan(plan, session).await
    }
}

#[derive(Debug)]
struct Replacing;

#[async_trait]
impl QueryPlanner for Replacing {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        DefaultPhysicalPlanner::default().create_physical_plan(plan, session).await
    }
}
