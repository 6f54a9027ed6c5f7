//! A plan as it is shown while workers execute its stages: its operators have what the workers say of them.

use std::{fmt, sync::Arc};

use datafusion::{
    common::{not_impl_err, tree_node::TreeNodeRecursion},
    error::Result,
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::PhysicalExpr,
    physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, metrics::MetricsSet},
};
use datafusion_distributed::{DistributedLeafExec, NetworkBoundaryExt as _};

use super::live_tasks::{LiveTasks, Place};

/// Looks like the operator inside, with other children and other metrics.
struct LiveExec {
    inner: Arc<dyn ExecutionPlan>,
    children: Vec<Arc<dyn ExecutionPlan>>,
    /// `None` for what the client executes.
    place: Option<Place>,
    live: Arc<LiveTasks>,
}

/// The plan of a query with all of its stages, each scan once.
pub(super) fn shown(plan: &Arc<dyn ExecutionPlan>, live: &Arc<LiveTasks>) -> Arc<dyn ExecutionPlan> {
    Shown { live, stage: None, of: 0, next: 0 }.operator(plan)
}

struct Shown<'l> {
    live: &'l Arc<LiveTasks>,
    /// The stage whose operators are visited.
    stage: Option<u64>,
    of: usize,
    /// The position of the next one.
    next: usize,
}

impl Shown<'_> {
    fn operator(&mut self, plan: &Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        let plan = plan.downcast_ref::<DistributedLeafExec>().map_or(plan, DistributedLeafExec::original);
        let position = self.next;
        self.next += 1;
        let children = match plan.as_network_boundary() {
            Some(boundary) => {
                let stage = boundary.input_stage();
                let below = |input: &&Arc<dyn ExecutionPlan>| {
                    let of = operators_of_stage(input);
                    Shown { live: self.live, stage: Some(stage.num() as u64), of, next: 0 }.operator(input)
                };
                plan.children().iter().map(below).collect()
            }
            None => plan.children().into_iter().map(|child| self.operator(child)).collect(),
        };
        Arc::new(LiveExec {
            inner: Arc::clone(plan),
            children,
            place: self.stage.map(|stage| Place { stage, position, of: self.of }),
            live: Arc::clone(self.live),
        })
    }
}

/// Operators of a stage, without those of the stages below it.
fn operators_of_stage(plan: &Arc<dyn ExecutionPlan>) -> usize {
    if plan.is_network_boundary() {
        return 1;
    }
    let plan = plan.downcast_ref::<DistributedLeafExec>().map_or(plan, DistributedLeafExec::original);
    1 + plan.children().into_iter().map(operators_of_stage).sum::<usize>()
}

impl fmt::Debug for LiveExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl DisplayAs for LiveExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_as(format, f)
    }
}

impl ExecutionPlan for LiveExec {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn downcast_delegate(&self) -> Option<&dyn ExecutionPlan> {
        Some(self.inner.as_ref())
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.inner.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.children.iter().collect()
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.inner.apply_expressions(f)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        not_impl_err!("what is shown of a distributed plan takes no other children")
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        not_impl_err!("what is shown of a distributed plan is not executed")
    }

    fn metrics(&self) -> Option<MetricsSet> {
        match &self.place {
            Some(place) => self.live.metrics(place, self.inner.name()),
            None => self.inner.metrics(),
        }
    }
}
