//! What a query or a task belongs to: the node in whose code it runs, or else the run.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
};

use daglight_capture_policy::Captured;
use daglight_plan_diagnostics::Polls;
use opentelemetry::Context;

use crate::{node_scope::NodeScope, run_core::RunCore};

/// What a query belongs to.
#[derive(Clone)]
pub(crate) enum QueryOwner {
    /// The node in whose code it was planned or executed.
    Node(Arc<NodeScope>),
    /// The run, where no node is known.
    Run(Arc<RunCore>),
}

/// Marks the owner in an OpenTelemetry context. One type for nodes and runs: of a run inside a node of another, the
/// innermost is found.
struct Current(QueryOwner);

/// Marks the SQL that runs in an OpenTelemetry context, where it is that of a stage and not of a node.
struct StageSql(Arc<Captured>);

/// A context with the SQL of a stage in it, as it may be shown.
pub(crate) fn with_sql(context: &Context, sql: Captured) -> Context {
    context.with_value(StageSql(Arc::new(sql)))
}

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

    /// A separate context, for what runs outside of all of its code.
    pub(crate) fn context(&self) -> Context {
        match self {
            Self::Node(node) => node.context(),
            Self::Run(run) => self.clone().in_context(&run.context.root.context),
        }
    }

    /// The polls of its code.
    pub(crate) fn polls(&self) -> &Polls {
        match self {
            Self::Node(node) => &node.polls,
            Self::Run(run) => &run.queries.polls,
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

    /// The SQL in whose code this is called, as it may be shown: that of the node, or else of a stage.
    pub(crate) fn sql(&self) -> Option<Arc<Captured>> {
        let of_stage =
            || Context::map_current(|context| context.get::<StageSql>().map(|sql| Arc::clone(&sql.0)));
        match self {
            Self::Node(node) => node.sql.clone(),
            Self::Run(_) => of_stage(),
        }
    }

    pub(crate) fn run(&self) -> &Arc<RunCore> {
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

impl NodeScope {
    /// The context of the node's span, with this node in it.
    pub(crate) fn context(self: &Arc<Self>) -> Context {
        QueryOwner::Node(Arc::clone(self)).in_context(&self.span)
    }

    /// The context in which the calling code runs. Where that is not one of the node, as in a task that was spawned, the
    /// node's own.
    pub(crate) fn here(self: &Arc<Self>) -> Context {
        match QueryOwner::current() {
            // That one may be a span of the user's own inside the node, which is the better parent.
            Some(QueryOwner::Node(current)) if Arc::ptr_eq(&current, self) => Context::current(),
            _ => self.context(),
        }
    }
}
