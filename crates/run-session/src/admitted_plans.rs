//! Which plans of a run have a file in its bundle.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use daglight_plan_diagnostics::{MeasuredQuery, QueryOutcome};
use daglight_settings::KeptPlans;

use crate::{
    own_time::OwnClock, plan_messages::PlanKey, previous_plans::PreviousPlans, run_context::RunContext,
    run_log::RunLog,
};

/// Different plans of a node that are kept, and as many of the queries without a node.
const MAX_PLANS: usize = 120;

/// The plans of a run that have a file, or may get one.
pub(crate) struct AdmittedPlans {
    pub(crate) context: Arc<RunContext>,
    pub(crate) log: Arc<RunLog>,
    pub(crate) own_time: Arc<OwnClock>,
    by_node: Mutex<HashMap<Option<String>, HashSet<String>>>,
    /// The plans of the last run of the DAG, once they are read.
    pub(crate) previous: OnceLock<PreviousPlans>,
    /// Whether the run ends without what was not written in time.
    is_given_up: AtomicBool,
}

impl AdmittedPlans {
    pub(crate) fn new(context: Arc<RunContext>, log: Arc<RunLog>, own_time: Arc<OwnClock>) -> Self {
        Self {
            context,
            log,
            own_time,
            by_node: Mutex::default(),
            previous: OnceLock::new(),
            is_given_up: AtomicBool::default(),
        }
    }

    /// The file of a plan whose query has ended, below the bundle, where it is kept.
    pub(crate) fn file_of(&self, key: &PlanKey, report: &MeasuredQuery) -> Option<String> {
        let bundle = self.context.bundle.as_ref()?;
        if !self.keeps(key, report) || !self.admits(key) {
            return None;
        }
        let path = bundle.plan_file(key.node.as_deref(), &key.plan_hash);
        Some(path.strip_prefix(bundle.dir()).ok()?.to_string_lossy().into_owned())
    }

    /// Whether the plan of a query that has ended is kept.
    pub(crate) fn keeps(&self, key: &PlanKey, report: &MeasuredQuery) -> bool {
        let settings = &self.context.settings().plans;
        let did_not_complete = report.outcome != QueryOutcome::Completed;
        let is_slow = || report.wall_time + report.query.planning.total() > settings.slow_limit();
        let has_changed = || self.previous.get().is_some_and(|previous| previous.has_changed(key));
        match settings.keep {
            KeptPlans::All => true,
            KeptPlans::Slow => did_not_complete || is_slow() || has_changed(),
            KeptPlans::Changed => did_not_complete || has_changed(),
            KeptPlans::None => false,
        }
    }

    /// Whether files of plans may still be written and removed.
    pub(crate) fn may_write(&self) -> bool {
        !self.is_given_up.load(Ordering::Acquire)
    }

    /// Makes the room of a plan free that is not kept: a node of many quick queries must not take it from one that lasts.
    pub(crate) fn release(&self, key: &PlanKey) {
        let mut admitted = self.by_node.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_node) = admitted.get_mut(&key.node) {
            of_node.remove(&key.plan_hash);
        }
    }

    /// Whether there is room for the plan.
    pub(crate) fn admits(&self, key: &PlanKey) -> bool {
        let is_kept = self.context.settings().plans.keep != KeptPlans::None;
        if !is_kept || self.context.bundle.is_none() {
            return false;
        }
        // Decided here and not on the thread: the name of the file stands on the query's span, which cannot wait for
        // that thread.
        let mut admitted = self.by_node.lock().unwrap_or_else(PoisonError::into_inner);
        if admitted.get(&key.node).is_some_and(|of_node| of_node.contains(&key.plan_hash)) {
            return true;
        }
        let of_node = admitted.entry(key.node.clone()).or_default();
        of_node.len() < MAX_PLANS && of_node.insert(key.plan_hash.clone())
    }

    /// No file of a plan is written or removed from now on.
    pub(crate) fn give_up(&self) {
        self.is_given_up.store(true, Ordering::Release);
    }
}
