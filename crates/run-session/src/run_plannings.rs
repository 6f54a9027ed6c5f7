//! The queries of a run that are being planned.

use std::{
    any::Any,
    sync::Arc,
    time::{Duration, Instant},
};

use daglight_capture_policy::Captured;
use daglight_plan_diagnostics::{LivePlanning, PlanningTurn, QueryKind};

use crate::{
    node_scope::NodeScope,
    plan_messages::{PlanKey, StartedQuery},
    query_owner::QueryOwner,
    run_context::RunContext,
};

/// Most queries are planned in milliseconds, and none of those needs a file meanwhile.
const LONG: Duration = Duration::from_secs(1);

/// A query of a run that is being planned.
pub(crate) struct RunPlanning {
    asker: Asker,
    planning: LivePlanning,
}

/// Who asks for a query.
#[derive(Clone)]
pub(crate) struct Asker {
    owner: QueryOwner,
    sql: Option<Arc<Captured>>,
}

impl Asker {
    /// The one whose code calls this. `None` where that is not known.
    pub(crate) fn current() -> Option<Self> {
        let owner = QueryOwner::current()?;
        Some(Self { sql: owner.sql(), owner })
    }
}

/// Has the query of a node seen whose plan the engine has refused, for which the node has failed.
pub(crate) fn node_failed(node: &Arc<NodeScope>, message: &str) {
    let is_of_node = |asker: &(dyn Any + Send + Sync)| {
        let asker = asker.downcast_ref::<Asker>().and_then(|asker| asker.owner.node());
        asker.is_some_and(|asker| Arc::ptr_eq(asker, node))
    };
    // Found to be of the node by the context, as every query is.
    let _guard = node.context().attach();
    node.run.context.shared.live.failed(is_of_node, message);
}

impl RunPlanning {
    /// Those of a run whose owner is known: other runs have queries in the list, too.
    pub(crate) fn of_run(context: &RunContext) -> Vec<Self> {
        let own = |planning: LivePlanning| {
            let asker = planning.asked_by.as_ref()?.downcast_ref::<Asker>()?.clone();
            (asker.owner.run().context.run_id == context.run_id).then_some(Self { asker, planning })
        };
        context.shared.live.plannings().into_iter().filter_map(own).collect()
    }

    /// The node that asks for the query.
    pub(crate) fn node(&self) -> Option<&str> {
        self.asker.owner.node().map(|node| node.name.as_str())
    }

    /// What goes on, such as "planning a query: rule type_coercion of the analysis".
    pub(crate) fn describe(&self) -> String {
        let PlanningTurn { part, rule } = &self.planning.turn;
        match rule {
            Some(rule) => format!("planning a query: rule {rule} of the {}", part.in_words()),
            None => format!("planning a query: {}", part.in_words()),
        }
    }

    /// The query for its file, once it is planned for so long that it may be the one that is looked for.
    pub(crate) fn for_file(&self) -> Option<StartedQuery> {
        let query = (self.planning.lasts >= LONG).then(|| self.planning.query())??;
        // It runs nothing, and has no file when it is planned.
        if query.kind == QueryKind::Explain {
            return None;
        }
        let plan_hash = query.fingerprints.plan_hash.clone();
        Some(StartedQuery {
            key: PlanKey { node: self.node().map(str::to_owned), plan_hash },
            at: Instant::now(),
            query: Arc::new(query),
            sql: self.asker.sql.clone(),
            parsing: None,
            storage: None,
        })
    }
}
