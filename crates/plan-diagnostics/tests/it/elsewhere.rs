//! Queries that an engine executes on other machines.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use daglight_plan_diagnostics::{
    LiveQueries, MeasuredQuery, QueryOutcome, RemoteWork, Travelling, instrument, runs_elsewhere,
};
use daglight_run_bundle::ClusterWork;
use datafusion::{
    catalog::Session,
    common::{exec_datafusion_err, tree_node::TreeNodeRecursion},
    error::Result,
    execution::{
        SendableRecordBatchStream, TaskContext, context::QueryPlanner, session_state::SessionStateBuilder,
    },
    logical_expr::LogicalPlan,
    physical_expr::PhysicalExpr,
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, stream::RecordBatchStreamAdapter,
    },
    physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner as _},
    prelude::{SessionConfig, SessionContext},
};
use futures::stream;

use crate::support::{Shared, only};

const SELECT: &str = "SELECT * FROM two";

/// What happens to a query there.
#[derive(Debug, Clone, Copy, Default)]
struct Fate {
    fails: bool,
    rows_read: Option<u64>,
    metrics_missing: bool,
    /// It is said before the query has ended here that the job is over.
    settles_early: bool,
}

/// The work of a query there, of which nothing is measured.
#[derive(Default)]
struct Work {
    fate: Fate,
    is_over: Mutex<bool>,
    travelling: Mutex<Option<Arc<Travelling>>>,
}

impl Work {
    fn settle(&self) {
        *self.is_over.lock().unwrap() = true;
        let travelling = self.travelling.lock().unwrap().clone();
        travelling.unwrap().has_settled();
    }
}

impl RemoteWork for Work {
    fn so_far(&self) -> ClusterWork {
        ClusterWork {
            job_open: !*self.is_over.lock().unwrap(),
            metrics_missing: self.fate.metrics_missing,
            ..ClusterWork::default()
        }
    }

    fn rows_read(&self) -> Option<u64> {
        self.fate.rows_read
    }
}

/// The root of a plan that is executed there.
struct Away {
    here: Arc<dyn ExecutionPlan>,
    work: Arc<Work>,
}

impl fmt::Debug for Away {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Away")
    }
}

impl DisplayAs for Away {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Away")
    }
}

impl ExecutionPlan for Away {
    fn name(&self) -> &str {
        "Away"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.here.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.here]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, _: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let travelling = context.session_config().get_extension::<Travelling>().unwrap();
        travelling.taken_on(Arc::clone(&self.work) as _);
        *self.work.travelling.lock().unwrap() = Some(travelling);
        if self.work.fate.settles_early {
            self.work.settle();
        }
        let error = self.work.fate.fails.then(|| Err(exec_datafusion_err!("lost")));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream::iter(error))))
    }
}

struct Planner(Arc<Work>);

impl fmt::Debug for Planner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Planner")
    }
}

#[async_trait]
impl QueryPlanner for Planner {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let here = DefaultPhysicalPlanner::default().create_physical_plan(plan, session).await?;
        Ok(Arc::new(Away { here, work: Arc::clone(&self.0) }))
    }
}

/// A query, which may read a file of two rows: its report, its work, and who has seen it.
async fn executed(sql: &str, fate: Fate) -> (MeasuredQuery, Arc<Work>, Shared) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("two.csv");
    std::fs::write(&file, "x\n1\n2\n").unwrap();
    let work = Arc::new(Work { fate, ..Work::default() });
    let seen = Shared::default();
    let builder = SessionStateBuilder::new_with_default_features()
        .with_config(runs_elsewhere(SessionConfig::new().with_target_partitions(1)))
        .with_query_planner(Arc::new(Planner(Arc::clone(&work))));
    let state = instrument(builder, Arc::new(seen.clone()), LiveQueries::new()).build();
    let ctx = SessionContext::new_with_state(state);
    let stored = format!("CREATE EXTERNAL TABLE two STORED AS CSV LOCATION '{}'", file.display());
    ctx.sql(&stored).await.unwrap();
    let frame = ctx.sql(sql).await.unwrap();
    assert_eq!(frame.collect().await.is_err(), fate.fails);
    (only(&seen), work, seen)
}

#[tokio::test]
async fn rows_that_other_machines_have_read_are_known_or_not_and_never_none_by_mistake() {
    let complete = Fate::default();
    let missing = Fate { metrics_missing: true, rows_read: Some(7), ..complete };
    let failed = Fate { fails: true, ..complete };
    let cases = [
        // All has been measured, and no task has had to read.
        (complete, Some(0)),
        // As much of it as the engine has said would pass for the whole.
        (missing, None),
        (failed, None),
        (Fate { rows_read: Some(7), ..failed }, Some(7)),
    ];
    // The plan of the second one has no scan here: there may be one in the plan of the engine.
    for sql in [SELECT, "SELECT 1"] {
        for (fate, rows_read) in cases {
            let (report, ..) = executed(sql, fate).await;
            assert_eq!(report.outcome == QueryOutcome::Completed, !fate.fails);
            assert_eq!(report.operators.iter().any(|operator| operator.is_scan), sql == SELECT);
            assert_eq!(report.rows_read, rows_read, "{sql} {fate:?}");
        }
    }
}

#[tokio::test]
async fn what_became_of_work_that_was_given_up_is_said_when_the_query_has_ended() {
    for settles_early in [true, false] {
        let (report, work, seen) =
            executed(SELECT, Fate { fails: true, settles_early, ..Fate::default() }).await;
        assert_eq!(report.cluster.unwrap().job_open, !settles_early);
        let before = seen.settled();
        work.settle();
        // How many queries had ended by then, and whether the job was open.
        let said = (1, false);
        let expected = if settles_early { vec![said] } else { Vec::new() };
        assert_eq!((before, seen.settled()), (expected, vec![(0, false)]), "{settles_early}");
    }
}
