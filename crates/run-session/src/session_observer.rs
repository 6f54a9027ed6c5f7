//! Finds what each query of a session belongs to.

use std::sync::{Arc, Weak};

use daglight_capture_policy::Policy;
use daglight_data_summary::SummaryOptions;
use daglight_materializers::SummaryTap;
use daglight_plan_diagnostics::{DataTap, Observation, PlannedQuery, QueryKind, QueryObserver};
use opentelemetry::Context;

use crate::{query_listener::RunQuery, query_owner::QueryOwner, telemetry::Shared};

/// Observes the queries of a session for the runs that are open while they are planned or executed.
pub(crate) struct SessionObserver {
    telemetry: Weak<Shared>,
}

impl std::fmt::Debug for SessionObserver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionObserver").finish_non_exhaustive()
    }
}

impl SessionObserver {
    pub(crate) fn new(telemetry: &Arc<Shared>) -> Self {
        Self { telemetry: Arc::downgrade(telemetry) }
    }
}

impl QueryObserver for SessionObserver {
    fn planned(&self, query: &Arc<PlannedQuery>) -> Option<Observation> {
        // It runs nothing, and would count as a query without rows.
        if query.kind == QueryKind::Explain {
            return None;
        }
        // A session may outlive the telemetry that observes it.
        let telemetry = self.telemetry.upgrade()?;
        telemetry.pools.add_of_query(query);
        let tap = telemetry.policy.data_statistics().then(|| summary_tap(&telemetry.policy));
        let preview_rows = telemetry.policy.preview_rows();
        let query = Arc::new(RunQuery::new(&telemetry, query, tap, preview_rows));
        let tap = Arc::clone(&query) as Arc<dyn DataTap>;
        Some(Observation { listener: query, tap: Some(tap) })
    }
}

fn summary_tap(policy: &Policy) -> SummaryTap {
    let usual = SummaryOptions::default();
    SummaryTap::new(SummaryOptions {
        values: policy.top_values(),
        text_min_max: policy.text_min_max(),
        top_values: usual.top_values.min(policy.max_list_length()),
        domain_limit: usual.domain_limit.min(policy.max_dict_length()),
        ..usual
    })
}

/// What a query belongs to, and where its spans do. The code that runs knows it; else the node that has handed out its
/// frame; else the run, where only one is open.
pub(crate) fn owner_of(telemetry: &Shared, query: &PlannedQuery) -> Option<(QueryOwner, Context)> {
    if let Some(owner) = QueryOwner::current() {
        // A node that outlives its run has no run to report to.
        return (!owner.run().has_ended()).then(|| (owner, Context::current()));
    }
    let open = telemetry.open_runs.list();
    // Executed outside of any node: the frame may have been handed out by one.
    let of_frame = open.iter().find_map(|run| run.frames.node_of(query)).map(QueryOwner::Node);
    let of_run = || match open.as_slice() {
        // Of several runs it could be any, and a guess would put it into the wrong one.
        [only] => Some(QueryOwner::Run(Arc::clone(only))),
        _ => None,
    };
    let owner = of_frame.or_else(of_run)?;
    let context = owner.context();
    Some((owner, context))
}
