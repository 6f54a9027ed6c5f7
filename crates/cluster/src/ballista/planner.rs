//! The planner of a session with a scheduler: a job where that can be, and here where it cannot.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use daglight_plan_diagnostics::stays_here;
use daglight_run_bundle::{BALLISTA, ClusterWork};
use datafusion::{
    arrow::datatypes::SchemaRef,
    catalog::{Session, TableProvider},
    common::not_impl_err,
    datasource::provider_as_source,
    error::Result,
    execution::context::QueryPlanner,
    logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableType, WriteOp},
    physical_plan::ExecutionPlan,
    physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner},
};

use super::{
    job_exec::{Job, JobExec},
    scheduler::Scheduler,
    submission::Cancels,
    travelling_plan::encoded,
};

type Planner = Arc<dyn QueryPlanner + Send + Sync>;

pub(super) struct JobPlanner {
    /// That of the session without a cluster; `None` for the engine's own.
    here: Option<Planner>,
    scheduler: Scheduler,
    cancels: Cancels,
}

impl JobPlanner {
    pub(super) const fn new(here: Option<Planner>, scheduler: Scheduler, cancels: Cancels) -> Self {
        Self { here, scheduler, cancels }
    }

    async fn plan_here(&self, plan: &LogicalPlan, session: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        match &self.here {
            Some(planner) => planner.create_physical_plan(plan, session).await,
            None => DefaultPhysicalPlanner::default().create_physical_plan(plan, session).await,
        }
    }

    /// The job of a plan, or why there is none. `here` is what it is planned to be without a scheduler.
    fn job(
        &self,
        plan: &LogicalPlan,
        here: &Arc<dyn ExecutionPlan>,
        session: &dyn Session,
    ) -> std::result::Result<Arc<dyn ExecutionPlan>, String> {
        let job = Job {
            plan: encoded(plan, here, session)?,
            schema: Arc::clone(plan.schema().inner()),
            session_id: session.session_id().to_owned(),
            scheduler: self.scheduler.clone(),
            cancels: self.cancels.clone(),
        };
        Ok(Arc::new(JobExec::new(job, Arc::clone(here))))
    }

    /// The plan that writes here what a job returns; `None` where that cannot be.
    async fn written_here(
        &self,
        plan: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let input = match plan {
            LogicalPlan::Copy(copy) => &copy.input,
            LogicalPlan::Dml(dml) if matches!(dml.op, WriteOp::Insert(_)) => &dml.input,
            _ => return Ok(None),
        };
        let here = self.plan_here(input, session).await?;
        let Ok(job) = self.job(input, &here, session) else { return Ok(None) };
        let rows = provider_as_source(Arc::new(JobRows { job }));
        // Columns of the same name are those of two tables.
        let Ok(scan) = LogicalPlanBuilder::scan("rows", rows, None) else { return Ok(None) };
        let plan = plan.with_new_exprs(plan.expressions(), vec![scan.build()?])?;
        self.plan_here(&plan, session).await.map(Some)
    }
}

impl fmt::Debug for JobPlanner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobPlanner")
            .field("here", &self.here)
            .field("scheduler", &self.scheduler.address)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl QueryPlanner for JobPlanner {
    async fn create_physical_plan(
        &self,
        logical_plan: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        // Shown until the scheduler has made its own, and executed where it makes none. An error of the query itself comes of it.
        let here = self.plan_here(logical_plan, session).await?;
        let why = match self.job(logical_plan, &here, session) {
            Ok(job) => return Ok(job),
            Err(why) => why,
        };
        if let Some(plan) = self.written_here(logical_plan, session).await? {
            return Ok(plan);
        }
        let work =
            ClusterWork { engine: BALLISTA.to_owned(), on_client: Some(why), ..ClusterWork::default() };
        Ok(stays_here(here, work))
    }
}

/// What a job returns, as a table for the plan that writes it.
#[derive(Debug)]
struct JobRows {
    job: Arc<dyn ExecutionPlan>,
}

#[async_trait]
impl TableProvider for JobRows {
    fn schema(&self) -> SchemaRef {
        self.job.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if projection.is_some() || limit.is_some() {
            return not_impl_err!("what a job returns is written as it is");
        }
        Ok(Arc::clone(&self.job))
    }
}
