//! The running queries of a session, as the heartbeat asks for them.

use daglight_heartbeat::{OperatorProgress, Progress, QueryProgress};
use daglight_plan_diagnostics::{LiveOperator, LiveQueries};

use crate::node_scope::QueryOwners;

/// Adapts the registry of live queries to the heartbeat, for the queries of one run.
pub(crate) struct LiveProgress {
    pub(crate) queries: LiveQueries,
    pub(crate) owners: QueryOwners,
    /// Whether the operators' texts, which hold literals, may be shown.
    pub(crate) with_detail: bool,
}

impl Progress for LiveProgress {
    fn sample(&self) -> Vec<QueryProgress> {
        self.queries
            .sample()
            .into_iter()
            .filter_map(|query| {
                let node = self.owners.node_of(query.id)?;
                Some(QueryProgress {
                    query_id: query.id.to_string(),
                    node: Some(node),
                    started: query.started_at.into(),
                    rows_output: query.rows,
                    operators: self.operators(query.operators),
                })
            })
            .collect()
    }
}

impl LiveProgress {
    fn operators(&self, live: Vec<LiveOperator>) -> Vec<OperatorProgress> {
        live.into_iter()
            .map(|operator| OperatorProgress {
                name: operator.name,
                detail: if self.with_detail { operator.detail } else { String::new() },
                parent: operator.parent,
                rows: operator.finished.is_some().then_some(operator.rows),
                elapsed_compute: operator.elapsed_compute,
                finished: operator.finished,
            })
            .collect()
    }
}
