//! The running queries of a session, as the heartbeat asks for them.

use daglight_capture_policy::{Policy, SqlText};
use daglight_heartbeat::{OperatorProgress, Progress, QueryProgress};
use daglight_plan_diagnostics::{LiveOperator, LiveQueries};

use crate::query_owner::QueryOwners;

/// Adapts the registry of live queries to the heartbeat, for the queries of one run.
pub(crate) struct LiveProgress {
    pub(crate) queries: LiveQueries,
    pub(crate) owners: QueryOwners,
    /// Decides whether the operators' texts, which hold literals, are shown.
    pub(crate) policy: Policy,
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
                    node,
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
        let shown = |detail: String| match self.policy.sql_text() {
            SqlText::Whole => self.policy.redactor().plan_text(&detail),
            _ => String::new(),
        };
        live.into_iter()
            .map(|operator| OperatorProgress {
                name: operator.name,
                detail: shown(operator.detail),
                parent: operator.parent,
                rows: operator.finished.is_some().then_some(operator.rows),
                elapsed_compute: operator.elapsed_compute,
                finished: operator.finished,
            })
            .collect()
    }
}
