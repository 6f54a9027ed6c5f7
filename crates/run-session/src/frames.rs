//! Frames that nodes have handed out: the query that executes one later still belongs to its node.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use daglight_plan_diagnostics::PlannedQuery;
use datafusion::logical_expr::LogicalPlan;

use crate::node_scope::NodeScope;

/// Frames of a run that are kept, the last ones.
const MAX_FRAMES: usize = 1_000;

/// The frames of a run that were not executed so far, or may be again.
#[derive(Default)]
pub(crate) struct Frames(Mutex<State>);

#[derive(Default)]
struct State {
    frames: Vec<Frame>,
    is_closed: bool,
}

struct Frame {
    plan: LogicalPlan,
    node: Arc<NodeScope>,
}

impl Frames {
    /// Notes what a node hands out, unless the run is over. A node has one frame: the last, of all its attempts.
    pub(crate) fn add(&self, plan: LogicalPlan, node: &Arc<NodeScope>) {
        let mut state = self.lock();
        if state.is_closed {
            return;
        }
        let mut left_out: Vec<Frame> =
            state.frames.extract_if(.., |frame| frame.node.name == node.name).collect();
        if state.frames.len() >= MAX_FRAMES {
            left_out.push(state.frames.remove(0));
        }
        state.frames.push(Frame { plan, node: Arc::clone(node) });
        drop(state);
        // Nothing is to be expected of the others any more.
        left_out
            .iter()
            .filter(|frame| !Arc::ptr_eq(&frame.node, node))
            .for_each(|frame| frame.node.forget_frame());
    }

    /// The node whose frame the query executes as it is: it returns its rows, or writes them. A query of something that was
    /// made of the frame, such as its `count()`, is another.
    pub(crate) fn node_of(&self, query: &PlannedQuery) -> Option<Arc<NodeScope>> {
        let state = self.lock();
        if state.frames.is_empty() {
            return None;
        }
        let found = state.frames.iter().rev().find(|frame| query.has_data_of(&frame.plan));
        found.map(|frame| Arc::clone(&frame.node))
    }

    /// The run is over: no frame is kept from now on.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        let frames = std::mem::take(&mut state.frames);
        drop(state);
        // With what their plans hold.
        drop(frames);
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().frames.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
