//! The planner in front of a session's own.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use async_trait::async_trait;
use daglight_run_bundle::ClusterWork;
use datafusion::{
    catalog::Session,
    error::Result,
    execution::{context::QueryPlanner, session_state::SessionStateBuilder},
    logical_expr::LogicalPlan,
    physical_plan::ExecutionPlan,
    physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner},
};

use crate::{
    counted::counted,
    elsewhere::without_remark,
    executions::{is_observed, observed},
    failed_planning::FailedPlanning,
    fingerprint::Fingerprints,
    observer::QueryObserver,
    planned_operators::describe,
    planned_query::{PlannedQuery, PlanningState},
    planning::{PlanningPart, PlanningTimes},
    planning_scope::PhysicalPlanning,
    progress::LiveQueries,
    query_kind::QueryKind,
    query_run::partition_count,
    rules::wrap_rules,
    shape::shape,
    shield::{OBSERVING, message_of, shielded},
    source_plan::{SourcePlan, data_schema},
    sources::{Leaf, leaves, rows_to_change},
    watched_session::WatchedSession,
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
    // Instrumented twice, every query would count twice.
    if is_instrumented(&mut builder) {
        return builder;
    }
    let mut config = builder.config().take().unwrap_or_default();
    // Whatever is there stays in charge: engines such as Ballista come with their own planner, and without it
    // their session would plan for one machine.
    let inner = builder.query_planner().take().unwrap_or_else(|| Arc::new(DefaultPlanner));
    let session = Arc::new(WatchedSession::new(observer, live));
    let is_analyzed = wrap_rules(&mut builder, &session);
    let planner = Arc::new(ObservingPlanner { inner, is_analyzed, session });
    config.set_extension(Arc::new(ObservedBy(Arc::downgrade(&planner))));
    builder.with_config(config).with_query_planner(planner)
}

/// Whether the queries of the session that is built from `builder` are seen already, so that [`instrument`] leaves it as it is.
pub fn is_instrumented(builder: &mut SessionStateBuilder) -> bool {
    // By an extension, which travels with clones of the configuration, because a `QueryPlanner` cannot be downcast.
    let known = builder.config().as_ref().and_then(|config| config.get_extension::<ObservedBy>());
    // A configuration may have been copied into another session, or the planner replaced.
    let is_in_use = |known: Arc<ObservingPlanner>| {
        builder
            .query_planner()
            .as_ref()
            .is_some_and(|used| Arc::as_ptr(used).addr() == Arc::as_ptr(&known).addr())
    };
    known.and_then(|by| by.0.upgrade()).is_some_and(is_in_use)
}

/// Marks the configuration of an observed session with its planner.
struct ObservedBy(Weak<ObservingPlanner>);

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
    /// Whether the session has rules by which the plan is known as the front end made it.
    is_analyzed: bool,
    session: Arc<WatchedSession>,
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
        // Before it is planned: `MemTable` deletes and updates while it makes the plan, so that afterwards the rows
        // are gone.
        let rows_to_change = shielded("a table that is changed", || rows_to_change(logical_plan)).flatten();
        let planning = PhysicalPlanning::begin(self.is_analyzed, &self.session);
        let plan = planning.of(self.inner.create_physical_plan(logical_plan, session)).await;
        let (times, rule) = planning.end();
        let source = || planning.source().unwrap_or_else(|| self.session.known.of(logical_plan));
        let plan = match plan {
            Ok(plan) => plan,
            Err(error) if planning.is_part_of_another => return Err(error),
            Err(error) => {
                shielded(OBSERVING, || {
                    let failed = FailedPlanning {
                        id: planning.query_id(),
                        part: PlanningPart::Physical,
                        rule,
                        source: source(),
                        optimized: Some(logical_plan),
                        planning: times,
                        options: Arc::clone(session.config().options()),
                    };
                    failed.report(self.session.observer.as_ref(), message_of(&error));
                });
                return Err(error);
            }
        };
        let (plan, cluster) = without_remark(plan);
        // A planner inside may be an observing one as well, below a library's.
        // Every `CREATE`, `DROP` and `SET` returns an empty frame that `collect` plans as well, which would be a
        // query that nobody asked.
        if is_empty_result(logical_plan) || is_observed(&plan) {
            return Ok(plan);
        }
        let observed = shielded(OBSERVING, || {
            let source = source();
            // From the optimised logical plan, whose scans are those of the physical one: the analysed plan still
            // has scans that were optimised away.
            let leaves = leaves(&plan, logical_plan, rows_to_change);
            let made = Made {
                plan: &plan,
                logical_plan,
                leaves: &leaves,
                source,
                times,
                id: planning.query_id(),
                cluster,
            };
            self.observe(made, session)
        });
        Ok(observed.flatten().unwrap_or(plan))
    }
}

impl ObservingPlanner {
    /// The plan with its executions observed. `None` where the observer leaves the query alone.
    fn observe(&self, made: Made<'_>, session: &dyn Session) -> Option<Arc<dyn ExecutionPlan>> {
        let Made { id, plan, logical_plan, leaves, source, times, cluster } = made;
        let operators = describe(plan, leaves, session.config().options());
        let query = Arc::new(PlannedQuery {
            id,
            // Of an `EXPLAIN`, the rules are called with the plan that is explained.
            kind: QueryKind::of(logical_plan),
            analyzed: matches!(logical_plan, LogicalPlan::Analyze(_)),
            schema: data_schema(logical_plan),
            source_tables: source.tables.keys().cloned().collect(),
            reads: source.tables,
            fingerprints: Fingerprints::new(&source.texts, &shape(plan, &operators)),
            texts: source.texts,
            planning: times,
            state: PlanningState::Planned,
            partitions: partition_count(plan),
            // As they are now: `SET` may change them before the report is written.
            options: Arc::clone(session.config().options()),
            memory_pool: Arc::downgrade(&session.runtime_env().memory_pool),
            operators: operators.into(),
            data: source.data,
            lineage: source.lineage,
            cluster,
            optimized: logical_plan.clone(),
        });
        // Here and not at execution, because this runs in the task of whoever asked, where the context of the node
        // is.
        let observation = self.session.observer.planned(&query)?;
        // A plan that takes no other leaves is observed without them.
        let plan = counted(Arc::clone(plan), leaves).unwrap_or_else(|_| Arc::clone(plan));
        Some(observed(
            plan,
            query,
            observation,
            Arc::clone(&self.session.observer),
            self.session.live.clone(),
        ))
    }
}

/// What planning has made of a query.
struct Made<'p> {
    id: u64,
    plan: &'p Arc<dyn ExecutionPlan>,
    /// What the optimiser has made.
    logical_plan: &'p LogicalPlan,
    /// The scans of the plan.
    leaves: &'p [Leaf],
    source: SourcePlan,
    times: PlanningTimes,
    /// Why no cluster runs it.
    cluster: Option<ClusterWork>,
}

/// What DDL and `SET` return: planned only when somebody collects the empty result.
fn is_empty_result(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::EmptyRelation(empty) if !empty.produce_one_row && empty.schema.fields().is_empty())
}
