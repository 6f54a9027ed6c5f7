//! Spans of a run: started with their stage and node, ended with a status, and measured at their end.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::SystemTime,
};

use daglight_capture_policy::Captured;
use daglight_run_bundle::clock;
use daglight_run_identity::NodeKind;
use opentelemetry::{
    Context, KeyValue,
    trace::{SpanRef, Status, TraceContextExt as _, Tracer as _},
};

use crate::{
    metrics::Measured,
    names::{Key, event, key, span},
    own_record::{OwnRecord, Recorded},
    run_spans::RunSpans,
    span_status::SpanStatus,
    value::{AttributeKey, AttributeValue},
};

/// The `error.type` of a span that a panic went through.
const PANIC: &str = "panic";

/// A span of a run before its start.
#[derive(Debug)]
#[must_use]
pub struct StageSpanBuilder {
    run: Arc<RunSpans>,
    name: &'static str,
    parent: Option<Context>,
    recorded: Recorded,
    stage: Option<String>,
    node_kind: Option<NodeKind>,
    started_at: Option<SystemTime>,
    is_past: bool,
}

impl StageSpanBuilder {
    pub(crate) fn new(run: Arc<RunSpans>, name: &'static str) -> Self {
        Self {
            run,
            name,
            parent: None,
            recorded: Recorded { name, ..Recorded::default() },
            stage: None,
            node_kind: None,
            started_at: None,
            is_past: false,
        }
    }

    /// The context of the parent span. Default: the current context if it belongs to the run, else the root span.
    pub fn parent(mut self, context: &Context) -> Self {
        self.parent = Some(context.clone());
        self
    }

    /// Sets an attribute.
    pub fn attribute(mut self, key: impl Into<AttributeKey>, value: impl Into<AttributeValue>) -> Self {
        self.recorded.attributes.push(self.run.attribute(key.into(), value.into()));
        self
    }

    /// The stage: extract, normalize, compile, plan, register, write, or a custom one.
    pub fn stage(mut self, stage: impl Into<String>) -> Self {
        let stage = stage.into();
        // For the span it is one of the names chosen by the author; below it is for the metrics and the threshold of the stage.
        self.recorded.names.push(self.run.named(Key::Stage, stage.clone()));
        self.stage = Some(stage);
        self
    }

    /// The name of the DAG's node that the span belongs to.
    pub fn node(mut self, name: impl Into<String>) -> Self {
        self.recorded.names.push(self.run.named(Key::Node, name.into()));
        self
    }

    /// The kind of that node.
    pub fn node_kind(mut self, kind: NodeKind) -> Self {
        self.recorded.attributes.push(self.run.attribute(Key::NodeKind.into(), kind.name().into()));
        self.node_kind = Some(kind);
        self
    }

    /// The start time, for work that has already started. Default: now.
    pub fn start_at(mut self, time: SystemTime) -> Self {
        self.started_at = Some(time);
        self
    }

    /// It is made of what was measured, and ends as soon as it has started: it need not be known as open, in case that the
    /// process is killed.
    pub fn past(mut self) -> Self {
        self.is_past = true;
        self
    }

    /// Starts the span.
    #[expect(
        clippy::disallowed_methods,
        reason = "a span without a time of the caller's starts and ends now"
    )]
    pub fn start(self) -> StageSpan {
        // A span without a parent belongs to the run, directly below its root.
        let parent = self.run.context_in_run(self.parent);
        let started_at = self.started_at.unwrap_or_else(clock::now);
        let tracer = self.run.tracer();
        let builder = tracer.span_builder(self.name).with_start_time(started_at);
        let record = OwnRecord::new(self.recorded, self.run.max_events_per_span(), self.is_past);
        let span = tracer.build_own(builder, &parent, &record);
        if self.name == span::NODE {
            self.run.metrics().active_tasks(1);
        }
        StageSpan {
            context: parent.with_span(span),
            record,
            run: self.run,
            name: self.name,
            stage: self.stage,
            node_kind: self.node_kind,
            started_at,
            outcome: Mutex::new(Outcome::default()),
        }
    }
}

/// A span of a run.
///
/// [`Self::end`] marks it as successful unless [`Self::fail`] or [`Self::finish_as`] was called. A span that is dropped before its
/// end, like those of a cancelled future, ends as `cancelled`, or as a failure during a panic.
///
/// Its data is not recorded on the span in its context, to which any code can write: it is kept separately, and takes precedence if
/// both set the same attribute.
pub struct StageSpan {
    context: Context,
    record: Arc<OwnRecord>,
    run: Arc<RunSpans>,
    name: &'static str,
    stage: Option<String>,
    node_kind: Option<NodeKind>,
    started_at: SystemTime,
    outcome: Mutex<Outcome>,
}

#[derive(Debug, Default)]
struct Outcome {
    status: Option<SpanStatus>,
    error_type: Option<String>,
    row_count: Option<u64>,
    column_count: Option<u64>,
    bytes: Option<u64>,
    ended: bool,
}

impl StageSpan {
    /// The context with the span and its run: everything that is logged and started in it belongs to them.
    pub fn context(&self) -> Context {
        self.context.clone()
    }

    /// Sets an attribute; if a key is set several times, the last value is kept.
    pub fn set(&self, key: impl Into<AttributeKey>, value: impl Into<AttributeValue>) {
        self.record.set(self.run.attribute(key.into(), value.into()));
    }

    /// The number of rows that it read or wrote.
    pub fn row_count(&self, rows: u64) {
        self.set(Key::RowCount, rows);
        // The metrics are recorded when the span ends, and cannot read attributes back from it.
        self.outcome().row_count = Some(rows);
    }

