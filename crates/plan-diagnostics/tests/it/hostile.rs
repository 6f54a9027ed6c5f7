//! Observers that panic or execute queries themselves, and plans that are not executed as DataFusion does it.

use std::{
    fmt,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

use arrow::{
    array::{Int64Array, RecordBatch},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use async_trait::async_trait;
use daglight_plan_diagnostics::{
    DataTap, LiveQueries, MeasuredQuery, Observation, PartitionTap, PlannedQuery, QueryListener,
    QueryObserver, QueryOutcome, instrument,
};
use datafusion::{
    catalog::{Session, TableProvider},
    common::tree_node::TreeNodeRecursion,
    datasource::TableType,
    error::{DataFusionError, Result},
    execution::{SendableRecordBatchStream, TaskContext, session_state::SessionStateBuilder},
    logical_expr::Expr,
    physical_expr::{EquivalenceProperties, PhysicalExpr},
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, collect,
        execution_plan::{Boundedness, EmissionType},
        stream::RecordBatchStreamAdapter,
    },
    prelude::SessionContext,
};
use futures::{FutureExt as _, StreamExt as _, stream};

use crate::support::{Shared, session};

/// Where an observer panics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Planned,
    Started,
    Ended,
    Open,
    Batch,
    TapDropped,
    Nowhere,
}

#[derive(Debug, Clone)]
struct Panicking(At, Arc<AtomicU64>);

impl Panicking {
    fn reach(&self, place: At) {
        assert!(self.0 != place, "a planted panic at {place:?}");
    }
}

impl QueryObserver for Panicking {
    fn planned(&self, _: &Arc<PlannedQuery>) -> Option<Observation> {
        self.reach(At::Planned);
        Some(Observation { listener: Arc::new(self.clone()), tap: Some(Arc::new(self.clone())) })
    }
}

impl QueryListener for Panicking {
    fn started(&self) {
        self.reach(At::Started);
    }

    fn ended(&self, _: MeasuredQuery) {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.reach(At::Ended);
    }
}

impl DataTap for Panicking {
    fn open(&self, _: &SchemaRef, _: usize) -> Box<dyn PartitionTap> {
        self.reach(At::Open);
        Box::new(Tap(self.clone()))
    }
}

struct Tap(Panicking);

impl PartitionTap for Tap {
    fn batch(&mut self, _: &RecordBatch) {
        self.0.reach(At::Batch);
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.0.reach(At::TapDropped);
    }
}

#[tokio::test]
async fn a_panic_of_what_observes_does_not_reach_the_query() {
    for at in [At::Planned, At::Started, At::Ended, At::Open, At::Batch, At::TapDropped, At::Nowhere] {
        let observer = Panicking(at, Arc::default());
        let state = instrument(
            SessionStateBuilder::new_with_default_features(),
            Arc::new(observer.clone()),
            LiveQueries::new(),
        )
        .build();
        let ctx = SessionContext::new_with_state(state);
        for sql in [
            "SELECT value % 3 AS k, count(*) FROM generate_series(1, 5000) GROUP BY k",
            "CREATE TABLE t AS SELECT value FROM generate_series(1, 10)",
            "INSERT INTO t SELECT value FROM generate_series(1, 10)",
            "EXPLAIN ANALYZE SELECT * FROM t",
        ] {
            let frame = ctx.sql(sql).await.unwrap_or_else(|error| panic!("{at:?}: {sql}: {error}"));
            frame.collect().await.unwrap_or_else(|error| panic!("{at:?}: {sql}: {error}"));
        }
        assert_eq!(ctx.table("t").await.unwrap().count().await.unwrap(), 20, "{at:?}");
        let ended = if at == At::Planned { 0 } else { 5 };
        assert_eq!(observer.1.load(Ordering::Relaxed), ended, "{at:?}");
    }
}

/// Executes the plan that it listens to, at each of its starts and ends and when it is executed once more.
#[derive(Debug, Clone, Default)]
struct Reentrant(Arc<Held>);

