//! Frames that nodes have handed out: the query that executes one later still belongs to its node.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use daglight_plan_diagnostics::PlannedQuery;
use datafusion::{
    common::tree_node::TreeNodeRecursion,
    logical_expr::{LogicalPlan, TableSource},
};

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
        let plan = data_of(query.unoptimized.as_ref()?);
        let found = frames.iter().rev().find(|frame| is_same(&frame.plan, plan));
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

/// The plan of the rows: what a write takes in.
fn data_of(plan: &LogicalPlan) -> &LogicalPlan {
    match plan {
        LogicalPlan::Copy(copy) => &copy.input,
        LogicalPlan::Dml(dml) => &dml.input,
        other => other,
    }
}

/// Plans are compared by what they do; two tables of one name, as those that are read from files without a name, by which
/// they are.
fn is_same(a: &LogicalPlan, b: &LogicalPlan) -> bool {
    a == b && {
        let (a, b) = (sources(a), sources(b));
        a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| Arc::ptr_eq(a, b))
    }
}

fn sources(plan: &LogicalPlan) -> Vec<Arc<dyn TableSource>> {
    let mut sources = Vec::new();
    let visited = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            sources.push(Arc::clone(&scan.source));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    debug_assert!(visited.is_ok(), "the visitor returns no error");
    sources
}
