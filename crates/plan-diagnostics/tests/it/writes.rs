//! The rows of writes: those that the sink says it has written.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use arrow::{
    array::{ArrayRef, RecordBatch, UInt64Array},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use async_trait::async_trait;
use daglight_plan_diagnostics::QueryOutcome;
use datafusion::{
    catalog::{Session, TableProvider, streaming::StreamingTable},
    datasource::TableType,
    error::{DataFusionError, Result},
    execution::{SendableRecordBatchStream, TaskContext},
    logical_expr::{Expr, dml::InsertOp},
    physical_expr::EquivalenceProperties,
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, execute_stream,
        execution_plan::{Boundedness, EmissionType},
        stream::RecordBatchStreamAdapter,
        streaming::PartitionStream,
    },
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::Notify;

use crate::support::{only, run, session};

#[tokio::test]
async fn every_format_counts_the_rows_that_it_writes() {
    let (ctx, seen, _) = session();
    let dir = tempfile::tempdir().unwrap();
    for format in ["parquet", "csv", "json", "arrow"] {
        let target = dir.path().join(format!("out.{format}"));
        run(&ctx, &format!("COPY (SELECT value FROM generate_series(1, 5000)) TO '{}'", target.display()))
            .await;
        let report = only(&seen);
        assert_eq!(
            (report.rows, seen.tapped_rows(), report.rows_read),
            (Some(5000), 5000, Some(5000)),
            "{format}"
        );
        // Only the sink of Parquet says how many bytes it has written; those in memory are not bytes written.
        assert_eq!(report.bytes_written.is_some(), format == "parquet", "{format}");
        assert_eq!(report.bytes_returned, None, "{format}");
    }
}

/// A source that sends three rows, and no more until it is released.
struct Pausing(SchemaRef, Arc<Notify>);

impl fmt::Debug for Pausing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pausing")
    }
}

impl PartitionStream for Pausing {
    fn schema(&self) -> &SchemaRef {
        &self.0
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (schema, go_on) = (Arc::clone(&self.0), Arc::clone(&self.1));
        let batch = RecordBatch::try_new(schema, vec![Arc::new(UInt64Array::from(vec![1, 2, 3]))]);
        let first = stream::once(async move { Ok(batch?) });
        let then = stream::once(async move { go_on.notified().await }).filter_map(async |()| None);
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.0), first.chain(then)))
    }
}

#[tokio::test]
async fn a_write_that_goes_on_says_how_many_rows_its_sink_has_taken() {
    let (ctx, seen, live) = session();
    let dir = tempfile::tempdir().unwrap();
    let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::UInt64, false)]));
    for format in ["parquet", "csv"] {
        let go_on = Arc::new(Notify::new());
        let source = Arc::new(Pausing(Arc::clone(&schema), Arc::clone(&go_on)));
        let table = StreamingTable::try_new(Arc::clone(&schema), vec![source]).unwrap();
        ctx.register_table("t", Arc::new(table)).unwrap();
        let target = dir.path().join(format!("out.{format}"));
        let sql = format!("COPY t TO '{}'", target.display());
        let writes = tokio::spawn({
            let ctx = ctx.clone();
            async move { run(&ctx, &sql).await }
        });
        let deadline = Instant::now() + Duration::from_secs(20);
        let written = async || loop {
            let written: u64 = live.sample().iter().map(|query| query.rows_written).sum();
            if written > 0 || Instant::now() > deadline {
                return written;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        };
        assert_eq!(written().await, 3, "{format}");
        go_on.notify_one();
        writes.await.unwrap();
        assert_eq!(only(&seen).rows, Some(3), "{format}");
        ctx.deregister_table("t").unwrap();
    }
}

