//! What a query or a task belongs to: the node in whose code it runs, or else the run.

use std::{
    collections::HashMap,
    future::{Future, poll_fn},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use daglight_plan_diagnostics::Polls;
use daglight_run_identity::RunId;
use opentelemetry::Context;

use crate::{node_scope::NodeScope, run_state::RunState};

/// What a query belongs to.
#[derive(Clone)]
pub(crate) enum QueryOwner {
    /// The node in whose code it was planned or executed.
    Node(Arc<NodeScope>),
    /// The run, where no node is known.
    Run(Arc<RunState>),
}

/// Marks the owner in an OpenTelemetry context. One type for nodes and runs: of a run inside a node of another, the
/// innermost is found.
struct Current(QueryOwner);

impl QueryOwner {
    /// What the code that calls this runs in.
    pub(crate) fn current() -> Option<Self> {
        // OpenTelemetry's context and not a thread-local of ours: tasks, instrumented futures and DataFusion's
        // spawned work carry it already (`follow_spawned_tasks`), so that user code needs no change.
        Context::map_current(|context| context.get::<Current>().map(|current| current.0.clone()))
    }

    /// A context with this owner in it.
    pub(crate) fn in_context(self, context: &Context) -> Context {
        context.with_value(Current(self))
    }

    /// A context of its own, for what runs outside of all of its code.
    pub(crate) fn context(&self) -> Context {
        match self {
            Self::Node(node) => node.context(),
            Self::Run(run) => run.otel_context(),
        }
    }

    /// The polls of its code.
    pub(crate) fn polls(&self) -> &Polls {
        match self {
            Self::Node(node) => &node.polls,
            Self::Run(run) => &run.polls,
        }
    }

    /// Does the work, which is polled for the owner: each of its polls is noted.
    pub(crate) async fn follow<F: Future>(self, work: F) -> F::Output {
        let mut work = pin!(work);
        poll_fn(|context| {
            // Around each poll and not around the whole: between two polls the thread does other work, and a stall
            // is judged by who is being polled now.
            let _polling = self.polls().begin();
            work.as_mut().poll(context)
        })
        .await
    }

    pub(crate) fn run(&self) -> &Arc<RunState> {
        match self {
            Self::Node(node) => &node.run,
            Self::Run(run) => run,
        }
    }

    pub(crate) fn node(&self) -> Option<&Arc<NodeScope>> {
        match self {
            Self::Node(node) => Some(node),
            Self::Run(_) => None,
        }
    }
}

/// The runs of a process that have not ended.
#[derive(Default)]
// Weak: the list must not be what keeps a run alive that its program has dropped.
pub(crate) struct OpenRuns(Mutex<HashMap<RunId, Weak<RunState>>>);

impl OpenRuns {
    pub(crate) fn insert(&self, run: &Arc<RunState>) {
        self.lock().insert(run.context.run_id, Arc::downgrade(run));
    }

    pub(crate) fn remove(&self, run_id: RunId) {
        self.lock().remove(&run_id);
    }

    /// All of them.
    pub(crate) fn list(&self) -> Vec<Arc<RunState>> {
        self.lock().values().filter_map(Weak::upgrade).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RunId, Weak<RunState>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The owners of the queries that run, by query id: the name of a node, or nothing for the run's own. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct QueryOwners(Arc<Mutex<HashMap<u64, Option<String>>>>);

impl QueryOwners {
    pub(crate) fn insert(&self, query_id: u64, node: Option<String>) {
        self.lock().insert(query_id, node);
    }

    pub(crate) fn remove(&self, query_id: u64) {
        self.lock().remove(&query_id);
    }

    /// The node of a query of this run, where it has one. `None` for the queries of other runs.
    pub(crate) fn node_of(&self, query_id: u64) -> Option<Option<String>> {
        self.lock().get(&query_id).cloned()
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Option<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