#[derive(Debug, Default)]
struct Held {
    plan: OnceLock<Arc<dyn ExecutionPlan>>,
    calls: AtomicU64,
}

impl Reentrant {
    fn execute(&self) {
        let Some(plan) = self.0.plan.get() else { return };
        if self.0.calls.fetch_add(1, Ordering::Relaxed) < 6 {
            let mut stream = plan.execute(0, Arc::default()).unwrap();
            assert!(stream.next().now_or_never().is_some());
        }
    }
}

impl QueryObserver for Reentrant {
    fn planned(&self, _: &Arc<PlannedQuery>) -> Option<Observation> {
        self.execute();
        Some(Observation { listener: Arc::new(self.clone()), tap: None })
    }
}

impl QueryListener for Reentrant {
    fn started(&self) {
        self.execute();
    }

    fn ended(&self, _: MeasuredQuery) {
        self.execute();
    }
}

#[test]
fn a_listener_may_execute_the_plan_that_it_listens_to() {
    let (done, ended) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let observer = Reentrant::default();
            let builder = SessionStateBuilder::new_with_default_features();
            let state = instrument(builder, Arc::new(observer.clone()), LiveQueries::new()).build();
            let ctx = SessionContext::new_with_state(state);
            let frame = ctx.sql("SELECT * FROM (VALUES (1), (2)) AS t(x)").await.unwrap();
            let plan = frame.create_physical_plan().await.unwrap();
            observer.0.plan.set(Arc::clone(&plan)).unwrap();
            for _ in 0..2 {
                let batches = collect(Arc::clone(&plan), ctx.task_ctx()).await.unwrap();
                assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
            }
            assert!(observer.0.calls.load(Ordering::Relaxed) > 6);
        });
        done.send(()).unwrap();
    });
    ended.recv_timeout(Duration::from_secs(60)).expect("a lock is held while a listener is called");
}

/// A table whose plan has two partitions of ten rows, and what else its partitions do.
#[derive(Debug, Clone)]
struct Odd {
    properties: Arc<PlanProperties>,
}

impl Odd {
    fn new() -> Self {
        let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, true)]));
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(2),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self { properties: Arc::new(properties) }
    }
}

#[async_trait]
impl TableProvider for Odd {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.properties.eq_properties.schema())
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
        Ok(Arc::new(self.clone()))
    }
}

impl DisplayAs for Odd {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Odd")
    }
}

impl ExecutionPlan for Odd {
    fn name(&self) -> &str {
        "Odd"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
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

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let schema = TableProvider::schema(self);
        let column = Arc::new(Int64Array::from_iter_values(0..10));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![column])?;
        let batches = match partition {
            0..=2 => stream::iter(vec![Ok(batch)]).boxed(),
            3 => return Err(DataFusionError::Execution("there is no partition 3".into())),
            4 => panic!("a planted panic of execute"),
            // The panic is caught before the stream that panicked is dropped.
            _ => stream::poll_fn(|_| panic!("a planted panic of poll")).boxed(),
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }
}

/// Executes partitions of a plan one by one, dropping the plan at the end, and compares outcome and rows of each query.
async fn check(partitions: &[usize], expected: &[(&str, u64)]) {
    let (ctx, seen, live) = session();
    ctx.register_table("odd", Arc::new(Odd::new())).unwrap();
    let plan = ctx.table("odd").await.unwrap().create_physical_plan().await.unwrap();
    for partition in partitions {
        execute(&plan, *partition).await;
    }
    drop(plan);
    check_reports(&seen, expected, &format!("{partitions:?}"));
    assert!(live.sample().is_empty(), "{partitions:?}");
}

