//! Counts the rows of scans that do not count them themselves, as those of tables in memory.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use arrow::array::RecordBatch;
use datafusion::{
    error::Result,
    physical_plan::{ChildrenPropertiesMode, ExecutionPlan, ReplaceChildrenOptions},
};

use crate::{
    hooked_exec::{ExecuteHook, HookedExec},
    sources::{Leaf, counts_rows},
    tap::below_hooks,
    watched_stream::{StreamEnd, StreamWatch},
};

/// The plan with a counter at each scan that has none. `leaves` are those of the plan, in pre-order.
pub(crate) fn counted(plan: Arc<dyn ExecutionPlan>, leaves: &[Leaf]) -> Result<Arc<dyn ExecutionPlan>> {
    with_counters(plan, &mut leaves.iter())
}

/// The rows that a counted scan has given, in all of its executions.
pub(crate) fn counted_rows(plan: &dyn ExecutionPlan) -> Option<u64> {
    HookedExec::<Count>::of(below_hooks(plan)).map(|counted| counted.hook().0.rows.load(Ordering::Relaxed))
}

/// Whether a counted scan was asked for rows, and has none yet.
pub(crate) fn is_waiting(plan: &dyn ExecutionPlan) -> Option<bool> {
    let counted = HookedExec::<Count>::of(below_hooks(plan))?;
    Some(counted.hook().0.waiting.load(Ordering::Relaxed) > 0)
}

fn with_counters(
    plan: Arc<dyn ExecutionPlan>,
    leaves: &mut std::slice::Iter<'_, Leaf>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let children: Vec<_> = plan.children().into_iter().cloned().collect();
    if children.is_empty() {
        // The leaves are in the order of this walk, and each must be taken, also those that need no counter.
        let is_scan = matches!(leaves.next(), Some(Leaf::Scan(_)));
        let wants_counter = is_scan && !counts_rows(plan.as_ref());
        return Ok(if wants_counter { HookedExec::wrap(plan, Count::default()) } else { plan });
    }
    let with: Vec<_> =
        children.iter().cloned().map(|child| with_counters(child, leaves)).collect::<Result<_>>()?;
    // Rebuilt only on the way to a counter: some operators keep a state that a copy of them would not share.
    if with.iter().zip(&children).all(|(with, without)| Arc::ptr_eq(with, without)) {
        return Ok(plan);
    }
    plan.replace_children(with, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep))
}

/// Counts over all partitions and executions.
#[derive(Clone, Default)]
struct Count(Arc<Counts>);

#[derive(Default)]
struct Counts {
    rows: AtomicU64,
    /// Partitions that were asked for rows and have none yet, be it that they block who asks.
    waiting: AtomicU64,
}

/// One partition of a scan.
struct Counting {
    counts: Arc<Counts>,
    is_waiting: bool,
}

impl Counting {
    fn wait(&mut self, is_waiting: bool) {
        match (std::mem::replace(&mut self.is_waiting, is_waiting), is_waiting) {
            (false, true) => _ = self.counts.waiting.fetch_add(1, Ordering::Relaxed),
            (true, false) => _ = self.counts.waiting.fetch_sub(1, Ordering::Relaxed),
            _ => {}
        }
    }
}

impl ExecuteHook for Count {
    type Watch = Counting;

    fn watch(&self, _: &Arc<dyn ExecutionPlan>, _: usize) -> Option<Counting> {
        Some(Counting { counts: Arc::clone(&self.0), is_waiting: false })
    }
}

impl StreamWatch for Counting {
    fn poll_begins(&mut self) {
        self.wait(true);
    }

    fn poll_ends(&mut self, is_pending: bool) {
        self.wait(is_pending);
    }

    fn batch(&mut self, batch: &RecordBatch) {
        self.counts.rows.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
    }

    fn ended(mut self, _: StreamEnd<'_>) {
        self.wait(false);
    }
}
