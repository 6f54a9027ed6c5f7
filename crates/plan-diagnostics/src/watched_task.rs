//! A part of a plan that this machine executes for a query of another one.

use std::{
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::SystemTime,
};

use arrow::array::RecordBatch;
use daglight_run_bundle::clock;
use datafusion::{
    common::config::ConfigOptions,
    physical_plan::{ExecutionPlan, metrics::MetricsSet},
};

use crate::{
    hooked_exec::{ExecuteHook, HookedExec},
    measured_query::QueryOutcome,
    operators::{Baseline, MeasuredOperator, collect_metrics},
    planned_operators::describe,
    query_run::partition_count,
    reported_operator::with_metrics,
    shield::{message_of, shielded},
    store_request::StoreObserver,
    watched_stream::{StreamEnd, StreamWatch},
};

/// What was measured of a part of a plan.
#[derive(Debug, Clone)]
pub struct MeasuredTask {
    /// When its first partition was executed.
    pub started_at: SystemTime,
    /// When its last partition ended.
    pub ended_at: SystemTime,
    /// How it ended.
    pub outcome: QueryOutcome,
    /// Rows that it returned.
    pub rows: u64,
    /// Its operators in pre-order.
    pub operators: Vec<MeasuredOperator>,
}

/// A task of a query of another machine, which this one is to execute.
#[derive(Debug, Clone)]
pub struct RemoteTask {
    /// Headers that came with it: the trace, the run, the node.
    pub headers: Vec<(&'static str, String)>,
    /// Its stage, where the client has said it.
    pub stage: Option<u64>,
    /// Its number in the stage.
    pub task: u64,
    /// Tasks of the stage, where the engine says it.
    pub tasks: Option<u64>,
}

/// Called for each task of other machines that this one is to execute.
pub trait RemoteTaskListener: Send + Sync {
    /// What listens to a task; `None` where it is of no interest.
    fn listen(&self, task: RemoteTask) -> Option<Arc<dyn TaskListener>>;
}

/// Listens to a part of a plan.
pub trait TaskListener: Send + Sync {
    /// What learns of the requests that it makes to object stores, where that is of interest.
    fn stores(&self) -> Option<Arc<dyn StoreObserver>> {
        None
    }

    /// It has ended, whatever way. Called once, and never for a part that was not executed.
    fn ended(&self, task: MeasuredTask);
}

/// The plan with its execution watched. It looks as it did before to everything else.
pub fn watched_task(plan: Arc<dyn ExecutionPlan>, listener: Arc<dyn TaskListener>) -> Arc<dyn ExecutionPlan> {
    let task = Task {
        partitions: partition_count(&plan),
        listener,
        started: OnceLock::new(),
        state: Mutex::default(),
    };
    HookedExec::wrap(plan, Watched(Arc::new(task)))
}

/// A task that an engine has executed by itself.
#[derive(Debug, Clone)]
pub struct EndedTask {
    /// When it was executed.
    pub started_at: SystemTime,
    /// How it ended.
    pub outcome: QueryOutcome,
    /// Rows that it returned.
    pub rows: u64,
}

/// Reports a task that ends now and that an engine has executed by itself, in a copy of `plan`. `metrics` are those of the copy: one
/// set for each operator that has metrics, in pre-order. If their number is another one, the task is reported without operators.
pub fn report_task(
    listener: &dyn TaskListener,
    plan: &Arc<dyn ExecutionPlan>,
    metrics: impl FnOnce() -> Vec<MetricsSet>,
    task: EndedTask,
) {
    report(listener, plan, || with_metrics(plan, metrics()), task);
}

/// `measured` looks like `plan`, and its operators have the metrics.
#[expect(clippy::disallowed_methods, reason = "a task has the time at which it ends")]
fn report(
    listener: &dyn TaskListener,
    plan: &Arc<dyn ExecutionPlan>,
    measured: impl FnOnce() -> Option<Arc<dyn ExecutionPlan>>,
    task: EndedTask,
) {
    shielded("the listener of a task", || {
        let EndedTask { started_at, outcome, rows } = task;
        let ended_at = clock::now().max(started_at);
        let operators = measured().map_or_else(Vec::new, |measured| {
            let planned = describe(plan, &[], &ConfigOptions::default());
            collect_metrics(&measured, &planned, &Baseline::default(), (started_at, ended_at), true)
        });
        listener.ended(MeasuredTask { started_at, ended_at, outcome, rows, operators });
    });
}

struct Task {
    partitions: usize,
    listener: Arc<dyn TaskListener>,
    started: OnceLock<SystemTime>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    opened: usize,
    active: usize,
    rows: u64,
    worst: Option<QueryOutcome>,
    plan: Option<Arc<dyn ExecutionPlan>>,
    is_over: bool,
}

impl Task {
    #[expect(clippy::disallowed_methods, reason = "a task has the time at which it is executed")]
    fn open(&self, plan: &Arc<dyn ExecutionPlan>) {
        self.started.get_or_init(clock::now);
        let mut state = self.lock();
        state.opened += 1;
        state.active += 1;
        state.plan.get_or_insert_with(|| Arc::clone(plan));
    }

    fn close(&self, end: StreamEnd<'_>, rows: u64) {
        let outcome = match end {
            StreamEnd::Complete => None,
            StreamEnd::Failed(error) => Some(QueryOutcome::Failed { message: message_of(error) }),
            StreamEnd::Panicked => Some(QueryOutcome::Panicked),
            StreamEnd::Dropped => Some(QueryOutcome::Cancelled),
        };
        let mut state = self.lock();
        state.rows += rows;
        state.active = state.active.saturating_sub(1);
        if outcome.is_some() && matches!(state.worst, None | Some(QueryOutcome::Cancelled)) {
            state.worst = outcome;
        }
        let is_over = state.active == 0 && (state.opened >= self.partitions || state.worst.is_some());
        if is_over {
            self.end(state);
        }
    }

    fn end(&self, mut state: MutexGuard<'_, State>) {
        // The plan holds this, and would keep itself for ever.
        let plan = state.plan.take();
        let Some((started_at, plan)) = self.started.get().zip(plan) else { return };
        if std::mem::replace(&mut state.is_over, true) {
            return;
        }
        let (rows, outcome) = (state.rows, state.worst.take().unwrap_or(QueryOutcome::Completed));
        drop(state);
        let measured = || Some(Arc::clone(&plan));
        report(self.listener.as_ref(), &plan, measured, EndedTask { started_at: *started_at, outcome, rows });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone)]
struct Watched(Arc<Task>);

impl ExecuteHook for Watched {
    type Watch = Partition;

    fn watch(&self, inner: &Arc<dyn ExecutionPlan>, _: usize) -> Option<Partition> {
        self.0.open(inner);
        Some(Partition { task: Arc::clone(&self.0), rows: 0 })
    }
}

struct Partition {
    task: Arc<Task>,
    rows: u64,
}

impl StreamWatch for Partition {
    fn batch(&mut self, batch: &RecordBatch) {
        self.rows += batch.num_rows() as u64;
    }

    fn ended(self, end: StreamEnd<'_>) {
        self.task.close(end, self.rows);
    }
}
