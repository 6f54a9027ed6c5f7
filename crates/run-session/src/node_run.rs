//! The telemetry around the code of one node.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use daglight_heartbeat::{NodeProgress, TaskGuard};
use daglight_otel_bridge::StageSpan;
use daglight_run_bundle::{NodeStatus, WarningCode, clock};
use daglight_tracker_client::{Event, Outcome};
use opentelemetry::Context;

use crate::{
    live_progress::poll,
    log::{field, known, log},
    node_end::NodeEnd,
    node_scope::NodeScope,
    node_stop::Stalled,
    own_time::Own,
    panics::Panic,
    ran_for::RanFor,
    run_error::RecordedError,
    run_log::FailedPart,
    run_state::RunState,
};

/// A node between its start and its end. Dropped before its end, by a panic, a signal or because the caller gave up, it
/// ends as that.
pub(crate) struct NodeRun(Arc<OpenNode>);

/// A node that has started. The end of the run ends it too, where its own code does not come to it.
pub(crate) struct OpenNode {
    scope: Arc<NodeScope>,
    ran_for: RanFor,
    /// Whether the tracker knows the node.
    tracked: bool,
    attempt: u64,
    /// What lives as long as the node runs.
    open: Mutex<Option<Open>>,
}

struct Open {
    span: StageSpan,
    _task: Option<TaskGuard>,
}

/// The `error.type` of a node that has panicked.
const PANIC: &str = "panic";

/// The `error.type` of a node that was given up because it stood still.
const STALL: &str = "stall";

/// How a node ended that did not succeed.
struct Unsuccessful<'a> {
    status: NodeStatus,
    error: &'a RecordedError,
    /// Where a panic came from.
    place: Option<&'a str>,
}

impl<'a> Unsuccessful<'a> {
    fn new(status: NodeStatus, error: &'a RecordedError) -> Self {
        Self { status, error, place: None }
    }
}

impl NodeRun {
    #[expect(clippy::disallowed_methods, reason = "a node has the time at which it starts")]
    pub(crate) fn start(state: &Arc<RunState>, name: &str) -> Self {
        // The name may come from anywhere, and stands in file names, spans and requests.
        let name = &*state.shown_name(name);
        // Tracked are nodes that a server knows, as long as their end can still be sent.
        let node = state.context.dag.node(name).filter(|_| !state.has_ended());
        let tracked = node.is_some();
        if state.has_ended() {
            state.log.warn(
                WarningCode::NodeAfterRun,
                format!("node {name:?} runs after the end of its run: nothing of it is recorded"),
            );
        } else if !tracked {
            let warning = format!(
                "node {name:?} is not a node of the DAG {}: it will appear in the trace but not in the tracker",
                state.context.dag.name()
            );
            state.log.warn(WarningCode::NodeNotDeclared, warning);
        }
        let _own = state.own_time.measure(Own::Nodes);
        // A node runs on the runtime whose workers its queries use. The thread that starts a run may have none.
        state.runtime.look();
        let (began, ran_for) = (clock::now(), RanFor::now());
        // Counted before the span starts, which has the number of the attempt on it.
        let attempt = node.map_or(1, |node| state.log.begin_attempt(node, began.into()));
        let (scope, span) = NodeScope::start(Arc::clone(state), name.to_owned(), attempt, began);
        if tracked && let Some(tracker) = &state.context.tracker {
            tracker.record(&Event::TaskStarted { node: name.to_owned(), time: began.into() });
        }
        if tracked && let Some(lineage) = &state.context.lineage {
            lineage.node_started(&scope, began.into());
        }
        // Taken out by whoever ends the node first: its own code, the end of the run, or a signal.
        let open = Mutex::new(Some(Open { span, _task: state.beat_while_active(name) }));
        let node = Arc::new(OpenNode { scope, ran_for, tracked, attempt, open });
        // Behind all that a node consists of: from here on the end of the run, or a signal, may end it from another
        // thread.
        state.node_opened(&node);
        Self(node)
    }

    pub(crate) fn scope(&self) -> &Arc<NodeScope> {
        &self.0.scope
    }

    /// The context in which the node's code runs.
    pub(crate) fn context(&self) -> Context {
        self.0.scope.context()
    }

