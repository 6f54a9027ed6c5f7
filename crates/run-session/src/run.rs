//! A run, from its start to its finish.

use std::{
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, resume_unwind},
    path::Path,
    pin::pin,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use daglight_otel_bridge::names;
use daglight_run_bundle::{Bundle, NodeRecord, WarningCode};
use daglight_run_identity::{Code, Dag, DagName, RunId};
use futures::{
    FutureExt as _,
    channel::oneshot,
    future::{Either, select},
};
use opentelemetry::{Context, context::FutureExt as _};

use crate::{
    beside_runtime::on_own_thread,
    finish_report::FinishReport,
    node::Node,
    node_run::NodeRun,
    node_stop::Stalled,
    on_interrupt::OnInterrupt,
    open_runs::OpenRuns,
    options::RunOptions,
    panics::Panic,
    query_owner::{QueryOwner, with_sql},
    run_error::{RecordedError, RunError},
    run_log::FailedPart,
    run_state::RunState,
    second_signal::leave_to_second_signal,
    shared::Shared,
    signal_registry::last_words,
    signals,
    stage::{in_span, say, with_code},
    start::{start, start_observed},
};

/// How long a caller may take to see that an interrupted run has ended, before its runtime is taken for stuck.
const STUCK_AFTER: Duration = Duration::from_secs(2);

/// One execution of a DAG.
///
/// Clones are the same run, so that tasks and threads can share it. It ends once: with the first [`Run::finish`] of any of
/// them. Where the last one is dropped without that, the run ends as a failure, on a separate thread and without holding
/// up the one that drops it; [`Telemetry::shutdown`](crate::Telemetry::shutdown), or dropping the last [`Telemetry`](crate::Telemetry), waits for that.
///
/// Once the run has ended, nodes and stages still do their work and pass its result through, but nothing of it is
/// recorded, which a warning in the log says.
#[derive(Clone)]
pub struct Run {
    state: Arc<RunState>,
    last: Arc<LastHandle>,
}

/// What the handles of a run share. The last one that goes ends the run, where none has finished it.
struct LastHandle {
    state: Arc<RunState>,
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = &self.state;
        f.debug_struct("Run")
            .field("id", &state.context.run_id)
            .field("dag", state.context.dag.name())
            .finish_non_exhaustive()
    }
}

impl Run {
    pub(crate) fn start(
        shared: &Arc<Shared>,
        open_runs: &Arc<OpenRuns<RunState>>,
        dag: &Dag,
        options: RunOptions,
    ) -> Self {
        Self::of(start(shared, open_runs, dag, options))
    }

    /// As [`Run::start`], of a DAG that is what is seen of it.
    pub(crate) fn start_observed(
        shared: &Arc<Shared>,
        open_runs: &Arc<OpenRuns<RunState>>,
        name: &DagName,
        options: RunOptions,
    ) -> Self {
        Self::of(start_observed(shared, open_runs, name, options))
    }

    /// Ends the run on a separate thread. Who drops the telemetry, or shuts it down, waits for that.
    pub(crate) fn end_later(self) {
        // Before this handle goes, which would else end the run as one that was dropped.
        self.state.ending.progress.begin();
        let end: fn(&Arc<RunState>) = |run| _ = run.end();
        self.state.context.shared.ends.begin(&self.state, end);
    }

    /// As [`Run::start`], where signals are answered from before its bundle is there.
    pub(crate) fn start_interruptible(
        shared: &Arc<Shared>,
        open_runs: &Arc<OpenRuns<RunState>>,
        dag: &Dag,
        options: RunOptions,
        answer: OnInterrupt,
    ) -> Self {
        // Before the run starts: a signal that comes while it does is answered once it has.
        let starting = signals::starting();
        let state = start(shared, open_runs, dag, options);
        starting.started(&state, answer);
        Self::of(state)
    }

    fn of(state: Arc<RunState>) -> Self {
        Self { last: Arc::new(LastHandle { state: Arc::clone(&state) }), state }
    }

    pub(crate) fn state(&self) -> &Arc<RunState> {
        &self.state
    }

    /// The run's id.
    pub fn id(&self) -> RunId {
        self.state.context.run_id
    }

    /// The DAG that runs; of an [observed](crate::Telemetry::observe) run what was seen of it so far.
    pub fn dag(&self) -> Arc<Dag> {
        self.state.context.dag.get()
    }

