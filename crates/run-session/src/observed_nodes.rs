//! The nodes of a run whose DAG is seen: how the run, its records and the tracker learn of them.

use daglight_plan_diagnostics::PlannedQuery;
use daglight_run_bundle::WarningCode;
use daglight_run_identity::Node;
use daglight_tracker_client::Event;

use crate::{
    run_core::RunCore,
    run_dag::MAX_SEEN,
    sight::{name_of, sight_of},
};

impl RunCore {
    /// The name of the node that a query is, which belongs to no other. `None` where the DAG of the run was declared, or has as
    /// many nodes as it may have.
    pub(crate) fn see_query(&self, query: &PlannedQuery) -> Option<String> {
        let name = name_of(query);
        self.see_in(&name, query).then_some(name)
    }

    /// Adds what a query of a node shows of it. False where the DAG of the run was declared, or is full.
    pub(crate) fn see_in(&self, name: &str, query: &PlannedQuery) -> bool {
        let dag = &self.context.dag;
        if !dag.is_observed() || self.has_ended() {
            return false;
        }
        let is_known = dag.node(name).is_some_and(|node| node.code.is_some());
        if !is_known {
            self.context.policy.redactor().learn_plan(&query.texts.logical);
        }
        let sight = sight_of(query, &self.context.policy, !is_known);
        let is_seen = dag.see(name, &sight, |node| self.seen(node));
        if !is_seen {
            let warning = format!(
                "more than {MAX_SEEN} different queries were asked: those that came later belong to the run, \
                 and are not nodes of its DAG"
            );
            self.log.warn(WarningCode::NodesNotSeen, warning);
        }
        is_seen
    }

    /// Adds a node whose code the program runs under a name that it chooses.
    pub(crate) fn see_node(&self, name: &str) {
        if let Some(node) = self.context.dag.see_node(name) {
            self.seen(&node);
        }
    }

    fn seen(&self, node: &Node) {
        if let Some(record) = self.log.records().nodes.get_mut(&node.name) {
            (record.kind, record.code_hash) = (node.kind.into(), node.code_hash());
            record.dependencies.clone_from(&node.dependencies);
        }
        if let Some(tracker) = &self.context.tracker {
            tracker.record(&Event::NodeSeen(Box::new(node.clone())));
        }
    }
}
