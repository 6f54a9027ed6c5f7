//! What a session reports about its queries, and to whom.

use std::{any::Any, fmt, sync::Arc};

use daglight_run_bundle::ClusterWork;

use crate::{data_tap::DataTap, measured_query::MeasuredQuery, planned_query::PlannedQuery};

/// Called for every query of an instrumented session.
pub trait QueryObserver: fmt::Debug + Send + Sync {
    /// A query was planned. Called in the task that planned it, so that task-local context can be read.
    /// `None` leaves the query alone.
    fn planned(&self, query: &Arc<PlannedQuery>) -> Option<Observation>;

    /// The planning of a query begins: returns its owner, for those who [list open plannings](crate::LiveQueries::plannings).
    /// Called in the task that asks for the plan, also for plans that are never executed.
    fn asked_by(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        None
    }

    /// Whether the texts of plans are compared before and after each rule, which takes longer than planning does. Asked
    /// when the session is instrumented.
    fn wants_differences(&self) -> bool {
        false
    }
}

/// How one query is observed.
pub struct Observation {
    /// Called when the query starts and ends.
    pub listener: Arc<dyn QueryListener>,
    /// Sees the data that the query returns or writes.
    pub tap: Option<Arc<dyn DataTap>>,
}

impl fmt::Debug for Observation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observation").field("has_tap", &self.tap.is_some()).finish_non_exhaustive()
    }
}

/// Called when one query starts and ends.
pub trait QueryListener: Send + Sync {
    /// The first partition is executed.
    fn started(&self) {}

    /// Code of the query is about to run on this thread, and does until the answer is dropped. What it spawns is of the query, too.
    fn entered(&self) -> Option<Box<dyn Any>> {
        None
    }

    /// What the query takes with it to other machines: names and values in ASCII, as headers have them. Asked when it has started,
    /// in sessions whose plans may be executed there.
    fn travels_with(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// The engine that executes the query on other machines has an id for it now. A query that is looked for there, because this process
    /// has died, is found by that.
    fn has_remote_id(&self) {}

    /// The engine that executes the query on other machines has lost one of these. `message` says which, and what it may have had.
    fn lost_worker(&self, worker: &str, message: &str) {
        _ = (worker, message);
    }

    /// More is known of what became of the work on other machines after the query was given up. Called after [`ended`](Self::ended), perhaps
    /// several times: while the job is [open](ClusterWork::job_open), the engine has not confirmed its end, and nobody needs to wait for
    /// that.
    fn remote_work_settled(&self, work: ClusterWork) {
        _ = work;
    }

    /// The query ended, whatever way. Called once, on the thread that saw the end.
    fn ended(&self, report: MeasuredQuery);
}