    /// The run's folder, where one could be made.
    pub fn bundle_dir(&self) -> Option<&Path> {
        self.state.context.bundle.as_ref().map(Bundle::dir)
    }

    /// Runs the code of a node: with a span, a task on the tracker, an entry in the heartbeat, and every query seen
    /// that is planned inside. The result passes through as it is; an error, with its causes, marks node and run as failed,
    /// and so does a panic, which goes on when it is recorded.
    ///
    /// - A node that runs **again** is another attempt: the last one decides over the node and the run, the earlier ones are
    ///   kept with their errors. Where the program goes on without the node, [`Run::recovered`] says so.
    /// - A name that the DAG does **not know** has a span, but no place on the tracker, which a warning says.
    /// - A node **inside another** is a separate node: its queries are its own, its time is also in that of the outer one.
    /// - **After the end** of the run the code runs, and nothing of it is recorded.
    /// - A query that goes on when the code has ended, as that of a stream that is returned, still belongs to the node: what
    ///   it says of rows and data is added when it ends, at the latest at the end of the run. The node's time ends with its
    ///   code. For a `DataFrame` that is returned there is [`Node::frame`].
    /// - A node that is given up because it **stands still**, which `heartbeat.on_stall = "cancel"` asks for, fails by the error
    ///   of its query, which is ended first. Code that goes on to wait is dropped, and the call unwinds as by a panic
    ///   with [`Stalled`] as its payload, which no panic hook shows. [`Run::node_unless_stalled`] returns that as an error.
    pub async fn node<T, E, F, W, Kind>(&self, name: &str, work: W) -> Result<T, E>
    where
        E: RunError<Kind>,
        F: Future<Output = Result<T, E>>,
        W: FnOnce(Node) -> F,
    {
        match self.node_unless_stalled(name, work).await {
            Ok(result) => result,
            Err(stalled) => resume_unwind(Box::new(stalled)),
        }
    }

    /// As [`Run::node`], with a separate error for a node whose code was dropped because it stood still. Without
    /// `heartbeat.on_stall = "cancel"` that error does not occur.
    ///
    /// # Errors
    /// When the code of the node was dropped because it made no progress.
    pub async fn node_unless_stalled<T, E, F, W, Kind>(
        &self,
        name: &str,
        work: W,
    ) -> Result<Result<T, E>, Stalled>
    where
        E: RunError<Kind>,
        F: Future<Output = Result<T, E>>,
        W: FnOnce(Node) -> F,
    {
        self.state.give_way().await;
        node_of(&self.state, name, work).await
    }

    /// Runs code that belongs to the run but to no node, such as the setup of a session: with a span, and with the run's
    /// ids in its logs. The result passes through as it is; an error marks stage and run as failed.
    pub async fn stage<T, E, F, Kind>(&self, stage: &str, work: F) -> Result<T, E>
    where
        E: RunError<Kind>,
        F: Future<Output = Result<T, E>>,
    {
        self.staged(stage, None, |_| None, work).await
    }

    /// As [`Run::stage`], for a piece of code such as a statement that sets a session up: the span says where the code
    /// stands and, as far as the policy shows it, what it is; and how many rows it returned, as `rows` finds in the result.
    pub async fn stage_of_code<T, E, F, Kind>(
        &self,
        stage: &str,
        code: &Code,
        rows: impl FnOnce(&T) -> Option<u64>,
        work: F,
    ) -> Result<T, E>
    where
        E: RunError<Kind>,
        F: Future<Output = Result<T, E>>,
    {
        self.staged(stage, Some(code), rows, work).await
    }

