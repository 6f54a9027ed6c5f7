//! Where spans and log records go as they are made: to the files of their run, and to the queue for OTLP.

use std::{
    borrow::Cow,
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use opentelemetry::{
    Context, InstrumentationScope,
    logs::{AnyValue, LogRecord as _},
    trace::{Span as _, SpanId},
};
use opentelemetry_sdk::{
    error::{OTelSdkError, OTelSdkResult},
    logs::{LogProcessor, SdkLogRecord},
    trace::{Span, SpanData, SpanProcessor},
};

use crate::{
    ledger::Counts,
    origin::Origin,
    otlp::{LogQueue, Sent, SpanQueue},
    queue::Queue,
    run_state::RunState,
};

/// Locks over which the open spans are spread.
const SHARDS: usize = 16;

/// Brings each span to the files of its run, and to the OTLP queue when it is sampled.
pub(crate) struct RunSpanProcessor {
    runs_of_open_spans: [Mutex<HashMap<SpanId, Arc<RunState>>>; SHARDS],
    otlp: Option<Arc<SpanQueue>>,
    outside: Arc<Origin>,
}

impl RunSpanProcessor {
    /// `outside` is where the spans of no run come from.
    pub(crate) fn new(otlp: Option<Arc<SpanQueue>>, outside: Arc<Origin>) -> Self {
        Self { runs_of_open_spans: Default::default(), otlp, outside }
    }

    fn shard(&self, span: SpanId) -> &Mutex<HashMap<SpanId, Arc<RunState>>> {
        let [.., last] = span.to_bytes();
        &self.runs_of_open_spans[usize::from(last) % SHARDS]
    }

    fn send(&self, span: SpanData, origin: &Arc<Origin>) {
        if let Some(queue) = &self.otlp {
            send(queue, span, origin, &origin.counts.traces.otlp);
        }
    }
}

impl SpanProcessor for RunSpanProcessor {
    fn on_start(&self, span: &mut Span, context: &Context) {
        if let Some(run) = RunState::of(context) {
            run.span_started(span);
            let id = span.span_context().span_id();
            self.shard(id).lock().unwrap_or_else(PoisonError::into_inner).insert(id, run);
        }
    }

    fn on_end(&self, span: SpanData) {
        let id = span.span_context.span_id();
        let run = self.shard(id).lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        let sampled = span.span_context.is_sampled();
        match run {
            Some(run) => {
                if sampled && self.otlp.is_some() {
                    self.send(span.clone(), &run.origin);
                }
                run.span_ended(span);
            }
            None if sampled => self.send(span, &self.outside),
            None => {}
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        flush(self.otlp.as_deref())
    }

    /// The bridge ends exporting, and waits for it.
    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl fmt::Debug for RunSpanProcessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunSpanProcessor").field("otlp", &self.otlp).finish_non_exhaustive()
    }
}

/// Brings each log record to the files of the run in whose context it was made, and to the OTLP queue.
#[derive(Debug)]
pub(crate) struct RunLogProcessor {
    otlp: Option<Arc<LogQueue>>,
    outside: Arc<Origin>,
}

impl RunLogProcessor {
    /// `outside` is where the records of no run come from.
    pub(crate) fn new(otlp: Option<Arc<LogQueue>>, outside: Arc<Origin>) -> Self {
        Self { otlp, outside }
    }
}

impl LogProcessor for RunLogProcessor {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        let run = Context::map_current(RunState::of);
        if run.is_none() && self.otlp.is_none() {
            return;
        }
        complete(record);
        if let Some(queue) = &self.otlp {
            let origin = run.as_ref().map_or(&self.outside, |run| &run.origin);
            send(queue, Box::new((record.clone(), scope.clone())), origin, &origin.counts.logs.otlp);
        }
        if let Some(run) = run {
            run.log(record.clone(), scope.clone());
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        flush(self.otlp.as_deref())
    }

    /// The bridge ends exporting, and waits for it.
    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Gives a record of the `tracing` bridge what the bridge leaves out or gets wrong.
fn complete(record: &mut SdkLogRecord) {
    if record.timestamp().is_none()
        && let Some(observed) = record.observed_timestamp()
    {
        record.set_timestamp(observed);
    }
    // An event without a name of its own is named after its line of source, which is no name.
    if record.event_name().is_some_and(|name| name.starts_with("event ")) {
        record.set_event_name("");
    }
    // Records of the `log` crate all come from one place in `tracing-log`; their own target is a field.
    if record.target().is_some_and(|target| target == "log") {
        let target = record.attributes_iter().find_map(|(key, value)| match value {
            AnyValue::String(target) if key.as_str() == "log.target" => Some(target.as_str().to_owned()),
            _ => None,
        });
        if let Some(target) = target {
            record.set_target(Cow::Owned(target));
        }
    }
}

fn send<T: Send + 'static>(queue: &Queue<Sent<T>>, item: T, origin: &Arc<Origin>, counts: &Counts) {
    counts.produced(1);
    if queue.push(Sent { item, origin: Arc::clone(origin) }).is_err() {
        counts.dropped(1);
    }
}

fn flush<T: Send + 'static>(queue: Option<&Queue<T>>) -> OTelSdkResult {
    let timeout = Duration::from_secs(5);
    let done = queue.is_none_or(|queue| queue.flush(Instant::now() + timeout));
    if done { Ok(()) } else { Err(OTelSdkError::Timeout(timeout)) }
}