    pub(crate) fn succeed(self) {
        self.0.end(None);
    }

    pub(crate) fn fail(self, error: &RecordedError) {
        // A query that was ended because of a stall returns an error, which the program may wrap or word anew. What it
        // is about is the stall.
        if let Some(stall) = self.0.scope.stop.stall_in(&error.text()) {
            return self.stalled(&stall);
        }
        // DataFusion makes an error of a panic in one of its tasks, in whose text the place is missing.
        let place = Panic::place_mentioned_in(&error.text());
        let unsuccessful = Unsuccessful::new(NodeStatus::Failure, error);
        self.0.end(Some(Unsuccessful { place: place.as_deref(), ..unsuccessful }));
    }

    /// Ends as a failure because it made no progress.
    pub(crate) fn stalled(self, stall: &Stalled) {
        let error = RecordedError::new(STALL, stall.reason.as_str());
        self.0.end(Some(Unsuccessful::new(NodeStatus::Failure, &error)));
    }

    /// Ends as a failure by a panic, which goes on.
    pub(crate) fn panicked(self, panic: &Panic) {
        let error = RecordedError::new(PANIC, panic.message());
        let unsuccessful = Unsuccessful::new(NodeStatus::Failure, &error);
        self.0.end(Some(Unsuccessful { place: panic.place(), ..unsuccessful }));
    }
}

impl OpenNode {
    pub(crate) fn name(&self) -> &str {
        &self.scope.name
    }

    pub(crate) fn scope(&self) -> &NodeScope {
        &self.scope
    }

    /// How long it has run.
    pub(crate) fn elapsed(&self) -> Duration {
        self.ran_for.elapsed()
    }

    /// Whether it has not ended.
    pub(crate) fn is_open(&self) -> bool {
        self.open().is_some()
    }

    /// How far its code is.
    pub(crate) fn progress(&self) -> NodeProgress {
        NodeProgress {
            name: self.scope.name.clone(),
            marks: self.scope.progress.count(),
            polls: self.scope.polls.active().into_iter().map(poll).collect(),
            busy: self.scope.polls.busy(),
            stall_after: self.scope.progress.stall_after(),
            tasks: self.scope.progress.tasks(),
        }
    }

