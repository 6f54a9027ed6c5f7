//! Joins that give way: what is computed for somebody who is gone ends there.
//!
//! DataFusion ends the work of a stream that is dropped where its task waits for something. A join of many rows with many others
//! computes for minutes without that, and so does everything above it in the same task.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arrow::array::RecordBatch;
use datafusion::{
    common::tree_node::{Transformed, TreeNode as _},
    physical_plan::{ChildrenPropertiesMode, ExecutionPlan, ReplaceChildrenOptions},
};

use crate::{
    hooked_exec::{ExecuteHook, HookedExec},
    watched_stream::{StreamEnd, StreamWatch},
};

/// How long an input or the output of a join is read without a pause.
const INTERVAL: Duration = Duration::from_millis(100);

/// The plan in which joins, and what they read, give way ten times in a second, so that it ends soon when it is dropped. It looks as it did
/// before to everything else.
pub fn giving_way(plan: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    let with_pauses = Arc::clone(&plan).transform_up(|node| {
        if node.children().len() < 2 {
            return Ok(Transformed::no(node));
        }
        let inputs = node.children().into_iter().map(|input| pausing(Arc::clone(input))).collect();
        let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep);
        Ok(Transformed::yes(pausing(node.replace_children(inputs, options)?)))
    });
    // An operator that does not take its own inputs computes as it likes.
    with_pauses.map_or(plan, |plan| plan.data)
}

fn pausing(plan: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    if HookedExec::<Pauses>::of(plan.as_ref()).is_some() { plan } else { HookedExec::wrap(plan, Pauses) }
}

#[derive(Clone)]
struct Pauses;

impl ExecuteHook for Pauses {
    type Watch = Partition;

    fn watch(&self, _: &Arc<dyn ExecutionPlan>, _: usize) -> Option<Partition> {
        Some(Partition { since: Instant::now() })
    }
}

struct Partition {
    /// When it last paused.
    since: Instant,
}

impl StreamWatch for Partition {
    fn pauses(&mut self) -> bool {
        let pauses = self.since.elapsed() >= INTERVAL;
        if pauses {
            self.since = Instant::now();
        }
        pauses
    }

    fn poll_ends(&mut self, is_pending: bool) {
        if is_pending {
            self.since = Instant::now();
        }
    }

    fn batch(&mut self, _: &RecordBatch) {}

    fn ended(self, _: StreamEnd<'_>) {}
}

#[cfg(test)]
mod tests {
    use datafusion::{
        arrow::datatypes::Schema,
        physical_plan::{empty::EmptyExec, joins::CrossJoinExec, placeholder_row::PlaceholderRowExec},
    };

    use super::*;

    #[test]
    fn what_is_read_for_long_pauses_once() {
        let mut partition = Partition { since: Instant::now() };
        assert!(!partition.pauses());
        partition.since = Instant::now().checked_sub(INTERVAL).unwrap();
        assert!(partition.pauses());
        assert!(!partition.pauses());
        // It waited, and has paused by that.
        partition.since = Instant::now().checked_sub(INTERVAL).unwrap();
        partition.poll_ends(true);
        assert!(!partition.pauses());
    }

    #[test]
    fn joins_and_their_inputs_pause_and_nothing_else_does() {
        let schema = Arc::new(Schema::empty());
        let one = || Arc::new(PlaceholderRowExec::new(Arc::clone(&schema))) as Arc<dyn ExecutionPlan>;
        let join =
            giving_way(Arc::new(CrossJoinExec::new(one(), Arc::new(EmptyExec::new(Arc::clone(&schema))))));
        let pauses = |plan: &Arc<dyn ExecutionPlan>| HookedExec::<Pauses>::of(plan.as_ref()).is_some();
        assert!(pauses(&join) && join.is::<CrossJoinExec>());
        assert!(join.children().into_iter().all(pauses));
        assert!(!pauses(&giving_way(one())));
    }
}
