//! Work whose polls are known: on which thread it runs, and whether it gives way.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
};

use daglight_plan_diagnostics::Polls;

use crate::{node_scope::NodeScope, query_owner::QueryOwner, run_state::RunState};

/// Whose polls they are.
pub(crate) enum Polled {
    Node(Arc<NodeScope>),
    Run(Arc<RunState>),
}

impl Polled {
    /// The node or run in whose code this is called.
    pub(crate) fn current() -> Option<Self> {
        Some(match QueryOwner::current()? {
            QueryOwner::Node(node) => Self::Node(node),
            QueryOwner::Run(run) => Self::Run(run),
        })
    }

    pub(crate) fn polls(&self) -> &Polls {
        match self {
            Self::Node(node) => &node.polls,
            Self::Run(run) => &run.polls,
        }
    }

    /// Does the work, and notes each of its polls.
    pub(crate) async fn follow<F: Future>(self, work: F) -> F::Output {
        let mut work = pin!(work);
        poll_fn(|context| {
            let _polling = self.polls().begin();
            work.as_mut().poll(context)
        })
        .await
    }
}
