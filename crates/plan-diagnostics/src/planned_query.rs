//! A query that was planned: what it does, what it reads, and what makes it the same as another.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use arrow::datatypes::SchemaRef;
use daglight_run_bundle::ClusterWork;
use datafusion::{
    config::ConfigOptions,
    execution::memory_pool::{MemoryPool, UnboundedMemoryPool},
    logical_expr::LogicalPlan,
};

use crate::{
    fingerprint::{Fingerprints, PlanTexts},
    lineage::Lineage,
    planned_operators::PlannedOperator,
    planning::{PlanningPart, PlanningTimes},
    query_kind::QueryKind,
    source_plan::{DataPlan, SourcePlan},
    source_tables::SourceTable,
};

/// How far the planning of a query has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlanningState {
    /// It has a physical plan.
    Planned,
    /// It goes on. The query has no operators so far, nor changed settings, and its plan hash is not known.
    GoesOn(PlanningTurn),
    /// It has failed: the query has no operators, is never executed, and ends as failed at once.
    Failed(PlanningFailure),
}

/// What goes on while a query is planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanningTurn {
    /// The part of planning.
    pub part: PlanningPart,
    /// The rule that was called last; `None` in front of the first one, as while the operators of the physical plan are made.
    pub rule: Option<Arc<str>>,
}

/// Where the planning of a query has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanningFailure {
    /// The part of planning that returned an error.
    pub part: PlanningPart,
    /// The rule that returned it, where it was one.
    pub rule: Option<Arc<str>>,
    /// The error's message.
    pub message: String,
}

/// A query that was planned, or as far as it was.
#[derive(Debug, Clone)]
pub struct PlannedQuery {
    /// Unique in the process, from 1. Executing a plan once more is a separate query.
    pub id: u64,
    /// What it does; of an `EXPLAIN ANALYZE`, what the query that is analysed does.
    pub kind: QueryKind,
    /// Whether it is executed by an `EXPLAIN ANALYZE`, which returns measurements instead of its rows.
    pub analyzed: bool,
    /// The plan that was turned into a physical one. Empty where planning has failed before.
    pub optimized: LogicalPlan,
    /// The columns of the data: what it returns, or what it writes.
    pub schema: SchemaRef,
    /// The tables that it reads, sorted, each once.
    pub source_tables: Vec<String>,
    /// The same with what is known of them, by name.
    pub reads: Arc<BTreeMap<String, SourceTable>>,
    /// Where its columns come from.
    pub lineage: Arc<Lineage>,
    /// Why none of it runs on the cluster of the session; `None` where some of it does, or there is none.
    pub cluster: Option<ClusterWork>,
    /// What makes two queries the same.
    pub fingerprints: Fingerprints,
    /// The logical plan as text.
    pub texts: Arc<PlanTexts>,
    /// How long planning took; nothing for a plan that is executed once more.
    pub planning: PlanningTimes,
    /// How far planning has come.
    pub state: PlanningState,
    /// Partitions of the root.
    pub partitions: usize,
    /// The memory pool of its session when it was planned, as long as somebody else holds that: `SET` may replace it.
    pub memory_pool: Weak<dyn MemoryPool>,
    /// The options of its session.
    pub(crate) options: Arc<ConfigOptions>,
    /// The operators of its physical plan, in pre-order, as they were planned.
    pub(crate) operators: Arc<[PlannedOperator]>,
    pub(crate) data: Arc<DataPlan>,
}

/// The id of the next query of this process.
pub(crate) fn next_query_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl PlannedQuery {
    /// A query without a physical plan, as far as its source says what it is.
    pub(crate) fn without_plan(
        id: u64,
        source: SourcePlan,
        planning: PlanningTimes,
        state: PlanningState,
    ) -> Self {
        let no_pool: Weak<dyn MemoryPool> = Weak::<UnboundedMemoryPool>::new();
        Self {
            id,
            kind: source.kind,
            analyzed: source.analyzed,
            schema: source.schema,
            source_tables: source.tables.keys().cloned().collect(),
            reads: source.tables,
            fingerprints: Fingerprints::without_plan(&source.texts),
            texts: source.texts,
            planning,
            state,
            partitions: 0,
            options: Arc::default(),
            memory_pool: no_pool,
            operators: Arc::default(),
            data: source.data,
            lineage: source.lineage,
            cluster: None,
            optimized: LogicalPlan::default(),
        }
    }

    /// Whether it reads files, or writes somewhere.
    pub fn uses_storage(&self) -> bool {
        let reads_files = |operator: &PlannedOperator| {
            operator.scan.as_ref().is_some_and(|scan| scan.format.as_deref() != Some("memory"))
        };
        self.kind.is_write() || self.operators.iter().any(reads_files)
    }

    /// Whether the optimiser was done with it.
    pub fn is_optimized(&self) -> bool {
        match &self.state {
            PlanningState::Planned => true,
            PlanningState::GoesOn(_) => false,
            PlanningState::Failed(failure) => failure.part == PlanningPart::Physical,
        }
    }

    /// Where its planning has failed, if it has.
    pub fn failure(&self) -> Option<&PlanningFailure> {
        match &self.state {
            PlanningState::Failed(failure) => Some(failure),
            PlanningState::Planned | PlanningState::GoesOn(_) => None,
        }
    }

    /// Whether the rows that it returns or writes are those of a plan as the front end made it, from the same tables.
    pub fn has_data_of(&self, plan: &LogicalPlan) -> bool {
        self.data.is(plan)
    }
}
