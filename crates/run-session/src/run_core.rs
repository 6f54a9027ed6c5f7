//! A run as its nodes and queries know it. They hold it, and it holds none of them.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use crate::{
    admitted_plans::AdmittedPlans, interruption::Interruption, own_time::OwnClock, plan_files::PlanFiles,
    run_context::RunContext, run_log::RunLog, run_queries::RunQueries, run_stalls::RunStalls,
};

/// What a run is, what has happened in it, and where its nodes and queries say more.
pub(crate) struct RunCore {
    pub(crate) context: Arc<RunContext>,
    pub(crate) log: Arc<RunLog>,
    pub(crate) own_time: Arc<OwnClock>,
    pub(crate) queries: RunQueries,
    pub(crate) plans: PlanFiles,
    pub(crate) stalls: RunStalls,
    pub(crate) interruption: OnceLock<Interruption>,
    has_ended: AtomicBool,
}

impl RunCore {
    /// `bundle_has_failed` is shared with the tracker's outbox, which may fail first.
    pub(crate) fn new(context: RunContext, bundle_has_failed: Arc<AtomicBool>) -> Self {
        let log = Arc::new(RunLog::new(context.policy.clone(), context.bundle.clone(), bundle_has_failed));
        let (context, own_time) = (Arc::new(context), Arc::<OwnClock>::default());
        let plans = AdmittedPlans::new(Arc::clone(&context), Arc::clone(&log), Arc::clone(&own_time));
        Self {
            context,
            log,
            own_time,
            queries: RunQueries::default(),
            plans: PlanFiles::new(plans),
            stalls: RunStalls::default(),
            interruption: OnceLock::new(),
            has_ended: AtomicBool::default(),
        }
    }

    /// Whether the run is over: what happens in it now is not recorded.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }

    /// Nothing is recorded of the run from now on.
    pub(crate) fn close(&self) {
        self.has_ended.store(true, Ordering::Release);
    }
}
