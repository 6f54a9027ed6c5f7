//! The hooks that see the data of a query below its root.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use daglight_run_bundle::WarningCode;
use datafusion::{
    datasource::sink::DataSinkExec,
    physical_plan::{
        ChildrenPropertiesMode, ExecutionPlan, ReplaceChildrenOptions, analyze::AnalyzeExec,
        coalesce_partitions::CoalescePartitionsExec,
    },
};

use crate::{
    data_tap::{DataTap, PartitionTap},
    hooked_exec::{ExecuteHook, HookedExec},
    planned_query::PlannedQuery,
    watched_stream::{StreamEnd, StreamWatch},
};

/// What the hooks below the root of a plan bring data to: the execution of a query.
pub(crate) trait DataReceiver: Send + Sync {
    /// Who sees the data, if somebody does.
    fn tap(&self) -> Option<Arc<dyn DataTap>>;

    /// Counts what the query returns.
    fn add_result(&self, batch: &RecordBatch);

    /// Counts the rows that its sink takes in.
    fn add_written(&self, rows: u64);
}

/// The run that a plan is executed for at this moment, for the hooks below its root.
#[derive(Clone, Default)]
pub(crate) struct RunSlot(Arc<Mutex<Option<Weak<dyn DataReceiver>>>>);

impl RunSlot {
    pub(crate) fn set(&self, run: &Arc<dyn DataReceiver>) {
        // Weak: the slot is part of the plan, and a run holds the plan while it lasts. The two would keep each other
        // for ever.
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::downgrade(run));
    }

    fn run(&self) -> Option<Arc<dyn DataReceiver>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref()?.upgrade()
    }
}

/// Puts the hooks where the data of the query are: at the root, or below it where the root writes or analyses them. A
/// plan that takes no other child stays as it is, and its data are not seen.
pub(crate) fn wired(
    plan: Arc<dyn ExecutionPlan>,
    query: &PlannedQuery,
    with_tap: bool,
    slot: &RunSlot,
) -> Arc<dyn ExecutionPlan> {
    if query.analyzed && plan.is::<AnalyzeExec>() {
        // The root of `EXPLAIN ANALYZE` returns a text. The rows of the query are those that go into it.
        return with_only_child(plan, &|input| {
            HookedExec::wrap(tapped(input, query, with_tap, slot), Results(slot.clone()))
        });
    }
    tapped(plan, query, with_tap, slot)
}

/// The same hooks for another slot, in a plan that was reset.
pub(crate) fn rewired(plan: Arc<dyn ExecutionPlan>, slot: &RunSlot) -> Arc<dyn ExecutionPlan> {
    if let Some(tapped) = HookedExec::<Tap>::of(plan.as_ref()) {
        return HookedExec::wrap(Arc::clone(tapped.inner()), Tap(slot.clone()));
    }
    if let Some(results) = HookedExec::<Results>::of(plan.as_ref()) {
        return HookedExec::wrap(rewired(Arc::clone(results.inner()), slot), Results(slot.clone()));
    }
    let is_passed =
        plan.is::<AnalyzeExec>() || plan.is::<DataSinkExec>() || plan.is::<CoalescePartitionsExec>();
    if is_passed { with_only_child(plan, &|child| rewired(child, slot)) } else { plan }
}

/// The plan below the hooks that see data, if it has some.
pub(crate) fn below_hooks(plan: &dyn ExecutionPlan) -> &dyn ExecutionPlan {
    let tapped = HookedExec::<Tap>::of(plan).map(HookedExec::inner);
    match tapped.or_else(|| HookedExec::<Results>::of(plan).map(HookedExec::inner)) {
        Some(inner) => below_hooks(inner.as_ref()),
        None => plan,
    }
}

/// The data of a write are what a sink takes in, and they are counted: most sinks say how many rows they have written when they are
/// done. What other writes return is a count, and no data.
fn tapped(
    plan: Arc<dyn ExecutionPlan>,
    query: &PlannedQuery,
    with_tap: bool,
    slot: &RunSlot,
) -> Arc<dyn ExecutionPlan> {
    let tap = |plan| HookedExec::wrap(plan, Tap(slot.clone()));
    match query.kind.is_write() {
        false if with_tap => tap(plan),
        // Below a `CoalescePartitionsExec` the partitions are seen in parallel.
        // A sink returns one row, the count. The data are what goes into it.
        true if plan.is::<DataSinkExec>() => with_only_child(plan, &|input| {
            if input.is::<CoalescePartitionsExec>() { with_only_child(input, &tap) } else { tap(input) }
        }),
        _ => plan,
    }
}

/// The plan with another child, or as it is where it has not just one, or takes no other.
fn with_only_child(
    plan: Arc<dyn ExecutionPlan>,
    change: &dyn Fn(Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan>,
) -> Arc<dyn ExecutionPlan> {
    let [child] = plan.children()[..] else { return plan };
    let changed = change(Arc::clone(child));
    // The wrapper has the properties of what it wraps, so computing those of the parent anew, ordering and
    // statistics among them, could only lose something.
    let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep);
    match Arc::clone(&plan).replace_children(vec![changed], options) {
        Ok(with) => with,
        Err(_) => {
            tracing::warn!(
                warning.code = WarningCode::FactsLeftOut.name(),
                "the data of a query is not summarised: its plan does not accept another child"
            );
            plan
        }
    }
}

/// Shows the data to the tap of the run.
#[derive(Clone)]
struct Tap(RunSlot);

impl ExecuteHook for Tap {
    type Watch = Tapping;

    fn watch(&self, _: &Arc<dyn ExecutionPlan>, partition: usize) -> Option<Tapping> {
        let run = self.0.run()?;
        Some(Tapping { tap: run.tap(), run, partition, opened: None })
    }
}

struct Tapping {
    run: Arc<dyn DataReceiver>,
    tap: Option<Arc<dyn DataTap>>,
    partition: usize,
    opened: Option<Box<dyn PartitionTap>>,
}

impl StreamWatch for Tapping {
    fn opened(&mut self, schema: &SchemaRef) {
        self.opened = self.tap.as_ref().map(|tap| tap.open(schema, self.partition));
    }

    fn batch(&mut self, batch: &RecordBatch) {
        self.run.add_written(batch.num_rows() as u64);
        if let Some(opened) = &mut self.opened {
            opened.batch(batch);
        }
    }

    /// Dropping a partition's tap is its end, in which it may do some work.
    fn ended(self, _: StreamEnd<'_>) {}
}

/// Adds what an analysed query returns to its run.
#[derive(Clone)]
struct Results(RunSlot);

impl ExecuteHook for Results {
    type Watch = Adding;

    fn watch(&self, _: &Arc<dyn ExecutionPlan>, _: usize) -> Option<Adding> {
        self.0.run().map(Adding)
    }
}

struct Adding(Arc<dyn DataReceiver>);

impl StreamWatch for Adding {
    fn batch(&mut self, batch: &RecordBatch) {
        self.0.add_result(batch);
    }

    fn ended(self, _: StreamEnd<'_>) {}
}