    async fn staged<T, E, F, Kind>(
        &self,
        stage: &str,
        code: Option<&Code>,
        rows: impl FnOnce(&T) -> Option<u64>,
        work: F,
    ) -> Result<T, E>
    where
        E: RunError<Kind>,
        F: Future<Output = Result<T, E>>,
    {
        self.state.give_way().await;
        let stage = &*self.state.context.shown_name(stage);
        // A stage of the run within a node is a part of what the node does, and is interrupted with it.
        let is_in_node = QueryOwner::current().is_some_and(|owner| owner.node().is_some());
        let _stage = self.state.beats.in_stage(stage);
        let parent = match QueryOwner::current() {
            // Within a stage of this run it is a part of that one. The current span of another run does not belong to this one.
            Some(owner) if Arc::ptr_eq(owner.run(), &self.state.core) => Context::current(),
            _ => self.state.otel_context(),
        };
        let span = self.state.context.signals.span(names::span::STAGE).parent(&parent).stage(stage);
        let policy = &self.state.context.policy;
        let sql = code.and_then(|code| policy.capture_sql(&code.text));
        let span =
            code.into_iter().fold(span, |span, code| with_code(span, code, sql.clone(), policy)).start();
        let work = match is_in_node {
            true => Either::Left(in_span(span, policy, rows, work)),
            false => {
                let open = self.state.statements.opened(&self.state.core, stage, code, span);
                Either::Right(async move {
                    let context = open.context();
                    let context = sql.into_iter().fold(context, |context, sql| with_sql(&context, sql));
                    let result = open.follow(work).with_context(context).await;
                    open.end(|span| say(span, policy, rows, &result));
                    result
                })
            }
        };
        let result = AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|payload| {
            let policy = &self.state.context.policy;
            let reason = policy.capture(Panic::of_payload(&*payload).shown_by(policy.redactor()));
            self.state.log.fail(FailedPart::Stage(stage.to_owned()), reason);
            resume_unwind(payload)
        });
        match &result {
            // Tried again under the same name, and with success: the run has not failed by it.
            Ok(_) => _ = self.state.log.records().recover(&FailedPart::Stage(stage.to_owned())),
            Err(error) => {
                let reason = self.state.context.policy.capture_error(&RecordedError::of(error).text());
                self.state.log.fail(FailedPart::Stage(stage.to_owned()), reason);
            }
        }
        result
    }

    /// Says that the program has dealt with the failure of a node or stage: the node stays a failure with its error, the run
    /// is not one because of it. To run the node again is another way: then the last attempt counts.
    pub fn recovered(&self, name: &str) {
        let name = &*self.state.context.shown_name(name);
        let mut records = self.state.log.records();
        let node_had_failed = records.recover(&FailedPart::Node(name.to_owned()));
        let had_failed = records.recover(&FailedPart::Stage(name.to_owned())) || node_had_failed;
        if node_had_failed && let Some(record) = records.nodes.get_mut(name) {
            record.recovered = true;
        }
        // Before the warning, which takes the same lock.
        drop(records);
        if !had_failed {
            let warning = format!("{name:?} has not failed: there is nothing to recover from");
            self.state.log.warn(WarningCode::NothingToRecover, warning);
        }
    }

    /// The OpenTelemetry context of the run. What runs in it, as a thread does that has attached it
    /// (`let _guard = run.context().attach();`), belongs to the run, also where other runs are open.
    pub fn context(&self) -> Context {
        self.state.otel_context()
    }

    /// Work that belongs to the run wherever it is polled, such as one that is given to `tokio::spawn`.
    pub fn in_context<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        work.with_context(self.context())
    }

    /// Marks the run as failed for a reason that is not a node's: an error, with its causes, or a text.
    pub fn fail<Kind>(&self, reason: impl RunError<Kind>) {
        self.fail_with(&RecordedError::of(&reason));
    }

    pub(crate) fn fail_with(&self, error: &RecordedError) {
        self.last.fail(error);
    }

    /// Warns of something about the run's subject, such as its script: once, on the console and in the finish report.
    pub fn warn(&self, warning: impl std::fmt::Display) {
        self.warn_of(WarningCode::Program, warning);
    }

    /// [`Run::warn`] with a code that says what it is about.
    pub fn warn_of(&self, code: WarningCode, warning: impl std::fmt::Display) {
        self.state.log.warn(code, warning.to_string());
    }

    /// Brings the signal files of the bundle up to this moment, with the state of the metrics, while the run goes on. False
    /// when that took longer than `otel.shutdown_seconds`.
    pub async fn snapshot(&self) -> bool {
        let state = Arc::clone(&self.state);
        let write = move || {
            state.context.signals.snapshot_metrics();
            state.context.signals.flush_files(state.context.settings().otel.shutdown_timeout())
        };
        // It waits for files. A thread of the runtime would keep a task waiting for as long.
        on_own_thread("daglight-snapshot", write).await.unwrap_or(false)
    }

    /// Ends the run: final states, delivery and export as far as the timeouts allow, manifest and report. Needs no
    /// particular runtime, and blocks none.
    ///
    /// Delivery to the tracking server and export over OTLP go on at the same time: in all, the end takes as long as the
    /// longer one of `tracker.flush_seconds` (10 by default) and `otel.shutdown_seconds` (5 by default). What waits then
    /// is in the bundle, and the report says how much that is.
    ///
    /// Where a clone has finished the run, or is about to, the report is the same.
    pub async fn finish(self) -> FinishReport {
        let state = Arc::clone(&self.state);
        let (sender, receiver) = oneshot::channel();
        // Ends with this call, whether it comes to see the report or is dropped.
        let (_caller, caller_is_gone) = mpsc::channel::<()>();
        state.ending.progress.begin();
        // From now on, also where this call is dropped before the thread has started.
        let under_way = state.context.shared.ends.under_way();
        let end = move || {
            let last_words = last_words(&state);
            let report = state.end();
            drop(under_way);
            // Nobody may be there to take it.
            let _ = sender.send(report.clone());
            let is_stuck = caller_is_gone.recv_timeout(STUCK_AFTER) == Err(mpsc::RecvTimeoutError::Timeout);
            if is_stuck {
                signals::exit_for(&state, last_words.as_deref(), &report);
            }
        };
        let started = thread::Builder::new().name("daglight-finish".into()).spawn(end);
        let report = match started {
            Ok(_) => receiver.await.ok(),
            Err(_) => None,
        };
        // Without a thread, or where its end panicked: ending twice returns the report of the first end.
        let report = report.unwrap_or_else(|| self.state.end());
        leave_to_second_signal();
        report
    }

    /// As [`Run::finish`], for code that is not async. Do not call it on a thread of an async runtime.
    pub fn finish_blocking(self) -> FinishReport {
        let report = self.state.end();
        leave_to_second_signal();
        report
    }

    /// What is known of a node that has started.
    pub fn node_record(&self, name: &str) -> Option<NodeRecord> {
        self.state.log.records().nodes.get(&*self.state.context.shown_name(name)).cloned()
    }
}

