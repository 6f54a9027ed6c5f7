//! Where a query belongs: to which node or run, and below which span.

use std::sync::{Arc, Weak};

use daglight_capture_policy::Captured;
use daglight_plan_diagnostics::PlannedQuery;
use opentelemetry::Context;

use crate::{
    node_scope::NodeScope, open_runs::OpenRuns, query_owner::QueryOwner, run_core::RunCore,
    run_state::RunState,
};

/// Where a query belongs.
#[derive(Clone)]
pub(crate) struct QueryPlace {
    pub(crate) owner: QueryOwner,
    /// What its spans stand below.
    pub(crate) parent: Context,
    /// Its SQL as it may be shown, where a front end has said it.
    pub(crate) sql: Option<Arc<Captured>>,
    /// The node whose frame it executes.
    pub(crate) handed_out_by: Option<Arc<NodeScope>>,
}

impl QueryPlace {
    /// To be called in the task that plans or executes the query.
    pub(crate) fn here(open_runs: &Weak<OpenRuns<RunState>>, query: &PlannedQuery) -> Option<Self> {
        let open_runs = open_runs.upgrade()?;
        let only_run = || only_run(&open_runs);
        Self::of(&open_runs, query, only_run)
    }

    /// As [`QueryPlace::here`], for a query that is planned. One of an observed session belongs to the run that is open when
    /// it is executed.
    pub(crate) fn of_planning(
        open_runs: &Weak<OpenRuns<RunState>>,
        query: &PlannedQuery,
        is_observed: bool,
    ) -> Option<Self> {
        let open_runs = open_runs.upgrade()?;
        let only_run = || if is_observed { None } else { only_run(&open_runs) };
        Self::of(&open_runs, query, only_run)
    }

    /// As [`QueryPlace::here`], where a query of which no code says whose it is belongs to that run.
    pub(crate) fn of_execution(
        open_runs: &Weak<OpenRuns<RunState>>,
        query: &PlannedQuery,
        run: impl FnOnce() -> Option<Arc<RunState>>,
    ) -> Option<Self> {
        Self::of(&*open_runs.upgrade()?, query, run)
    }

    fn of(
        open_runs: &OpenRuns<RunState>,
        query: &PlannedQuery,
        else_of: impl FnOnce() -> Option<Arc<RunState>>,
    ) -> Option<Self> {
        let (owner, parent) = owner_of(open_runs, query, else_of)?;
        // Of a run that has ended no frame is kept.
        let run = open_runs.get(owner.run().context.run_id);
        let handed_out_by = run.and_then(|run| run.frames.node_of(query));
        Some(Self { sql: owner.sql(), owner, parent, handed_out_by })
    }

    pub(crate) fn run(&self) -> &Arc<RunCore> {
        self.owner.run()
    }

    pub(crate) fn node_name(&self) -> Option<&str> {
        self.owner.node().map(|node| node.name.as_str())
    }
}

/// What a query belongs to, and where its spans do. The code that runs knows it; else the node that has handed out its
/// frame; else the run that is said.
fn owner_of(
    open_runs: &OpenRuns<RunState>,
    query: &PlannedQuery,
    else_of: impl FnOnce() -> Option<Arc<RunState>>,
) -> Option<(QueryOwner, Context)> {
    if let Some(owner) = QueryOwner::current() {
        // A node that outlives its run has no run to report to.
        return (!owner.run().has_ended()).then(|| (owner, Context::current()));
    }
    let open = open_runs.list();
    // Executed outside of any node: the frame may have been handed out by one.
    let of_frame = open.iter().find_map(|run| run.frames.node_of(query)).map(QueryOwner::Node);
    let of_run = || Some(QueryOwner::Run(Arc::clone(&else_of()?.core)));
    let owner = of_frame.or_else(of_run)?;
    let context = owner.context();
    Some((owner, context))
}

fn only_run(open_runs: &OpenRuns<RunState>) -> Option<Arc<RunState>> {
    match open_runs.list().as_slice() {
        // Of several runs it could be any, and a guess would put it into the wrong one.
        [only] => Some(Arc::clone(only)),
        _ => None,
    }
}
