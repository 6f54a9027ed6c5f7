//! The one physical plan that stands in front of another one: it delegates everything, and a hook watches what it returns.

use std::{any::Any, fmt, sync::Arc};

use arrow::datatypes::SchemaRef;
use datafusion::{
    common::{Statistics, config::ConfigOptions, tree_node::TreeNodeRecursion},
    error::Result,
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::{Distribution, OrderingRequirements, PhysicalExpr, PhysicalSortExpr},
    physical_plan::{
        ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, InputDistributionRequirements,
        PlanProperties, ReplaceChildrenOptions, SortOrderPushdownResult,
        execution_plan::{CardinalityEffect, InvariantLevel},
        filter_pushdown::{
            ChildPushdownResult, FilterDescription, FilterPushdownPhase, FilterPushdownPropagation,
        },
        metrics::MetricsSet,
        projection::ProjectionExec,
        statistics::{ChildStats, StatisticsArgs, StatisticsContext},
    },
};

use crate::{
    shield::shielded,
    watched_stream::{StreamWatch, WatchedStream},
};

/// What a plan is wrapped for.
pub(crate) trait ExecuteHook: Clone + Send + Sync + 'static {
    /// Watches one partition.
    type Watch: StreamWatch;

    /// A partition of the plan is about to be executed. `None` leaves it alone.
    fn watch(&self, inner: &Arc<dyn ExecutionPlan>, partition: usize) -> Option<Self::Watch>;

    /// The context that the partition is executed with.
    fn context(&self, _watch: &Self::Watch, context: Arc<TaskContext>) -> Arc<TaskContext> {
        context
    }

    /// The plan and the hook of a plan that was reset to be executed once more.
    fn reset(&self, inner: Arc<dyn ExecutionPlan>) -> (Arc<dyn ExecutionPlan>, Self) {
        (inner, self.clone())
    }
}

/// Looks like the plan inside to downcasts, displays and rewrites.
///
/// Every method of the trait is delegated: a default method of the trait would answer for an operator that the inner
/// plan is not. A plan that a method returns in place of the inner one has the same hook.
pub(crate) struct HookedExec<H> {
    inner: Arc<dyn ExecutionPlan>,
    hook: H,
}

impl<H: ExecuteHook> HookedExec<H> {
    pub(crate) fn wrap(inner: Arc<dyn ExecutionPlan>, hook: H) -> Arc<dyn ExecutionPlan> {
        Arc::new(Self { inner, hook })
    }

    /// The wrapper itself, which the downcasts of plans pass through.
    pub(crate) fn of(plan: &dyn ExecutionPlan) -> Option<&Self> {
        (plan as &dyn Any).downcast_ref()
    }

    pub(crate) fn inner(&self) -> &Arc<dyn ExecutionPlan> {
        &self.inner
    }

    pub(crate) fn hook(&self) -> &H {
        &self.hook
    }

    fn rewrap(&self, inner: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        Self::wrap(inner, self.hook.clone())
    }
}

impl<H> fmt::Debug for HookedExec<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl<H> DisplayAs for HookedExec<H> {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_as(format, f)
    }
}

