//! What stays of plans that are planned, or fail to be.

use std::{sync::Arc, time::Duration};

use arrow::{
    array::{Int64Array, RecordBatch},
    datatypes::SchemaRef,
    util::pretty::pretty_format_batches,
};
use async_trait::async_trait;
use daglight_plan_diagnostics::{LiveQueries, PlanningFailure, PlanningPart, QueryOutcome, instrument};
use daglight_run_bundle::PlanBundle;
use datafusion::{
    catalog::Session,
    common::{config::ConfigOptions, tree_node::Transformed},
    datasource::MemTable,
    error::{DataFusionError, Result},
    execution::{context::QueryPlanner, session_state::SessionStateBuilder},
    logical_expr::LogicalPlan,
    optimizer::{AnalyzerRule, ApplyOrder, OptimizerConfig, OptimizerRule},
    physical_optimizer::PhysicalOptimizerRule,
    physical_plan::ExecutionPlan,
    physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner},
    prelude::{SessionConfig, SessionContext, col, lit},
};

use crate::{
    support::{Shared, only, run, session, session_of},
    writes::Store,
};

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

/// A rule that lets no plan through.
#[derive(Debug)]
struct RefusingRule;

impl AnalyzerRule for RefusingRule {
    fn analyze(&self, _: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        Err(DataFusionError::Plan("not this one".into()))
    }

    fn name(&self) -> &str {
        "refusing"
    }
}

/// The only report of a query that fails while it is planned.
async fn failed(ctx: &SessionContext, seen: &Shared, sql: &str) -> (PlanningFailure, PlanBundle) {
    let error = ctx.sql(sql).await.unwrap().collect().await.unwrap_err();
    let report = only(seen);
    let failure = report.query.failure().cloned().unwrap();
    // The engine adds which rule it was.
    assert!(error.strip_backtrace().ends_with(&failure.message), "{error} and {failure:?}");
    assert_eq!(report.outcome, QueryOutcome::Failed { message: failure.message.clone() });
    assert_eq!(report.query.source_tables.len(), 1);
    (failure, report.query.to_plan_bundle(true))
}

#[tokio::test]
async fn a_query_whose_planning_fails_is_seen_with_the_part_and_rule_that_failed() {
    let (ctx, seen, _) = session();
    let _held = table(&ctx);
    ctx.register_table("refusing", Arc::new(Store { counts: true })).unwrap();
    let (failure, bundle) = failed(&ctx, &seen, "SELECT x FROM refusing WHERE x > 1").await;
    assert_eq!((failure.part, failure.rule.as_deref()), (PlanningPart::Physical, None));
    assert!(bundle.logical_plan.contains("Filter"), "{}", bundle.logical_plan);
    assert!(bundle.optimized_plan.is_some());
    assert_eq!(bundle.physical_plan, None);
    let (failure, bundle) = failed(&ctx, &seen, "SELECT x FROM held WHERE x = 'no number'").await;
    let expected = (PlanningPart::Optimization, Some("simplify_expressions"));
    assert_eq!((failure.part, failure.rule.as_deref()), expected);
    assert_eq!(bundle.optimized_plan, None);
    let planning = bundle.planning.unwrap();
    assert_eq!(planning.failed_part.as_deref(), Some("optimization"));
    assert_eq!(planning.failed_rule.as_deref(), Some("simplify_expressions"));
    // The next query of the thread is another one.
    assert_eq!(run(&ctx, "SELECT x FROM held").await, 3);
    assert_eq!(only(&seen).query.failure(), None);

    let refusing =
        SessionStateBuilder::new_with_default_features().with_analyzer_rule(Arc::new(RefusingRule));
    let state = instrument(refusing, Arc::new(seen.clone()), LiveQueries::new()).build();
    let ctx = SessionContext::new_with_state(state);
    let _held = table(&ctx);
    let (failure, bundle) = failed(&ctx, &seen, "SELECT x FROM held").await;
    assert_eq!((failure.part, failure.rule.as_deref()), (PlanningPart::Analysis, Some("refusing")));
    assert_eq!((bundle.optimized_plan, bundle.physical_plan), (None, None));
}

#[tokio::test]
async fn where_it_is_asked_for_each_rule_says_what_it_has_changed() {
    let (ctx, seen, _) = session_of(Shared::with_differences());
    let _held = table(&ctx);
    run(&ctx, "SELECT x + 1.5 AS y FROM held WHERE x > 1 AND 1 = 1").await;
    let report = only(&seen);
    let rules = &report.query.planning.rules;
    let rule = |name: &str| rules.iter().find(|rule| &*rule.name == name).unwrap();
    let coercion = rule("type_coercion");
    assert_eq!(coercion.changed, Some(true));
    let [difference] = &coercion.differences[..] else { panic!("{coercion:?}") };
    assert!(
        difference.lines().any(|line| line.starts_with("+Projection: CAST(held.x AS Float64)")),
        "{difference}"
    );
    assert_eq!(rule("resolve_grouping_function").changed, Some(false));
    assert_eq!(rule("resolve_grouping_function").differences, [""; 0]);
    let simplified = rule("simplify_expressions").differences.join("");
    assert!(simplified.contains("-") && simplified.contains("Int64(1) = Int64(1)"), "{simplified}");
    let pruned = report.query.to_plan_bundle(false).planning.unwrap();
    assert!(pruned.rules.iter().all(|rule| rule.differences.is_empty()), "{pruned:?}");
    let physical = rules.iter().filter(|rule| rule.part == PlanningPart::Physical);
    assert!(physical.into_iter().any(|rule| !rule.differences.is_empty()), "{rules:?}");
}

#[tokio::test]
async fn what_is_asked_again_of_the_same_tables_is_looked_through_once() {
    let (ctx, seen, _) = session();
    let sql = "SELECT x + 1 AS y FROM held WHERE x > 1";
    let asked = async || {
        run(&ctx, sql).await;
        let query = only(&seen).query;
        // The query itself holds its optimised plan, and with it the table.
        (Arc::clone(&query.texts), Arc::clone(&query.lineage), query.fingerprints.clone())
    };
    let first_table = table(&ctx);
    let (texts, lineage, fingerprints) = asked().await;
    let again = asked().await;
    assert!(Arc::ptr_eq(&texts, &again.0) && Arc::ptr_eq(&lineage, &again.1));
    assert_eq!(fingerprints, again.2);
    run(&ctx, "SELECT x + 1 AS y FROM held WHERE x > 2").await;
    assert!(!Arc::ptr_eq(&texts, &only(&seen).query.texts), "another value");
    // Another table of the same name, and none of the first one.
    ctx.deregister_table("held").unwrap();
    assert_eq!(first_table.strong_count(), 0, "what is known keeps no table");
    let _second_table = table(&ctx);
    assert!(!Arc::ptr_eq(&texts, &asked().await.0));
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
