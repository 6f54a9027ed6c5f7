//! Finds the node of each query of a session.

use std::sync::Arc;

use daglight_materializers::{SummaryOptions, SummaryTap};
use daglight_plan_diagnostics::{DataTap, Observation, PlannedQuery, QueryKind, QueryObserver};

use crate::{node_scope::NodeScope, query_listener::NodeQuery};

/// Observes the queries that are planned inside a node, and leaves all others alone.
#[derive(Debug)]
pub(crate) struct SessionObserver;

impl QueryObserver for SessionObserver {
    fn planned(&self, query: &Arc<PlannedQuery>) -> Option<Observation> {
        let node = NodeScope::current()?;
        if query.kind == QueryKind::Explain {
            return None;
        }
        let policy = &node.run.policy;
        let usual = SummaryOptions::default();
        let tap = policy.data_statistics().then(|| {
            SummaryTap::new(SummaryOptions {
                values: policy.top_values(),
                text_min_max: policy.text_min_max(),
                top_values: usual.top_values.min(policy.max_list_length()),
                domain_limit: usual.domain_limit.min(policy.max_dict_length()),
                ..usual
            })
        });
        Some(Observation {
            listener: Arc::new(NodeQuery::new(node, query, tap.clone())),
            tap: tap.map(|tap| Arc::new(tap) as Arc<dyn DataTap>),
        })
    }
}