impl<H: ExecuteHook> ExecutionPlan for HookedExec<H> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn downcast_delegate(&self) -> Option<&dyn ExecutionPlan> {
        // What makes the wrapper invisible: `plan.is::<SortExec>()` and every downcast of DataFusion's own rules
        // look through it.
        Some(self.inner.as_ref())
    }

    fn schema(&self) -> SchemaRef {
        self.inner.schema()
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.inner.properties()
    }

    fn check_invariants(&self, check: InvariantLevel) -> Result<()> {
        self.inner.check_invariants(check)
    }

    fn dynamic_expressions_produced(&self) -> Vec<Arc<dyn PhysicalExpr>> {
        self.inner.dynamic_expressions_produced()
    }

    // Deprecated in the trait; answered by the method that has replaced it.
    fn required_input_distribution(&self) -> Vec<Distribution> {
        self.inner.input_distribution_requirements().per_child_distributions().cloned().collect()
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        self.inner.input_distribution_requirements()
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        self.inner.required_input_ordering()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        self.inner.maintains_input_order()
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        self.inner.benefits_from_input_partitioning()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.inner.children()
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.inner.apply_expressions(f)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        // A rule that runs on the finished plan, such as one for dynamic filters, rebuilds it: without this the
        // rebuilt plan would not be observed.
        let inner = Arc::clone(&self.inner).replace_children(children, options)?;
        Ok(self.rewrap(inner))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn with_new_children_and_same_properties(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep))
    }

    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        // DataFusion resets the plan of a recursive query before each iteration, to execute it as if it were new.
        let (inner, hook) = self.hook.reset(Arc::clone(&self.inner).reset_state()?);
        Ok(Self::wrap(inner, hook))
    }

    fn repartitioned(
        &self,
        target_partitions: usize,
        config: &ConfigOptions,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        // Each method that returns a plan wraps it again. One that is left to the trait's default would return the
        // plan below, and the query would no longer be observed without anybody noticing.
        Ok(self.inner.repartitioned(target_partitions, config)?.map(|inner| self.rewrap(inner)))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        // Shielded apart from the execution, so that a panic of ours leaves the query as it would be without us.
        let watch = shielded("what watches a query", || self.hook.watch(&self.inner, partition)).flatten();
        match watch {
            Some(watch) => {
                let given = Arc::clone(&context);
                let context = shielded("the context of a query", || self.hook.context(&watch, context));
                let context = context.unwrap_or(given);
                WatchedStream::execute(watch, || self.inner.execute(partition, context))
            }
            None => self.inner.execute(partition, context),
        }
    }

    fn metrics(&self) -> Option<MetricsSet> {
        self.inner.metrics()
    }

    // Deprecated in the trait; answered by what has replaced it.
    fn partition_statistics(&self, partition: Option<usize>) -> Result<Arc<Statistics>> {
        let args = StatisticsArgs::new().with_partition(partition);
        StatisticsContext::new().compute(self.inner.as_ref(), &args)
    }

    fn statistics_from_inputs(
        &self,
        inputs: &[Arc<Statistics>],
        args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        self.inner.statistics_from_inputs(inputs, args)
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        self.inner.child_stats_requests(partition)
    }

    fn supports_limit_pushdown(&self) -> bool {
        self.inner.supports_limit_pushdown()
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        self.inner.with_fetch(limit).map(|inner| self.rewrap(inner))
    }

    fn fetch(&self) -> Option<usize> {
        self.inner.fetch()
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        self.inner.cardinality_effect()
    }

    fn try_swapping_with_projection(
        &self,
        projection: &ProjectionExec,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        Ok(self.inner.try_swapping_with_projection(projection)?.map(|inner| self.rewrap(inner)))
    }

    fn gather_filters_for_pushdown(
        &self,
        phase: FilterPushdownPhase,
        parent_filters: Vec<Arc<dyn PhysicalExpr>>,
        config: &ConfigOptions,
    ) -> Result<FilterDescription> {
        self.inner.gather_filters_for_pushdown(phase, parent_filters, config)
    }

    fn handle_child_pushdown_result(
        &self,
        phase: FilterPushdownPhase,
        child_pushdown_result: ChildPushdownResult,
        config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        let FilterPushdownPropagation { filters, updated_node } =
            self.inner.handle_child_pushdown_result(phase, child_pushdown_result, config)?;
        let updated_node = updated_node.map(|inner| self.rewrap(inner));
        Ok(FilterPushdownPropagation { filters, updated_node })
    }

    fn with_new_state(&self, state: Arc<dyn Any + Send + Sync>) -> Option<Arc<dyn ExecutionPlan>> {
        self.inner.with_new_state(state).map(|inner| self.rewrap(inner))
    }

    fn try_pushdown_sort(
        &self,
        order: &[PhysicalSortExpr],
    ) -> Result<SortOrderPushdownResult<Arc<dyn ExecutionPlan>>> {
        Ok(self.inner.try_pushdown_sort(order)?.map(|inner| self.rewrap(inner)))
    }

    fn with_preserve_order(&self, preserve_order: bool) -> Option<Arc<dyn ExecutionPlan>> {
        self.inner.with_preserve_order(preserve_order).map(|inner| self.rewrap(inner))
    }
}
