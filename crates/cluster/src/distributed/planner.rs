//! The planner of a session with a cluster: distributed where that can be, and here where it cannot.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use daglight_plan_diagnostics::stays_here;
use daglight_run_bundle::ClusterWork;
use datafusion::{
    catalog::Session,
    catalog::memory::{DataSourceExec, MemorySourceConfig},
    common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion},
    datasource::physical_plan::FileScanConfig,
    error::Result,
    execution::{SessionStateBuilder, context::QueryPlanner},
    logical_expr::LogicalPlan,
    physical_plan::{ExecutionPlan, empty::EmptyExec},
    physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner},
};
use datafusion_distributed::{
    DistributedCodec, DistributedExec, DistributedLeafExec, NetworkBoundaryExt as _,
};
use datafusion_proto::bytes::{
    physical_plan_from_bytes_with_extension_codec, physical_plan_to_bytes_with_extension_codec,
};

use super::{channels::Channels, query::ENGINE, query_exec::ClusterExec, worker_sinks::with_worker_sinks};
use crate::address::WorkerAddress;

type Planner = Arc<dyn QueryPlanner + Send + Sync>;

pub(super) struct ClusterPlanner {
    /// That of the session without a cluster; `None` for the engine's own.
    here: Option<Planner>,
    distributed: Option<Planner>,
    workers: Arc<[WorkerAddress]>,
    channels: Channels,
}

impl ClusterPlanner {
    pub(super) fn new(
        here: Option<Planner>,
        distributed: Option<Planner>,
        workers: Vec<WorkerAddress>,
        channels: Channels,
    ) -> Self {
        Self { here, distributed, workers: workers.into(), channels }
    }

    async fn plan_here(&self, plan: &LogicalPlan, session: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        match &self.here {
            Some(planner) => planner.create_physical_plan(plan, session).await,
            None => DefaultPhysicalPlanner::default().create_physical_plan(plan, session).await,
        }
    }

    fn on_client(&self, plan: Arc<dyn ExecutionPlan>, why: &str) -> Arc<dyn ExecutionPlan> {
        let work = ClusterWork {
            engine: ENGINE.to_owned(),
            on_client: Some(why.to_owned()),
            workers: self.workers.iter().map(ToString::to_string).collect(),
            ..ClusterWork::default()
        };
        stays_here(plan, work)
    }
}

impl fmt::Debug for ClusterPlanner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterPlanner")
            .field("here", &self.here)
            .field("workers", &self.workers)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl QueryPlanner for ClusterPlanner {
    async fn create_physical_plan(
        &self,
        logical_plan: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(distributed) = &self.distributed else { return self.plan_here(logical_plan, session).await };
        let plan = match distributed.create_physical_plan(logical_plan, session).await {
            Ok(plan) => plan,
            // An error of the query itself comes once more, and is the one to be seen.
            Err(error) => {
                let here = self.plan_here(logical_plan, session).await?;
                let why = format!("the engine cannot distribute it: {}", first_line(&error.to_string()));
                return Ok(self.on_client(here, &why));
            }
        };
        if !plan.is::<DistributedExec>() {
            let why = why_not_distributed(&plan)?;
            return Ok(self.on_client(plan, why));
        }
        let plan = match with_worker_sinks(&plan, logical_plan, session).await? {
            Some(plan) => plan,
            None => plan,
        };
        if let Err(error) = can_travel(&plan, session) {
            let here = self.plan_here(logical_plan, session).await?;
            let why = format!("a worker could not read its plan: {}", first_line(&error.to_string()));
            return Ok(self.on_client(here, &why));
        }
        Ok(ClusterExec::distributed(plan, &self.workers, self.channels.clone()))
    }
}

/// Why the engine has left a plan as it was.
fn why_not_distributed(plan: &Arc<dyn ExecutionPlan>) -> Result<&'static str> {
    let (mut in_memory, mut of_files) = (false, false);
    plan.apply(|node| {
        let source = node.downcast_ref::<DataSourceExec>().map(DataSourceExec::data_source);
        in_memory |= source.is_some_and(|source| source.downcast_ref::<MemorySourceConfig>().is_some());
        of_files |= source.is_some_and(|source| source.downcast_ref::<FileScanConfig>().is_some());
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(match (in_memory, of_files) {
        (true, _) => "it reads a table in the memory of the client",
        (false, true) => "its files are too small to be read in parts",
        (false, false) => "it reads no files",
    })
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// Whether what runs on workers can be written, and read by one that has what DataFusion has by itself.
fn can_travel(plan: &Arc<dyn ExecutionPlan>, session: &dyn Session) -> Result<()> {
    let codec = DistributedCodec::new_combined_with_user(session.config());
    // Of the functions that a worker has; those of the session may be more.
    let worker =
        SessionStateBuilder::new_with_default_features().with_config(session.config().clone()).build();
    let context = worker.task_ctx();
    let mut result = Ok(());
    plan.apply(|node| {
        let Some(stage) = node.as_network_boundary().and_then(|boundary| boundary.input_stage().local_plan())
        else {
            return Ok(TreeNodeRecursion::Continue);
        };
        let read = self_contained(stage)
            .and_then(|part| physical_plan_to_bytes_with_extension_codec(part, &codec))
            .and_then(|bytes| physical_plan_from_bytes_with_extension_codec(&bytes, &context, &codec));
        if let Err(error) = read {
            result = Err(error);
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    result
}

/// A stage without those below it, as its first task gets it.
fn self_contained(stage: &Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let part = Arc::clone(stage).transform_down(|node| {
        if node.is_network_boundary() {
            let rows: Arc<dyn ExecutionPlan> = Arc::new(EmptyExec::new(node.schema()));
            return Ok(Transformed::new(rows, true, TreeNodeRecursion::Jump));
        }
        match node.downcast_ref::<DistributedLeafExec>() {
            Some(leaf) => Ok(Transformed::new(Arc::clone(leaf.original()), true, TreeNodeRecursion::Jump)),
            None => Ok(Transformed::no(node)),
        }
    })?;
    Ok(part.data)
}
