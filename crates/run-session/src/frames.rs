//! Frames that nodes have handed out: the query that executes one later still belongs to its node.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use daglight_plan_diagnostics::PlannedQuery;
use datafusion::logical_expr::LogicalPlan;

use crate::node_scope::NodeScope;

/// The frames of a run that were not executed so far, or may be again.
#[derive(Default)]
pub(crate) struct Frames(Mutex<Vec<Frame>>);

struct Frame {
    plan: LogicalPlan,
    node: Arc<NodeScope>,
}

impl Frames {
    /// Notes what a node hands out. A node has one frame: the last.
    pub(crate) fn add(&self, plan: LogicalPlan, node: &Arc<NodeScope>) {
        let mut frames = self.lock();
        frames.retain(|frame| !Arc::ptr_eq(&frame.node, node));
        frames.push(Frame { plan, node: Arc::clone(node) });
    }

    /// The node whose frame the query executes as it is: it returns its rows, or writes them. A query of something that was
    /// made of the frame, such as its `count()`, is another.
    pub(crate) fn node_of(&self, query: &PlannedQuery) -> Option<Arc<NodeScope>> {
        let frames = self.lock();
        if frames.is_empty() {
            return None;
        }
        let found = frames.iter().rev().find(|frame| query.has_data_of(&frame.plan));
        found.map(|frame| Arc::clone(&frame.node))
    }

    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Frame>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
