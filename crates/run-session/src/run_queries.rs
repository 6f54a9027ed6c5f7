//! The queries of a run: which of them run, whose they are, and what they have moved.

use std::{
    collections::HashMap,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use daglight_plan_diagnostics::Polls;

use crate::{given_up_jobs::GivenUpJobs, moved::MovedSoFar};

/// The queries of a run.
#[derive(Default)]
pub(crate) struct RunQueries {
    pub(crate) owners: QueryOwners,
    pub(crate) open: OpenQueries,
    /// What they have moved.
    pub(crate) moved: MovedSoFar,
    /// Those that may go on at the scheduler of a cluster.
    pub(crate) given_up_jobs: GivenUpJobs,
    /// Those of tasks that belong to the run and to none of its nodes.
    pub(crate) polls: Polls,
}

/// The number of queries of a run that have started and not ended.
#[derive(Default)]
pub(crate) struct OpenQueries {
    count: Mutex<usize>,
    changed: Condvar,
}

impl OpenQueries {
    pub(crate) fn started(&self) {
        self.change(|count| *count += 1);
    }

    pub(crate) fn ended(&self) {
        self.change(|count| *count = count.saturating_sub(1));
    }

    fn change(&self, change: impl FnOnce(&mut usize)) {
        change(&mut self.count.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    pub(crate) fn wait_for_none(&self, limit: Duration) {
        let count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that take longer are left to themselves.
        let _ = self.changed.wait_timeout_while(count, limit, |count| *count > 0);
    }
}

/// The owners of the queries that run, by query id: the name of a node, or nothing for the run's own. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct QueryOwners(Arc<Mutex<HashMap<u64, Option<String>>>>);

impl QueryOwners {
    pub(crate) fn insert(&self, query_id: u64, node: Option<String>) {
        self.lock().insert(query_id, node);
    }

    pub(crate) fn remove(&self, query_id: u64) {
        self.lock().remove(&query_id);
    }

    /// The node of a query of this run, where it has one. `None` for the queries of other runs.
    pub(crate) fn node_of(&self, query_id: u64) -> Option<Option<String>> {
        self.lock().get(&query_id).cloned()
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Option<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