#[tokio::test]
async fn changes_of_tables_count_the_rows_that_they_change() {
    let (ctx, seen, _) = session();
    run(&ctx, "CREATE TABLE t AS SELECT value AS x FROM generate_series(1, 100)").await;
    seen.reports();
    seen.tapped_rows();
    for (sql, rows, tapped, read) in [
        ("INSERT INTO t SELECT value FROM generate_series(101, 1000)", 900, 900, Some(900)),
        ("INSERT INTO t VALUES (1), (2), (3)", 3, 3, Some(0)),
        ("INSERT INTO t SELECT x FROM t WHERE x > 990", 10, 10, Some(1003)),
        ("INSERT INTO t SELECT x FROM t WHERE x < 0", 0, 0, Some(1013)),
        ("UPDATE t SET x = 0 WHERE x > 500", 510, 0, Some(1013)),
        ("DELETE FROM t WHERE x = 0", 510, 0, Some(1013)),
        ("DELETE FROM t WHERE x > 400", 100, 0, Some(503)),
        ("UPDATE t SET x = 1 WHERE x < 0", 0, 0, Some(403)),
        ("DELETE FROM t", 403, 0, Some(403)),
        ("UPDATE t SET x = 1", 0, 0, Some(0)),
    ] {
        let before = ctx.sql("SELECT x FROM t").await.unwrap().count().await.unwrap() as u64;
        seen.reports();
        seen.tapped_rows();
        if !sql.starts_with("INSERT") {
            assert_eq!(read, Some(before), "{sql}");
        }
        run(&ctx, sql).await;
        let report = only(&seen);
        assert_eq!((report.rows, seen.tapped_rows(), report.rows_read), (Some(rows), tapped, read), "{sql}");
    }
}

#[tokio::test]
async fn the_count_that_a_custom_sink_returns_is_not_data() {
    let (ctx, seen, _) = session();
    for (name, counts) in [("counting", true), ("silent", false)] {
        ctx.register_table(name, Arc::new(Store { counts })).unwrap();
        run(&ctx, &format!("INSERT INTO {name} SELECT value FROM generate_series(1, 300)")).await;
        let report = only(&seen);
        assert_eq!((report.rows, seen.tapped_rows()), (counts.then_some(300), 0), "{name}");
        assert_eq!(report.query.schema.field(0).name(), "x");
    }
}

#[tokio::test]
async fn a_write_that_fails_has_no_rows() {
    let (ctx, seen, _) = session();
    run(&ctx, "CREATE TABLE t (x BIGINT)").await;
    seen.reports();
    let failing = "INSERT INTO t SELECT 1 / (value - 5000) FROM generate_series(1, 10000)";
    ctx.sql(failing).await.unwrap().collect().await.unwrap_err();
    let report = only(&seen);
    assert!(matches!(report.outcome, QueryOutcome::Failed { .. }));
    assert_eq!(report.rows, None);
}

/// A table whose rows go nowhere, written by a custom operator. It cannot be scanned.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) counts: bool,
}

#[async_trait]
impl TableProvider for Store {
    fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, true)]))
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        _: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Err(DataFusionError::NotImplemented("it keeps no rows".into()))
    }

    async fn insert_into(
        &self,
        _: &dyn Session,
        input: Arc<dyn ExecutionPlan>,
        _: InsertOp,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(StoreExec::new(input, self.counts)))
    }
}

#[derive(Debug, Clone)]
struct StoreExec {
    input: Arc<dyn ExecutionPlan>,
    counts: bool,
    properties: Arc<PlanProperties>,
}

impl StoreExec {
    fn new(input: Arc<dyn ExecutionPlan>, counts: bool) -> Self {
        let data_type = if counts { DataType::UInt64 } else { DataType::Utf8 };
        let schema = Arc::new(Schema::new(vec![Field::new("count", data_type, false)]));
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Self { input, counts, properties: Arc::new(properties) }
    }
}

impl DisplayAs for StoreExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreExec")
    }
}

impl ExecutionPlan for StoreExec {
    fn name(&self) -> &str {
        "StoreExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(
            &Arc<dyn datafusion::physical_expr::PhysicalExpr>,
        ) -> Result<datafusion::common::tree_node::TreeNodeRecursion>,
    ) -> Result<datafusion::common::tree_node::TreeNodeRecursion> {
        Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self::new(Arc::clone(&children[0]), self.counts)))
    }

    fn execute(&self, _: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = execute_stream(Arc::clone(&self.input), context)?;
        let counts = self.counts;
        let schema = self.schema();
        let result = async move {
            let rows: usize =
                input.map_ok(|batch| batch.num_rows()).try_fold(0, async |a, b| Ok(a + b)).await?;
            let column: ArrayRef = match counts {
                true => Arc::new(UInt64Array::from(vec![rows as u64])),
                false => Arc::new(arrow::array::StringArray::from(vec!["done"])),
            };
            Ok(RecordBatch::try_from_iter([("count", column)])?)
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, stream::once(result).boxed())))
    }
}
