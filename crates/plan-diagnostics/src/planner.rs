//! The planner in front of a session's own.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::{
    catalog::Session,
    error::Result,
    execution::{context::QueryPlanner, session_state::SessionStateBuilder},
    logical_expr::LogicalPlan,
    optimizer::Analyzer,
    physical_plan::ExecutionPlan,
    physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner},
};

use crate::{
    Fingerprints, LiveQueries, PlanTexts, PlannedQuery, QueryKind, QueryObserver,
    counted::counted,
    executions::{next_query_id, observed},
    operators::describe,
    query_run::partition_count,
    shield::shielded,
    sources::leaves,
    unoptimized::{self, KEEP_UNOPTIMIZED, SourcePlan, keep_unoptimized},
};

/// Lets `observer` see every query of the session that is built from `builder`, and `live` follow those that run.
///
/// A planner that the builder already has stays in use: install this after libraries that replace the planner. A session
/// that is observed already stays as it is, so that no query is seen twice.
pub fn instrument(
    mut builder: SessionStateBuilder,
    observer: Arc<dyn QueryObserver>,
    live: LiveQueries,
) -> SessionStateBuilder {
    let is_observed = |analyzer: &Analyzer| analyzer.rules.iter().any(|rule| rule.name() == KEEP_UNOPTIMIZED);
    if builder.analyzer().as_ref().is_some_and(is_observed) {
        return builder;
    }
    let inner = builder.query_planner().take().unwrap_or_else(|| Arc::new(DefaultPlanner));
    keep_unoptimized(builder).with_query_planner(Arc::new(ObservingPlanner { inner, observer, live }))
}

#[derive(Debug)]
struct DefaultPlanner;

#[async_trait]
impl QueryPlanner for DefaultPlanner {
    async fn create_physical_plan(
        &self,
        logical_plan: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        DefaultPhysicalPlanner::default().create_physical_plan(logical_plan, session).await
    }
}

struct ObservingPlanner {
    inner: Arc<dyn QueryPlanner + Send + Sync>,
    observer: Arc<dyn QueryObserver>,
    live: LiveQueries,
}

impl fmt::Debug for ObservingPlanner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObservingPlanner").field("inner", &self.inner).finish_non_exhaustive()
    }
}

#[async_trait]
impl QueryPlanner for ObservingPlanner {
    async fn create_physical_plan(
        &self,
        logical_plan: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let unoptimized = unoptimized::take();
        let planned_at = SystemTime::now();
        let started = Instant::now();
        let plan = self.inner.create_physical_plan(logical_plan, session).await?;
        if is_empty_result(logical_plan) {
            return Ok(plan);
        }
        let planning_time = started.elapsed();
        let observed = shielded("what observes the queries of a session", || {
            let source = unoptimized.unwrap_or_else(|| SourcePlan::of(logical_plan));
            self.observe(&plan, logical_plan, source, planned_at, planning_time)
        });
        Ok(observed.flatten().unwrap_or(plan))
    }
}

impl ObservingPlanner {
    /// The plan with its executions observed. `None` where the observer leaves the query alone.
    fn observe(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        logical_plan: &LogicalPlan,
        source: SourcePlan,
        planned_at: SystemTime,
        planning_time: Duration,
    ) -> Option<Arc<dyn ExecutionPlan>> {
        let query = Arc::new(PlannedQuery {
            id: next_query_id(),
            kind: QueryKind::of(logical_plan),
            analyzed: matches!(logical_plan, LogicalPlan::Analyze(_)),
            schema: data_schema(logical_plan),
            source_tables: source.tables,
            fingerprints: Fingerprints::new(&source.texts, plan),
            texts: PlanTexts::new(source.texts, plan),
            planned_at,
            planning_time,
            partitions: partition_count(plan),
            data: source.data,
            optimized: logical_plan.clone(),
        });
        let observation = self.observer.planned(&query)?;
        let leaves = leaves(plan, logical_plan);
        let operators = describe(plan, &leaves);
        // A plan that takes no other leaves is observed without them.
        let plan = counted(Arc::clone(plan), &leaves).unwrap_or_else(|_| Arc::clone(plan));
        Some(observed(plan, query, operators, observation, Arc::clone(&self.observer), self.live.clone()))
    }
}

/// What DDL and `SET` return: planned only when somebody collects the empty result.
fn is_empty_result(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::EmptyRelation(empty) if !empty.produce_one_row && empty.schema.fields().is_empty())
}

/// A write returns a count, and its data are what goes in; `EXPLAIN ANALYZE` returns measurements.
fn data_schema(plan: &LogicalPlan) -> SchemaRef {
    match plan {
        LogicalPlan::Copy(copy) => Arc::clone(copy.input.schema().inner()),
        LogicalPlan::Dml(dml) => Arc::clone(dml.input.schema().inner()),
        LogicalPlan::Analyze(analyze) => data_schema(&analyze.input),
        other => Arc::clone(other.schema().inner()),
    }
}
