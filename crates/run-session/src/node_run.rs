//! The telemetry around the code of one node.

use std::sync::Arc;

use daglight_run_bundle::{NodeStatus, WarningCode, clock, milliseconds};
use daglight_tracker_client::{Event, Outcome};
use opentelemetry::Context;

use crate::{
    log::{field, known, log},
    node_outcome::NodeOutcome,
    node_scope::NodeScope,
    node_stop::Stalled,
    open_node::{OpenNode, OpenSpan},
    own_time::Own,
    panics::Panic,
    ran_for::RanFor,
    run_error::RecordedError,
    run_log::FailedPart,
    run_plannings::node_failed,
    run_state::RunState,
};

/// A node between its start and its end. Dropped before its end, by a panic, a signal or because the caller gave up, it
/// ends as that.
pub(crate) struct NodeRun {
    node: Arc<OpenNode>,
    run: Arc<RunState>,
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
        let name = &*state.context.shown_name(name);
        // Tracked are nodes that a server knows, as long as their end can still be sent.
        if !state.core.has_ended() {
            state.core.see_node(name);
        }
        let node = state.context.dag.node(name).filter(|_| !state.core.has_ended());
        let tracked = node.is_some();
        if state.core.has_ended() {
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
        state.beats.runtime.look();
        let (began, ran_for) = (clock::now(), RanFor::now());
        // Counted before the span starts, which has the number of the attempt on it.
        let attempt = node
            .map_or(1, |node| state.log.begin_attempt(&node, began.into(), state.context.dag.is_observed()));
        let (scope, span) = NodeScope::start(Arc::clone(&state.core), name.to_owned(), attempt, began);
        if tracked {
            state.core.note_node(name);
        }
        if tracked && let Some(tracker) = &state.context.tracker {
            tracker.record(&Event::TaskStarted { node: name.to_owned(), time: began.into() });
        }
        if tracked && let Some(lineage) = &state.context.lineage {
            lineage.node_started(&scope, began.into());
        }
        // Taken out by the first to end the node: its own code, the end of the run, or a signal.
        let open = OpenSpan { span, _task: state.beats.while_active(name) };
        let node = Arc::new(OpenNode::new(scope, ran_for, tracked, attempt, open));
        // Behind all that a node consists of: from here on the end of the run, or a signal, may end it from another
        // thread.
        state.nodes.opened(&node);
        Self { node, run: Arc::clone(state) }
    }

    pub(crate) fn scope(&self) -> &Arc<NodeScope> {
        &self.node.scope
    }

    /// The context in which the node's code runs.
    pub(crate) fn context(&self) -> Context {
        self.node.scope.context()
    }

    pub(crate) fn succeed(self) {
        Self::end(&self.run, &self.node, None);
    }

    pub(crate) fn fail(self, error: &RecordedError) {
        // A query that was ended because of a stall returns an error, which the program may wrap or word anew. What it
        // is about is the stall.
        if let Some(stall) = self.node.scope.stop.stall_in(&error.text()) {
            return self.stalled(&stall);
        }
        node_failed(&self.node.scope, &error.text());
        // DataFusion makes an error of a panic in one of its tasks, in whose text the place is missing.
        let place = Panic::place_mentioned_in(&error.text());
        let unsuccessful = Unsuccessful::new(NodeStatus::Failure, error);
        Self::end(&self.run, &self.node, Some(Unsuccessful { place: place.as_deref(), ..unsuccessful }));
    }

    /// Ends as a failure because it made no progress.
    pub(crate) fn stalled(self, stall: &Stalled) {
        let error = RecordedError::new(STALL, stall.reason.as_str());
        Self::end(&self.run, &self.node, Some(Unsuccessful::new(NodeStatus::Failure, &error)));
    }

    /// Ends as a failure by a panic, which goes on.
    pub(crate) fn panicked(self, panic: &Panic) {
        let error = RecordedError::new(PANIC, panic.message());
        let unsuccessful = Unsuccessful::new(NodeStatus::Failure, &error);
        Self::end(&self.run, &self.node, Some(Unsuccessful { place: panic.place(), ..unsuccessful }));
    }

    /// Ends a node whose code is still held somewhere when the run ends: nothing more will be heard of it.
    pub(crate) fn end_with_the_run(run: &RunState, node: &OpenNode) {
        let error = RecordedError::new("unfinished", "the run ended before the node");
        Self::end_early(run, node, NodeStatus::Unfinished, error);
    }

    /// Ends because of a signal where one has come, else as is said.
    fn end_early(run: &RunState, node: &OpenNode, status: NodeStatus, error: RecordedError) {
        let interruption = run.core.interruption.get();
        let (status, error) = match interruption
            .map(|interruption| interruption.of_node(node.interrupted_after()))
        {
            Some(interrupted) => (NodeStatus::Interrupted, RecordedError::new("interrupted", interrupted)),
            None => (status, error),
        };
        Self::end(run, node, Some(Unsuccessful::new(status, &error)));
    }

