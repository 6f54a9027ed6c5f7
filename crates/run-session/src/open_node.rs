//! A node that has started and not ended, and the list of those of a run.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use daglight_heartbeat::{NodeProgress, TaskGuard};
use daglight_otel_bridge::StageSpan;

use crate::{active_polls::poll, node_scope::NodeScope, ran_for::RanFor};

/// A node that has started. The end of the run ends it too, where its own code does not come to it.
pub(crate) struct OpenNode {
    pub(crate) scope: Arc<NodeScope>,
    pub(crate) ran_for: RanFor,
    /// Whether the tracker knows the node.
    pub(crate) tracked: bool,
    pub(crate) attempt: u64,
    /// What lives as long as the node runs.
    open: Mutex<Option<OpenSpan>>,
}

pub(crate) struct OpenSpan {
    pub(crate) span: StageSpan,
    pub(crate) _task: Option<TaskGuard>,
}

impl OpenNode {
    pub(crate) fn new(
        scope: Arc<NodeScope>,
        ran_for: RanFor,
        tracked: bool,
        attempt: u64,
        open: OpenSpan,
    ) -> Self {
        Self { scope, ran_for, tracked, attempt, open: Mutex::new(Some(open)) }
    }

    pub(crate) fn name(&self) -> &str {
        &self.scope.name
    }

    pub(crate) fn scope(&self) -> &NodeScope {
        &self.scope
    }

    /// How long it has run.
    pub(crate) fn elapsed(&self) -> Duration {
        self.ran_for.elapsed()
    }

    /// Whether it has not ended.
    pub(crate) fn is_open(&self) -> bool {
        self.open().is_some()
    }

    /// How far its code is.
    pub(crate) fn progress(&self) -> NodeProgress {
        NodeProgress {
            name: self.scope.name.clone(),
            marks: self.scope.progress.count(),
            polls: self.scope.polls.active().into_iter().map(poll).collect(),
            busy: self.scope.polls.busy(),
            stall_after: self.scope.progress.stall_after(),
            tasks: self.scope.progress.tasks(),
            planning: None,
        }
    }

    /// What its work is to the run.
    pub(crate) fn stage(&self) -> &'static str {
        self.scope.stage
    }

    /// How long it has run until now, where a signal has come that ends it.
    pub(crate) fn interrupted_after(&self) -> Duration {
        self.ran_for.interrupted()
    }

    /// What lives as long as it runs; `None` where it was ended already, by its own code, the end of the run, or a signal.
    pub(crate) fn take_open(&self) -> Option<OpenSpan> {
        self.open().take()
    }

    /// Whether the node was started again before this attempt ended.
    pub(crate) fn is_overtaken(&self) -> bool {
        let records = self.scope.run.log.records();
        self.tracked && records.nodes.get(&self.scope.name).is_some_and(|node| node.attempts != self.attempt)
    }

    fn open(&self) -> MutexGuard<'_, Option<OpenSpan>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The nodes of a run that have not ended.
#[derive(Default)]
pub(crate) struct OpenNodes {
    /// Those that run, in the order in which they started.
    running: Mutex<Vec<Weak<OpenNode>>>,
    /// Nodes whose code has ended, and whose queries go on.
    awaited: Mutex<Vec<Arc<NodeScope>>>,
}

impl OpenNodes {
    pub(crate) fn opened(&self, node: &Arc<OpenNode>) {
        self.running().push(Arc::downgrade(node));
    }

    pub(crate) fn closed(&self, node: &OpenNode) {
        self.running().retain(|open| open.strong_count() > 0 && !std::ptr::eq(open.as_ptr(), node));
    }

    /// Those that run, in the order in which they started.
    pub(crate) fn list(&self) -> Vec<Arc<OpenNode>> {
        self.running().iter().filter_map(Weak::upgrade).collect()
    }

    /// Notes a node whose code has ended before its queries. False where the run is over: nobody would end the node later.
    #[must_use]
    pub(crate) fn wait_for(&self, node: &Arc<NodeScope>) -> bool {
        let mut awaited = self.awaited();
        // The end of the run is marked before it takes the nodes from here.
        if node.run.has_ended() {
            return false;
        }
        // Cleared with each new one, so that a run of many thousand nodes does not keep them all.
        awaited.retain(|node| node.goes_on());
        awaited.push(Arc::clone(node));
        true
    }

    /// The nodes that are waited for, which are not any longer.
    pub(crate) fn take_awaited(&self) -> Vec<Arc<NodeScope>> {
        std::mem::take(&mut *self.awaited())
    }

    /// How many are waited for.
    pub(crate) fn held(&self) -> usize {
        self.awaited().len()
    }

    fn running(&self) -> MutexGuard<'_, Vec<Weak<OpenNode>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn awaited(&self) -> MutexGuard<'_, Vec<Arc<NodeScope>>> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
