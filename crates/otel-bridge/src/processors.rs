//! Routing spans and log records when they are created: to the files of their run, and to the queue for OTLP.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use opentelemetry::{
    Context, InstrumentationScope,
    logs::{AnyValue, LogRecord as _},
    trace::Span as _,
};
use opentelemetry_sdk::{
    error::{OTelSdkError, OTelSdkResult},
    logs::{LogProcessor, SdkLogRecord},
    trace::{Span, SpanData, SpanProcessor},
};

use crate::{
    attach::MirroredSpan,
    door::Door,
    export_queues::{LogQueue, Sent, SpanQueue},
    ledger::Counts,
    origin::Origin,
    own_record::{self, OwnRecord, RawSpan},
    queue::{Queue, deadline_in},
    run_state::RunState,
    span_map::SpanMap,
};

/// The processor of the bridge's own provider: it passes each span to the files of its run, and to its mirrored span in the
/// program's provider, or to the OTLP queue if it is sampled.
#[derive(Debug)]
pub(crate) struct BridgeSpanProcessor {
    open_spans: SpanMap<OpenSpan>,
    otlp: Option<Arc<SpanQueue>>,
    outside: Arc<Origin>,
    /// For mirrored spans, which end on the thread that ends their span.
    door: Mutex<Door>,
}

/// Where a span goes when it ends, and its separate record.
struct OpenSpan {
    run: Option<Arc<RunState>>,
    mirrored: Option<MirroredSpan>,
    own: Option<Arc<OwnRecord>>,
}

impl BridgeSpanProcessor {
    /// `outside` is the origin of spans outside all runs.
    pub(crate) fn new(otlp: Option<Arc<SpanQueue>>, outside: Arc<Origin>, door: Door) -> Self {
        Self { open_spans: SpanMap::default(), otlp, outside, door: Mutex::new(door) }
    }
}

impl SpanProcessor for BridgeSpanProcessor {
    fn on_start(&self, span: &mut Span, context: &Context) {
        let (run, mirrored) = (RunState::of(context), MirroredSpan::of_starting_span());
        let own = own_record::of_starting_span();
        if let Some(run) = &run {
            run.span_started(span, own.as_deref());
        }
        if run.is_some() || mirrored.is_some() || own.is_some() {
            // Kept here because it cannot be found again at the end: `on_end` has no context, and a span may end on a thread that
            // belongs to no run.
            self.open_spans.insert(span.span_context().span_id(), OpenSpan { run, mirrored, own });
        }
    }

    fn on_end(&self, span: SpanData) {
        let open = self.open_spans.remove(span.span_context.span_id());
        let (run, mirrored, own) =
            open.map_or((None, None, None), |open| (open.run, open.mirrored, open.own));
        let span = RawSpan { data: span, own: own.map(|own| own.take()) };
        let origin = run.as_ref().map_or(&self.outside, |run| &run.origin);
        if let Some(mirrored) = mirrored {
            // On the thread that ends the span, because that is what the program's own processors expect. Queues and files each
            // have a door on their own threads.
            let mut door = self.door.lock().unwrap_or_else(PoisonError::into_inner);
            let span = door.span(span.clone(), origin);
            drop(door);
            mirrored.end(span);
        }
        // The files of a run get every span. Sampling applies only to what leaves the machine.
        let queue = self.otlp.as_ref().filter(|_| span.data.span_context.is_sampled());
        let export = |span, queue| send(queue, span, origin, &origin.counts.traces.otlp);
        match (&run, queue) {
            (Some(run), Some(queue)) => {
                export(span.clone(), queue);
                run.span_ended(span);
            }
            (Some(run), None) => run.span_ended(span),
            (None, Some(queue)) => export(span, queue),
            (None, None) => {}
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

/// Passes each log record to the files of the run in whose context it was created, and to the OTLP queue.
#[derive(Debug)]
pub(crate) struct BridgeLogProcessor {
    otlp: Option<Arc<LogQueue>>,
    outside: Arc<Origin>,
}

impl BridgeLogProcessor {
    /// `outside` is the origin of records outside all runs.
    pub(crate) fn new(otlp: Option<Arc<LogQueue>>, outside: Arc<Origin>) -> Self {
        Self { otlp, outside }
    }
}

impl LogProcessor for BridgeLogProcessor {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        let run = Context::map_current(RunState::of);
        if run.is_none() && self.otlp.is_none() {
            return;
        }
        // Once and before the copies: the appender for `tracing` sets only the observed time, and names each event after its source
        // line.
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

/// Adds to a record of the `tracing` bridge what that bridge leaves out or gets wrong.
pub(crate) fn complete(record: &mut SdkLogRecord) {
    if record.timestamp().is_none()
        && let Some(observed) = record.observed_timestamp()
    {
        record.set_timestamp(observed);
    }
    // An event without a name is named after its source line, which is not a useful name.
    if record.event_name().is_some_and(|name| name.starts_with("event ")) {
        record.set_event_name("");
    }
    // Records of the `log` crate all come from one place in `tracing-log`; their original target is a field.
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
    // Before the push: the worker may export it before this thread continues, and exported without produced would be a negative
    // number of waiting items.
    counts.produced(1);
    if queue.push(Sent { item, origin: Arc::clone(origin) }).is_err() {
        counts.dropped(1);
    }
}

fn flush<T: Send + 'static>(queue: Option<&Queue<T>>) -> OTelSdkResult {
    // The timeout of the SDK's own batch processors, because this serves the same callers.
    let timeout = Duration::from_secs(5);
    let done = queue.is_none_or(|queue| queue.flush(deadline_in(timeout)));
    if done { Ok(()) } else { Err(OTelSdkError::Timeout(timeout)) }
}