    /// Ends the node, unless that was done. What its queries say of it follows when the last of them has ended, which mostly
    /// is now.
    fn end(run: &RunState, node: &OpenNode, unsuccessful: Option<Unsuccessful<'_>>) {
        // Ended already, by another of the three that may.
        let open = node.take_open();
        let Some(OpenSpan { span, _task }) = open else { return };
        drop(_task);
        // What the node's code took is what the node took, in every place.
        let elapsed = match &unsuccessful {
            Some(Unsuccessful { status: NodeStatus::Interrupted, .. }) => node.interrupted_after(),
            _ => node.ran_for.elapsed(),
        };
        let _own = run.own_time.measure(Own::Nodes);
        let ended_at = span.started_at() + elapsed;
        let time = ended_at.into();
        // The place of a panic is a fact of the program; its message may hold values.
        let message = unsuccessful.as_ref().map(|Unsuccessful { error, place, .. }| {
            let message = run.context.policy.capture_error(&error.text());
            match place {
                Some(place) => {
                    run.context.policy.capture(format!("panicked at {place}: {}", message.to_text()))
                }
                None => message,
            }
        });
        {
            // Only around what is logged: completing the node below takes locks and calls processors, and must not run
            // under the span that it ends.
            let _guard = span.context().attach();
            let name = run.context.policy.capture(node.scope.name.as_str());
            match (&message, &unsuccessful) {
                (Some(message), Some(Unsuccessful { error, status, .. })) => {
                    let stack = run.context.policy.capture_stack(error.lines());
                    let has_panicked =
                        unsuccessful.as_ref().is_some_and(|unsuccessful| unsuccessful.place.is_some());
                    let error_type = if has_panicked { PANIC } else { error.error_type };
                    span.fail_with_stack(error_type, message, Some(&stack));
                    log!(ERROR, "node failed", node = field(name), error = field(message));
                    let reason = format!("node {}: {}", node.scope.name, message.to_text());
                    let part = FailedPart::Node(node.scope.name.clone());
                    // That a node was not finished is not a reason to fail: the run has another one, or ended well
                    // without it.
                    if *status != NodeStatus::Unfinished && !node.is_overtaken() {
                        run.log.fail(part, run.context.policy.capture(reason));
                    }
                }
                _ => {
                    let rows = node.scope.facts().rows;
                    log!(
                        INFO,
                        "node finished",
                        node = field(name),
                        rows = known(rows),
                        elapsed_ms = field(milliseconds::of(elapsed)),
                    );
                    // An attempt that only starts takes nothing back: it may never end.
                    if !node.is_overtaken() {
                        run.log.records().recover(&FailedPart::Node(node.scope.name.clone()));
                    }
                }
            }
        }
        if node.tracked {
            let mut records = run.log.records();
            if let Some(record) = records.nodes.get_mut(&node.scope.name)
                && record.attempts == node.attempt
            {
                record.status =
                    unsuccessful.as_ref().map_or(NodeStatus::Success, |unsuccessful| unsuccessful.status);
                record.duration_ms = Some(milliseconds::of(elapsed));
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
        let mut ending = NodeOutcome {
            span,
            ended_at,
            time,
            outcome: if unsuccessful.is_none() { Outcome::Success } else { Outcome::Failure },
            error: lines,
            is_interrupted: matches!(
                &unsuccessful,
                Some(Unsuccessful { status: NodeStatus::Interrupted, .. })
            ),
            tracked: node.tracked,
            attempt: node.attempt,
            sent: Vec::new(),
        };
        // Its code has ended and its queries have not, as where a stream is handed out: the server hears of it now, and
        // what they find follows.
        if node.scope.goes_on() {
            ending.announce(&node.scope);
            if node.tracked {
                run.core.note_node(&node.scope.name);
            }
        }
        match node.scope.defer(ending) {
            Some(ending) => ending.complete(&node.scope),
            // The last of its queries, or the end of the run, completes it.
            None if run.nodes.wait_for(&node.scope) => {}
            // Nobody would end it later.
            None => node.scope.give_up(),
        }
        run.nodes.closed(node);
    }
}

impl Drop for NodeRun {
    fn drop(&mut self) {
        // The future of the node was dropped while its thread unwinds: it is not seen by `catch_unwind` where
        // somebody else polls it.
        if std::thread::panicking() {
            let error = RecordedError::new(PANIC, "the node's code panicked");
            Self::end(&self.run, &self.node, Some(Unsuccessful::new(NodeStatus::Failure, &error)));
        } else {
            let error = RecordedError::new("cancelled", "the node was dropped before its end");
            Self::end_early(&self.run, &self.node, NodeStatus::Failure, error);
        }
    }
}
