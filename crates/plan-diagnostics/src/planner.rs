//! The planner in front of a session's own.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Instant, SystemTime},
};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::{
    catalog::Session,
    common::{config::ConfigOptions, tree_node::TreeNodeRecursion},
    error::Result,
    execution::{context::QueryPlanner, session_state::SessionStateBuilder},
    logical_expr::LogicalPlan,
    optimizer::{Analyzer, AnalyzerRule},
    physical_plan::ExecutionPlan,
    physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner},
};

use crate::{
    Fingerprints, LiveQueries, PlanTexts, PlannedQuery, QueryKind, QueryObserver,
    observed::observed,
    query_run::{QueryRun, partition_count},
    tap::tapped,
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
    let mut analyzer = builder.analyzer().take().unwrap_or_default();
    analyzer.rules.insert(0, Arc::new(KeepUnoptimized));
    *builder.analyzer() = Some(analyzer);
    builder.with_query_planner(Arc::new(ObservingPlanner { inner, observer, live }))
}

thread_local! {
    /// The plans that this thread has analysed since it last planned one, the oldest first. A session analyses,
    /// optimises and first polls the planner's future without an await between them, so the last is always the one
    /// that is planned.
    static ANALYZED: RefCell<Vec<LogicalPlan>> = const { RefCell::new(Vec::new()) };
}

/// Plans that are analysed and never planned, as for `df.into_optimized_plan()`, are not kept for long.
const ANALYZED_KEPT: usize = 2;

/// The plan as the front end made it. `CREATE TABLE AS` optimises its query, and then the result of that once more:
/// then the plan before the last is the one that was written.
fn take_unoptimized() -> Option<LogicalPlan> {
    let mut analyzed = ANALYZED.take();
    let last = analyzed.pop()?;
    let same_query = |earlier: &LogicalPlan| {
        earlier.schema().logically_equivalent_names_and_types(last.schema())
            && source_tables(earlier) == source_tables(&last)
    };
    analyzed.pop().filter(same_query).or(Some(last))
}

/// The name of the rule, by which an observed session is known.
const KEEP_UNOPTIMIZED: &str = "keep_unoptimized_plan";

#[derive(Debug)]
struct KeepUnoptimized;

impl AnalyzerRule for KeepUnoptimized {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        ANALYZED.with_borrow_mut(|kept| {
            if kept.len() == ANALYZED_KEPT {
                kept.remove(0);
            }
            kept.push(plan.clone());
        });
        Ok(plan)
    }

    fn name(&self) -> &str {
        KEEP_UNOPTIMIZED
    }
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

static NEXT_QUERY_ID: AtomicU64 = AtomicU64::new(1);

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
        let unoptimized = take_unoptimized();
        let planned_at = SystemTime::now();
        let started = Instant::now();
        let plan = self.inner.create_physical_plan(logical_plan, session).await?;
        if is_empty_result(logical_plan) {
            return Ok(plan);
        }
        let source = unoptimized.as_ref().unwrap_or(logical_plan);
        let query = Arc::new(PlannedQuery {
            id: NEXT_QUERY_ID.fetch_add(1, Ordering::Relaxed),
            kind: QueryKind::of(logical_plan),
            schema: data_schema(logical_plan),
            source_tables: source_tables(source),
            fingerprints: Fingerprints::new(source, &plan),
            texts: PlanTexts::new(source, &plan),
            unoptimized,
            optimized: logical_plan.clone(),
            planned_at,
            planning_time: started.elapsed(),
            partitions: partition_count(&plan),
        });
        let Some(observation) = self.observer.planned(&query) else { return Ok(plan) };
        let plan = match &observation.tap {
            Some(tap) => tapped(plan, tap)?,
            None => plan,
        };
        let run = Arc::new(QueryRun::new(query, &plan, &observation));
        self.live.add(&run);
        Ok(observed(plan, run))
    }
}

/// What DDL and `SET` return: planned only when somebody collects the empty result.
fn is_empty_result(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::EmptyRelation(empty) if !empty.produce_one_row && empty.schema.fields().is_empty())
}

/// A write returns a count; its data are what goes in.
fn data_schema(plan: &LogicalPlan) -> SchemaRef {
    let data = match plan {
        LogicalPlan::Copy(copy) => &copy.input,
        LogicalPlan::Dml(dml) => &dml.input,
        other => other,
    };
    Arc::clone(data.schema().inner())
}

fn source_tables(plan: &LogicalPlan) -> Vec<String> {
    let mut tables = BTreeSet::new();
    let visited = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            tables.insert(scan.table_name.to_string());
        }
        Ok(TreeNodeRecursion::Continue)
    });
    debug_assert!(visited.is_ok(), "the visitor returns no error");
    tables.into_iter().collect()
}
