//! Has the workers write what goes into a folder: each task writes its own files, and only counts come to the client.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use datafusion::{
    catalog::Session,
    datasource::{
        file_format::{csv::CsvSink, json::JsonSink, parquet::ParquetSink},
        physical_plan::{FileSink, FileSinkConfig},
        sink::{DataSink, DataSinkExec},
    },
    error::Result,
    execution::{SessionStateBuilder, context::QueryPlanner},
    functions_aggregate::sum::sum_udaf,
    logical_expr::LogicalPlan,
    physical_expr::{aggregate::AggregateExprBuilder, expressions::col},
    physical_plan::{
        ChildrenPropertiesMode, ExecutionPlan, ExecutionPlanProperties as _, ReplaceChildrenOptions,
        aggregates::{AggregateExec, AggregateMode, PhysicalGroupBy},
        coalesce_partitions::CoalescePartitionsExec,
    },
};
use datafusion_distributed::{
    DistributedExec, NetworkBoundaryExt as _, NetworkCoalesceExec, SessionStateBuilderExt as _,
};

/// The column that a sink returns.
const COUNT: &str = "count";

/// The plan in which the workers write, where a plan writes into a folder what comes from them in any order. `None` for all else.
pub(super) async fn with_worker_sinks(
    plan: &Arc<dyn ExecutionPlan>,
    logical_plan: &LogicalPlan,
    session: &dyn Session,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(tree) = rewired(plan)? else { return Ok(None) };
    // The engine numbers the stages of a plan that has its boundaries already.
    let mut builder = SessionStateBuilder::new()
        .with_config(session.config().clone())
        .with_query_planner(Arc::new(Planned(tree)))
        .with_distributed_planner();
    let Some(planner) = builder.query_planner().take() else { return Ok(None) };
    planner.create_physical_plan(logical_plan, session).await.map(Some)
}

fn rewired(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(root) = plan.downcast_ref::<DistributedExec>().and_then(|root| root.children().first().copied())
    else {
        return Ok(None);
    };
    let Some(sink) = root.downcast_ref::<DataSinkExec>().filter(|sink| writes_folder(sink.sink())) else {
        return Ok(None);
    };
    let mut below = sink.input();
    while below.is::<CoalescePartitionsExec>() {
        let [input] = below.children()[..] else { return Ok(None) };
        below = input;
    }
    let Some(boundary) = below.downcast_ref::<NetworkCoalesceExec>() else { return Ok(None) };
    let boundary: &dyn ExecutionPlan = boundary;
    let Some(boundary) = boundary.as_network_boundary() else { return Ok(None) };
    let (stage, tasks) = (boundary.input_stage().local_plan(), boundary.input_stage().task_count());
    let Some(stage) = stage else { return Ok(None) };
    // A sink takes one partition.
    let mut rows = Arc::clone(stage);
    if rows.output_partitioning().partition_count() > 1 {
        rows = Arc::new(CoalescePartitionsExec::new(rows));
    }
    let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
    let writing = Arc::clone(root).replace_children(vec![rows], options)?;
    let counts: Arc<dyn ExecutionPlan> = Arc::new(NetworkCoalesceExec::try_new(writing, tasks, 1)?);
    sum(Arc::new(CoalescePartitionsExec::new(counts))).map(Some)
}

/// One row with the sum of the counts, as a sink returns one.
fn sum(counts: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = counts.schema();
    let sum = AggregateExprBuilder::new(sum_udaf(), vec![col(COUNT, &schema)?])
        .schema(Arc::clone(&schema))
        .alias(COUNT)
        .build()?;
    let none = PhysicalGroupBy::new_single(Vec::new());
    let sum =
        AggregateExec::try_new(AggregateMode::Single, none, vec![Arc::new(sum)], vec![None], counts, schema)?;
    Ok(Arc::new(sum))
}

/// Whether a sink makes as many files as it likes. One file is written by one machine.
fn writes_folder(sink: &dyn DataSink) -> bool {
    let config: Option<&FileSinkConfig> = sink
        .downcast_ref::<ParquetSink>()
        .map(ParquetSink::config)
        .or_else(|| sink.downcast_ref::<CsvSink>().map(FileSink::config))
        .or_else(|| sink.downcast_ref::<JsonSink>().map(FileSink::config));
    config.is_some_and(|config| {
        let [path] = &config.table_paths[..] else { return false };
        !config.file_output_mode.single_file_output(path)
    })
}

/// Gives a plan that is there already.
struct Planned(Arc<dyn ExecutionPlan>);

impl fmt::Debug for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Planned").finish_non_exhaustive()
    }
}

#[async_trait]
impl QueryPlanner for Planned {
    async fn create_physical_plan(&self, _: &LogicalPlan, _: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::clone(&self.0))
    }
}
