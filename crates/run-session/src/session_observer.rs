//! Finds what each query of a session belongs to.

use std::{
    any::Any,
    sync::{Arc, Weak},
};

use daglight_capture_policy::Policy;
use daglight_data_summary::SummaryOptions;
use daglight_materializers::SummaryTap;
use daglight_plan_diagnostics::{DataTap, Observation, PlannedQuery, QueryKind, QueryObserver};

use crate::{
    observed_session::ObservedSession, open_runs::OpenRuns, query_listener::RunQuery, run_plannings::Asker,
    run_state::RunState, shared::Shared,
};

/// Observes the queries of a session for the runs that are open while they are planned or executed.
pub(crate) struct SessionObserver {
    shared: Weak<Shared>,
    open_runs: Weak<OpenRuns<RunState>>,
    /// What is observed without a DAG.
    session: Option<Weak<ObservedSession>>,
}

impl std::fmt::Debug for SessionObserver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionObserver").finish_non_exhaustive()
    }
}

impl SessionObserver {
    pub(crate) fn new(shared: &Arc<Shared>, open_runs: &Arc<OpenRuns<RunState>>) -> Self {
        Self { shared: Arc::downgrade(shared), open_runs: Arc::downgrade(open_runs), session: None }
    }

    /// As [`SessionObserver::new`], of a session that is observed without a DAG.
    pub(crate) fn of_session(self, session: &Arc<ObservedSession>) -> Self {
        Self { session: Some(Arc::downgrade(session)), ..self }
    }
}

impl QueryObserver for SessionObserver {
    fn planned(&self, query: &Arc<PlannedQuery>) -> Option<Observation> {
        // It runs nothing, and would count as a query without rows.
        if query.kind == QueryKind::Explain {
            return None;
        }
        // A session may outlive the telemetry that observes it.
        let shared = self.shared.upgrade()?;
        shared.pools.add_of_query(query);
        let tap = shared.policy.data_statistics().then(|| summary_tap(&shared.policy));
        let preview_rows = shared.policy.preview_rows();
        let query = Arc::new(RunQuery::new(
            &shared,
            Weak::clone(&self.open_runs),
            self.session.clone(),
            query,
            tap,
            preview_rows,
        ));
        let tap = Arc::clone(&query) as Arc<dyn DataTap>;
        Some(Observation { listener: query, tap: Some(tap) })
    }

    fn asked_by(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        Asker::current().map(|asker| Arc::new(asker) as Arc<dyn Any + Send + Sync>)
    }

    fn wants_differences(&self) -> bool {
        self.shared.upgrade().is_some_and(|shared| shared.settings.plans.rule_differences)
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
