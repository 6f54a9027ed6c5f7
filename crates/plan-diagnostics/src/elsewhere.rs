//! What a query takes with it to other machines, and what these say of it: the meeting point of an observer and of an engine that
//! distributes plans, which do not know each other.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use arrow::array::RecordBatch;
use daglight_run_bundle::ClusterWork;
use datafusion::{execution::TaskContext, physical_plan::ExecutionPlan, prelude::SessionConfig};

use crate::{
    default_settings::learn_defaults,
    hooked_exec::{ExecuteHook, HookedExec},
    observer::QueryListener,
    shield::shielded,
    watched_stream::{StreamEnd, StreamWatch},
};

/// What an execution of a query takes with it to other machines. An engine finds it as an extension of the configuration that it
/// executes the plan with, where the session [says so](runs_elsewhere).
pub struct Travelling {
    /// The id of the query in this process.
    pub query_id: u64,
    /// Names and values in ASCII, as headers have them: the trace, the run, the node.
    pub headers: Vec<(&'static str, String)>,
    listener: Arc<dyn QueryListener>,
    work: OnceLock<Arc<dyn RemoteWork>>,
    afterwards: Mutex<Afterwards>,
}

/// What is known of the end of work on other machines. It may come before the query here has ended, or long after that.
#[derive(Default)]
struct Afterwards {
    query_has_ended: bool,
    /// Something was said of it that the end of the query may not have known yet.
    is_news: bool,
}

impl Travelling {
    pub(crate) fn new(query_id: u64, listener: Arc<dyn QueryListener>) -> Self {
        Self {
            query_id,
            headers: listener.travels_with(),
            listener,
            work: OnceLock::new(),
            afterwards: Mutex::default(),
        }
    }

    /// An engine takes the query on. The first one counts.
    pub fn taken_on(&self, work: Arc<dyn RemoteWork>) {
        _ = self.work.set(work);
    }

    /// The engine has an id for the query, which [`RemoteWork::so_far`] says from now on.
    pub fn has_id(&self) {
        shielded("the listener of a query", || self.listener.has_remote_id());
    }

    /// The engine has lost a machine that may have had tasks of the query. `message` names both.
    pub fn has_lost(&self, worker: &str, message: &str) {
        shielded("the listener of a query", || self.listener.lost_worker(worker, message));
    }

    /// The engine knows more of what became of work that was given up, which [`RemoteWork::so_far`] says from now on. The listener learns of
    /// it when the query has ended.
    pub fn has_settled(&self) {
        let query_has_ended = {
            let mut afterwards = self.afterwards();
            afterwards.is_news |= !afterwards.query_has_ended;
            afterwards.query_has_ended
        };
        if query_has_ended {
            self.say_settled();
        }
    }

    /// The listener knows that the query has ended.
    pub(crate) fn query_has_ended(&self) {
        let is_news = {
            let mut afterwards = self.afterwards();
            afterwards.query_has_ended = true;
            std::mem::take(&mut afterwards.is_news)
        };
        if is_news {
            self.say_settled();
        }
    }

    fn say_settled(&self) {
        if let Some(work) = self.work() {
            shielded("the listener of a query", || self.listener.remote_work_settled(work.so_far()));
        }
    }

    pub(crate) fn work(&self) -> Option<Arc<dyn RemoteWork>> {
        self.work.get().cloned()
    }

    fn afterwards(&self) -> MutexGuard<'_, Afterwards> {
        self.afterwards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Travelling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Travelling").field("query_id", &self.query_id).finish_non_exhaustive()
    }
}

/// An execution of a query on other machines.
pub trait RemoteWork: Send + Sync {
    /// What is known of it so far.
    fn so_far(&self) -> ClusterWork;

    /// How long those machines have computed for it so far, as far as they have said so. It counts nothing but whether they do.
    fn busy(&self) -> Duration {
        Duration::ZERO
    }

    /// Rows of tables that those machines have read so far, where its operators do not say.
    fn rows_read(&self) -> Option<u64> {
        None
    }

    /// The task that it waits for, in words that name its machine.
    fn waits_for(&self) -> Option<String> {
        None
    }
}

/// Marks a configuration whose plans an engine may execute on other machines.
struct RunsElsewhere;

/// The configuration of a session whose plans an engine may execute on other machines: their executions have a [`Travelling`].
/// The settings of the engine have their defaults in it, so that the files of plans contain those that are changed later.
#[must_use]
pub fn runs_elsewhere(config: SessionConfig) -> SessionConfig {
    learn_defaults(config.options());
    config.with_extension(Arc::new(RunsElsewhere))
}

/// Whether the plans of a session may be executed on other machines.
pub fn is_distributed(config: &SessionConfig) -> bool {
    config.get_extension::<RunsElsewhere>().is_some()
}

/// Says of a plan why none of it runs on other machines. It looks as it did before to everything else.
pub fn stays_here(plan: Arc<dyn ExecutionPlan>, work: ClusterWork) -> Arc<dyn ExecutionPlan> {
    HookedExec::wrap(plan, StaysHere(Arc::new(work)))
}

/// The plan without what [`stays_here`] has said, and that.
pub(crate) fn without_remark(plan: Arc<dyn ExecutionPlan>) -> (Arc<dyn ExecutionPlan>, Option<ClusterWork>) {
    match HookedExec::<StaysHere>::of(plan.as_ref()) {
        Some(remarked) => (Arc::clone(remarked.inner()), Some(remarked.hook().0.as_ref().clone())),
        None => (plan, None),
    }
}

#[derive(Clone)]
struct StaysHere(Arc<ClusterWork>);

impl ExecuteHook for StaysHere {
    type Watch = Nothing;

    fn watch(&self, _: &Arc<dyn ExecutionPlan>, _: usize) -> Option<Nothing> {
        None
    }
}

/// Watches nothing.
struct Nothing;

impl StreamWatch for Nothing {
    fn batch(&mut self, _: &RecordBatch) {}

    fn ended(self, _: StreamEnd<'_>) {}
}

/// The same context with another configuration.
pub fn with_config(context: &TaskContext, config: SessionConfig) -> TaskContext {
    TaskContext::new(
        context.task_id(),
        context.session_id(),
        config,
        context.scalar_functions().clone(),
        context.higher_order_functions().clone(),
        context.aggregate_functions().clone(),
        context.window_functions().clone(),
        context.runtime_env(),
    )
}
