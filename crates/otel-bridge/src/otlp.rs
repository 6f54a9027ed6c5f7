//! Sending spans and log records from bounded queues, with every item counted for the run it came from.

use std::{
    fmt::Display,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use opentelemetry::InstrumentationScope;
use opentelemetry_otlp::{LogExporter, SpanExporter};
use opentelemetry_sdk::{
    Resource,
    logs::{LogBatch, LogExporter as _, SdkLogRecord},
    trace::{SpanData, SpanExporter as _},
};

use crate::{
    console::Console,
    environment::Batches,
    ledger::{AllCounts, Counts},
    origin::Origin,
    queue::{Queue, QueueSettings, WhenFull},
    scrub::Scrubber,
    transport::Executor,
};

/// An item on its way, and where it comes from.
#[derive(Debug)]
pub(crate) struct Sent<T> {
    pub(crate) item: T,
    pub(crate) origin: Arc<Origin>,
}

pub(crate) type LogItem = Box<(SdkLogRecord, InstrumentationScope)>;
pub(crate) type SpanQueue = Queue<Sent<SpanData>>;
pub(crate) type LogQueue = Queue<Sent<LogItem>>;

/// The last thing that went wrong with an endpoint.
#[derive(Debug, Clone, Default)]
pub(crate) struct LastError(Arc<Mutex<Option<String>>>);

impl LastError {
    pub(crate) fn set(&self, error: impl Display) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
    }

    pub(crate) fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Where one signal goes: over OTLP, to the console, or both.
#[derive(Debug)]
pub(crate) struct Destinations<E> {
    pub(crate) otlp: Option<(E, Executor)>,
    pub(crate) console: Option<Console>,
}

/// Starts sending spans.
pub(crate) fn span_queue(
    mut destinations: Destinations<SpanExporter>,
    batches: Batches,
    resource: &Resource,
    mut scrubber: Scrubber,
    last_error: LastError,
) -> io::Result<SpanQueue> {
    if let Some((exporter, _)) = &mut destinations.otlp {
        exporter.set_resource(resource);
    }
    let work = move |batch: Vec<Sent<SpanData>>| {
        let (spans, origins): (Vec<_>, Vec<_>) = batch
            .into_iter()
            .map(|mut sent| {
                sent.origin.stamp_span(&mut sent.item);
                scrubber.span(&mut sent.item);
                (sent.item, sent.origin)
            })
            .unzip();
        if let Some(console) = &destinations.console {
            console.spans(spans.clone());
        }
        if let Some((exporter, executor)) = &destinations.otlp {
            let result = executor.run(exporter.export(spans));
            settle(&origins, |counts| &counts.traces.otlp, result, &last_error);
        }
    };
    start("daglight-spans", batches, work)
}

/// Starts sending log records.
pub(crate) fn log_queue(
    mut destinations: Destinations<LogExporter>,
    batches: Batches,
    resource: &Resource,
    mut scrubber: Scrubber,
    last_error: LastError,
) -> io::Result<LogQueue> {
    if let Some((exporter, _)) = &mut destinations.otlp {
        exporter.set_resource(resource);
    }
    let work = move |batch: Vec<Sent<LogItem>>| {
        let (logs, origins): (Vec<_>, Vec<_>) = batch
            .into_iter()
            .map(|mut sent| {
                sent.origin.stamp_log(&mut sent.item.0);
                scrubber.log(&mut sent.item.0);
                (sent.item, sent.origin)
            })
            .unzip();
        let borrowed: Vec<_> = logs.iter().map(|log| (&log.0, &log.1)).collect();
        if let Some(console) = &destinations.console {
            console.logs(&LogBatch::new(&borrowed));
        }
        if let Some((exporter, executor)) = &destinations.otlp {
            let result = executor.run(exporter.export(LogBatch::new(&borrowed)));
            settle(&origins, |counts| &counts.logs.otlp, result, &last_error);
        }
    };
    start("daglight-logs", batches, work)
}

fn start<T: Send + 'static>(
    name: &'static str,
    batches: Batches,
    work: impl FnMut(Vec<T>) + Send + 'static,
) -> io::Result<Queue<T>> {
    let settings = QueueSettings {
        name,
        capacity: batches.queue_length,
        max_batch: batches.batch_length,
        linger: batches.delay,
        when_full: WhenFull::Refuse,
    };
    Queue::start(settings, work)
}

fn settle<E: Display>(
    origins: &[Arc<Origin>],
    of_signal: impl Fn(&AllCounts) -> &Counts,
    result: Result<(), E>,
    last_error: &LastError,
) {
    for origin in origins {
        of_signal(&origin.counts).settled(1, result.is_ok());
    }
    if let Err(error) = result {
        last_error.set(error);
    }
}