    /// What its work is to the run.
    pub(crate) fn stage(&self) -> &'static str {
        self.scope.stage
    }

    /// How long it has run until now, where a signal has come that ends it.
    pub(crate) fn interrupted_after(&self) -> Duration {
        self.ran_for.interrupted()
    }

    /// Ends a node whose code is still held somewhere when the run ends: nothing more will be heard of it.
    pub(crate) fn end_with_the_run(&self) {
        let error = RecordedError::new("unfinished", "the run ended before the node");
        self.end_early(NodeStatus::Unfinished, error);
    }

    /// Ends because of a signal where one has come, else as is said.
    fn end_early(&self, status: NodeStatus, error: RecordedError) {
        let interruption = self.scope.run.interruption.get();
        let (status, error) = match interruption.map(|interruption| interruption.of_node(self)) {
            Some(interrupted) => (NodeStatus::Interrupted, RecordedError::new("interrupted", interrupted)),
            None => (status, error),
        };
        self.end(Some(Unsuccessful::new(status, &error)));
    }

    fn open(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the node, unless that was done. What its queries say of it follows when the last of them has ended, which mostly
    /// is now.
    fn end(&self, unsuccessful: Option<Unsuccessful<'_>>) {
        // Ended already, by another of the three that may.
        let open = self.open().take();
        let Some(Open { span, _task }) = open else { return };
        drop(_task);
        let state = &self.scope.run;
        // What the node's code took is what the node took, in every place.
        let elapsed = match &unsuccessful {
            Some(Unsuccessful { status: NodeStatus::Interrupted, .. }) => self.interrupted_after(),
            _ => self.ran_for.elapsed(),
        };
        let _own = state.own_time.measure(Own::Nodes);
        let ended_at = span.started_at() + elapsed;
        let time = ended_at.into();
        // The place of a panic is a fact of the program; its message may hold values.
        let message = unsuccessful.as_ref().map(|Unsuccessful { error, place, .. }| {
            let message = state.context.policy.capture_error(&error.text());
            match place {
                Some(place) => {
                    state.context.policy.capture(format!("panicked at {place}: {}", message.to_text()))
                }
                None => message,
            }
        });
        {
            // Only around what is logged: completing the node below takes locks and calls processors, and must not run
            // under the span that it ends.
            let _guard = span.context().attach();
            let node = state.context.policy.capture(self.scope.name.as_str());
            match (&message, &unsuccessful) {
                (Some(message), Some(Unsuccessful { error, status, .. })) => {
                    let stack = state.context.policy.capture_stack(error.lines());
                    let has_panicked =
                        unsuccessful.as_ref().is_some_and(|unsuccessful| unsuccessful.place.is_some());
                    let error_type = if has_panicked { PANIC } else { error.error_type };
                    span.fail_with_stack(error_type, message, Some(&stack));
                    log!(ERROR, "node failed", node = field(node), error = field(message));
                    let reason = format!("node {}: {}", self.scope.name, message.to_text());
                    let part = FailedPart::Node(self.scope.name.clone());
                    // That a node was not finished is not a reason to fail: the run has one of its own, or ended well
                    // without it.
                    if *status != NodeStatus::Unfinished && !self.is_overtaken() {
                        state.log.fail(part, state.context.policy.capture(reason));
                    }
                }
                _ => {
                    let rows = self.scope.facts().rows;
                    log!(
                        INFO,
                        "node finished",
                        node = field(node),
                        rows = known(rows),
                        elapsed_ms = field(elapsed.as_secs_f64() * 1e3),
                    );
                    // An attempt that only starts takes nothing back: it may never end.
                    if !self.is_overtaken() {
                        state.log.records().recover(&FailedPart::Node(self.scope.name.clone()));
                    }
                }
            }
        }
        if self.tracked {
            let mut records = state.log.records();
            if let Some(record) = records.nodes.get_mut(&self.scope.name)
                && record.attempts == self.attempt
            {
                record.status =
                    unsuccessful.as_ref().map_or(NodeStatus::Success, |unsuccessful| unsuccessful.status);
                record.duration_ms = Some(elapsed.as_secs_f64() * 1e3);
                record.error = message.as_ref().map(|message| message.to_text());
            }
        }
        let lines = unsuccessful.as_ref().zip(message.as_ref()).map(|(unsuccessful, message)| {
            let mut lines = unsuccessful.error.lines();
            if let (Some(_), Some(first)) = (unsuccessful.place, lines.first_mut()) {
                *first = message.to_text();
            }
            lines
        });
        let mut ending = NodeEnd {
            span,
            ended_at,
            time,
            outcome: if unsuccessful.is_none() { Outcome::Success } else { Outcome::Failure },
            error: lines,
            is_interrupted: matches!(
                &unsuccessful,
                Some(Unsuccessful { status: NodeStatus::Interrupted, .. })
            ),
            tracked: self.tracked,
            attempt: self.attempt,
            sent: Vec::new(),
        };
        // Its code has ended and its queries have not, as where a stream is handed out: the server hears of it now, and
        // what they find follows.
        if self.scope.goes_on() {
            ending.announce(&self.scope);
        }
        match self.scope.defer(ending) {
            Some(ending) => ending.complete(&self.scope),
            // The last of its queries, or the end of the run, completes it.
            None if state.await_node(&self.scope) => {}
            // Nobody would end it later.
            None => self.scope.give_up(),
        }
        state.node_closed(self);
    }

    /// Whether the node was started again before this attempt ended.
    fn is_overtaken(&self) -> bool {
        let records = self.scope.run.log.records();
        self.tracked && records.nodes.get(&self.scope.name).is_some_and(|node| node.attempts != self.attempt)
    }
}

impl Drop for NodeRun {
    fn drop(&mut self) {
        // The future of the node was dropped while its thread unwinds: it is not seen by `catch_unwind` where
        // somebody else polls it.
        if std::thread::panicking() {
            let error = RecordedError::new(PANIC, "the node's code panicked");
            self.0.end(Some(Unsuccessful::new(NodeStatus::Failure, &error)));
        } else {
            let error = RecordedError::new("cancelled", "the node was dropped before its end");
            self.0.end_early(NodeStatus::Failure, error);
        }
    }
}