async fn execute(plan: &Arc<dyn ExecutionPlan>, partition: usize) {
    let reading = std::panic::AssertUnwindSafe(async {
        let mut stream = plan.execute(partition, Arc::default())?;
        // A stream that panics is kept until the panic was caught, as by a separate task.
        let read = std::panic::AssertUnwindSafe(async {
            while let Some(batch) = stream.next().await {
                batch?;
            }
            Ok::<_, DataFusionError>(())
        });
        let read = read.catch_unwind().await;
        drop(stream);
        read.unwrap_or(Ok(()))
    });
    // Errors and panics are the plan's own; what they are taken for is in the reports.
    drop(reading.catch_unwind().await);
}

#[track_caller]
fn check_reports(seen: &Shared, expected: &[(&str, u64)], what: &str) {
    let reports = seen.reports();
    let found: Vec<(&str, u64)> =
        reports.iter().map(|report| (report.outcome.name(), report.rows.unwrap())).collect();
    assert_eq!(found, expected, "{what}");
    for report in &reports {
        assert_eq!(report.rows_read, report.rows, "{what}: its own rows, and not those of other executions");
    }
}

#[tokio::test]
async fn partitions_may_be_executed_again_or_never_or_be_out_of_range() {
    check(&[0, 1], &[("completed", 20)]).await;
    check(&[1, 0], &[("completed", 20)]).await;
    // Never.
    check(&[], &[]).await;
    check(&[1], &[("completed", 10)]).await;
    // More than once.
    check(&[0, 0], &[("completed", 10), ("completed", 10)]).await;
    check(&[0, 1, 1, 0], &[("completed", 20), ("completed", 20)]).await;
    check(&[0, 0, 1], &[("completed", 10), ("completed", 20)]).await;
    // Out of range: a stream, an error, a panic of the plan, a panic of the stream.
    check(&[0, 2, 1], &[("completed", 30)]).await;
    check(&[2, 0], &[("completed", 20)]).await;
    check(&[3], &[("failed", 0)]).await;
    // The rest of a query that has failed is not another query.
    check(&[0, 3, 1], &[("failed", 10)]).await;
    check(&[3, 0, 1, 0, 1], &[("failed", 0), ("completed", 20)]).await;
    check(&[0, 3, 0, 1], &[("failed", 10), ("completed", 20)]).await;
    check(&[4], &[("panicked", 0)]).await;
    check(&[0, 4, 0, 1], &[("panicked", 10), ("completed", 20)]).await;
    check(&[5], &[("panicked", 0)]).await;
    check(&[0, 5], &[("panicked", 10)]).await;
}

#[tokio::test]
async fn partitions_of_two_executions_at_once_are_distinguished() {
    let (ctx, seen, _) = session();
    ctx.register_table("odd", Arc::new(Odd::new())).unwrap();
    let plan = ctx.table("odd").await.unwrap().create_physical_plan().await.unwrap();
    let open = |partition| plan.execute(partition, Arc::default()).unwrap();
    let mut streams = vec![open(0), open(0), open(1)];
    for stream in &mut streams {
        while let Some(batch) = stream.next().await {
            batch.unwrap();
        }
    }
    drop(streams);
    drop(plan);
    let found: Mutex<Vec<_>> = Mutex::default();
    seen.reports().iter().for_each(|report| {
        found.lock().unwrap().push((report.outcome.clone(), report.rows.unwrap()));
    });
    let mut found = found.into_inner().unwrap();
    found.sort_by_key(|(_, rows)| *rows);
    assert_eq!(found, [(QueryOutcome::Completed, 10), (QueryOutcome::Completed, 20)]);
}

#[tokio::test]
async fn a_plan_that_is_kept_does_not_make_its_query_longer() {
    let (ctx, seen, _) = session();
    ctx.register_table("odd", Arc::new(Odd::new())).unwrap();
    let plan = ctx.table("odd").await.unwrap().create_physical_plan().await.unwrap();
    execute(&plan, 0).await;
    let read_by = std::time::SystemTime::now();
    std::thread::sleep(Duration::from_millis(50));
    drop(plan);
    let report = seen.reports().remove(0);
    assert!(report.ended_at() <= read_by, "{report:?}");
}