/// The code of a node of a run, as [`Run::node_unless_stalled`] says.
pub(crate) async fn node_of<T, E, F, W, Kind>(
    state: &Arc<RunState>,
    name: &str,
    work: W,
) -> Result<Result<T, E>, Stalled>
where
    E: RunError<Kind>,
    F: Future<Output = Result<T, E>>,
    W: FnOnce(Node) -> F,
{
    let running = NodeRun::start(state, name);
    let scope = Arc::clone(running.scope());
    let context = running.context();
    let node = Node { scope: Arc::clone(&scope), run: Arc::clone(state) };
    let owner = QueryOwner::Node(Arc::clone(&scope));
    let work = owner.follow(async { work(node).await });
    // Nothing here is used after the panic but what ends the node.
    let work = AssertUnwindSafe(work).catch_unwind().with_context(context);
    // The work is dropped before the node ends.
    let done = {
        let work = pin!(work);
        // The order to stop is polled first, since work that is always ready would never let it be seen.
        match select(pin!(scope.stop.ordered()), work).await {
            Either::Left((stalled, _)) => Err(stalled),
            Either::Right((done, _)) => Ok(done),
        }
    };
    match done {
        Ok(Ok(Ok(result))) => {
            running.succeed();
            Ok(Ok(result))
        }
        Ok(Ok(Err(error))) => {
            running.fail(&RecordedError::of(&error));
            Ok(Err(error))
        }
        Ok(Err(payload)) => {
            match payload.downcast_ref() {
                Some(stalled) => running.stalled(stalled),
                None => running.panicked(&Panic::of_payload(&*payload)),
            }
            resume_unwind(payload)
        }
        Err(stalled) => {
            running.stalled(&stalled);
            Err(stalled)
        }
    }
}

impl LastHandle {
    fn fail(&self, error: &RecordedError) {
        let reason = self.state.context.policy.capture_error(&error.text());
        self.state.log.fail(FailedPart::Run, reason);
    }
}

impl Drop for LastHandle {
    fn drop(&mut self) {
        // The usual case: `finish` has been called, and its own clone goes now.
        if self.state.is_ending() {
            return;
        }
        let reason =
            if thread::panicking() { "the program panicked" } else { "the run was dropped unfinished" };
        self.fail(&RecordedError::new("Error", reason));
        // Not here. A drop may happen anywhere, and an end waits for servers.
        let end: fn(&Arc<RunState>) = |run| _ = run.end();
        self.state.context.shared.ends.begin(&self.state, end);
    }
}