    /// The number of columns that it read or wrote.
    pub fn column_count(&self, columns: u64) {
        self.set(Key::ColumnCount, columns);
        self.outcome().column_count = Some(columns);
    }

    /// The number of bytes that it read or wrote.
    pub fn bytes(&self, bytes: u64) {
        self.set(Key::Bytes, bytes);
        self.outcome().bytes = Some(bytes);
    }

    /// Marks it as failed: status, `error.type`, and an exception event. `error_type` must be one of few values, such as the name
    /// of an error enum's variant.
    pub fn fail(&self, error_type: &str, message: &Captured) {
        self.fail_with_stack(error_type, message, None);
    }

    /// Like [`Self::fail`], with a stack trace or the chain of causes.
    pub fn fail_with_stack(&self, error_type: &str, message: &Captured, stack: Option<&Captured>) {
        let text = message.to_text();
        let mut attributes = vec![
            KeyValue::new(key::EXCEPTION_TYPE, error_type.to_owned()),
            KeyValue::new(key::EXCEPTION_MESSAGE, text.clone()),
        ];
        attributes.extend(stack.map(|stack| KeyValue::new(key::EXCEPTION_STACKTRACE, stack.to_text())));
        self.record.event(event::EXCEPTION, attributes);
        self.mark_failed(error_type, text);
    }

    /// Sets how it ends, if not `ok`. A failure stays a failure.
    pub fn finish_as(&self, status: SpanStatus) {
        let mut outcome = self.outcome();
        // An error stays: whatever follows, such as a cancellation of the rest, is its consequence.
        if outcome.status != Some(SpanStatus::Error) {
            outcome.status = Some(status);
        }
    }

    /// Adds an event with the current time.
    pub fn event(
        &self,
        name: &'static str,
        attributes: impl IntoIterator<Item = (AttributeKey, AttributeValue)>,
    ) {
        let attributes: Vec<KeyValue> =
            attributes.into_iter().map(|(key, value)| self.run.attribute(key, value)).collect();
        if name == event::STALL {
            self.run.metrics().stalled(&attributes);
        }
        self.record.event(name, attributes);
    }

    /// Ends it with the current time.
    #[expect(
        clippy::disallowed_methods,
        reason = "a span without a time of the caller's starts and ends now"
    )]
    pub fn end(self) {
        self.end_at(clock::now());
    }

    /// Ends it with a time in the past.
    pub fn end_at(self, time: SystemTime) {
        self.end_once(time, SpanStatus::Ok);
    }

    /// When it started.
    pub fn started_at(&self) -> SystemTime {
        self.started_at
    }

    /// The trace id: 32 hexadecimal characters.
    pub fn trace_id(&self) -> String {
        self.span().span_context().trace_id().to_string()
    }

    /// The span id: 16 hexadecimal characters.
    pub fn span_id(&self) -> String {
        self.span().span_context().span_id().to_string()
    }

    fn span(&self) -> SpanRef<'_> {
        self.context.span()
    }

    fn outcome(&self) -> MutexGuard<'_, Outcome> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does nothing when the span has ended.
    fn mark_failed(&self, error_type: &str, description: String) {
        self.record.set(KeyValue::new(key::ERROR_TYPE, error_type.to_owned()));
        self.record.set_status(Status::error(description));
        let mut outcome = self.outcome();
        outcome.status = Some(SpanStatus::Error);
        outcome.error_type = Some(error_type.to_owned());
    }

    fn end_once(&self, time: SystemTime, otherwise: SpanStatus) {
        // Taken out, and the lock given back: ending a span calls the span processors of the program, which may come back to
        // this one.
        let outcome = std::mem::replace(&mut *self.outcome(), Outcome { ended: true, ..Outcome::default() });
        // A panic between `end_at` and the drop of the span must not end it a second time, as cancelled.
        if outcome.ended {
            return;
        }
        let status = outcome.status.unwrap_or(otherwise);
        // The clock may have been set back meanwhile.
        let time = time.max(self.started_at);
        let duration = time.duration_since(self.started_at).unwrap_or_default();
        self.record.set(self.run.attribute(Key::Status.into(), status.name().into()));
        // A whole run is expected to take longer than any of its parts.
        if self.name != span::PIPELINE_EXECUTE && duration > self.run.slow_after().of(self.stage.as_deref()) {
            self.record.set(self.run.attribute(Key::Slow.into(), true.into()));
        }
        self.span().end_with_timestamp(time);
        let metrics = self.run.metrics();
        metrics.ended(&Measured {
            operation: self.name,
            stage: self.stage.as_deref(),
            node_kind: self.node_kind.map(NodeKind::name),
            status,
            error_type: outcome.error_type.as_deref(),
            duration,
            ended_at: time,
            span: self.span().span_context(),
            row_count: outcome.row_count,
            column_count: outcome.column_count,
            bytes: outcome.bytes,
        });
        if self.name == span::NODE {
            metrics.active_tasks(-1);
        }
    }
}

impl Drop for StageSpan {
    #[expect(
        clippy::disallowed_methods,
        reason = "a span without a time of the caller's starts and ends now"
    )]
    fn drop(&mut self) {
        if thread::panicking() {
            // The text of the panic is not here, and may hold values: the node's error has it, as the policy shows
            // it.
            self.mark_failed(PANIC, PANIC.into());
        }
        self.end_once(clock::now(), SpanStatus::Cancelled);
    }
}

impl fmt::Debug for StageSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StageSpan")
            .field("name", &self.name)
            .field("trace_id", &self.trace_id())
            .field("span_id", &self.span_id())
            .finish_non_exhaustive()
    }
}
