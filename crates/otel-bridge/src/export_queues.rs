//! The bounded queues through which spans and log records leave the process. Every item is counted for the run from which it came.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use daglight_capture_policy::with_causes;
use daglight_run_bundle::LedgerSignal;

use crate::{
    console::Console,
    door::{Door, LogItem},
    environment::Batches,
    exporters::{LogExport, SpanExport},
    ledger::{AllCounts, Counts, Signal},
    messages::Rejected,
    origin::Origin,
    own_record::RawSpan,
    queue::{Queue, QueueSettings, WhenFull},
    send_error::SendError,
};

/// An item on its way, and its origin.
#[derive(Debug)]
pub(crate) struct Sent<T> {
    pub(crate) item: T,
    pub(crate) origin: Arc<Origin>,
}

pub(crate) type SpanQueue = Queue<Sent<RawSpan>>;
pub(crate) type LogQueue = Queue<Sent<LogItem>>;

/// The last error of an endpoint.
#[derive(Debug, Clone, Default)]
pub(crate) struct LastError(Arc<Mutex<Option<String>>>);

impl LastError {
    fn set(&self, text: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
    }

    /// Returns the number of items that did not arrive, and remembers the reason.
    pub(crate) fn failed(&self, signal: Signal, items: u64, result: Result<Rejected, SendError>) -> u64 {
        match result {
            Ok(Rejected { items: 0, .. }) => 0,
            Ok(rejected) => {
                // An endpoint may claim to have rejected more than it was sent, but the counts must still add up.
                let (refused, signal) = (rejected.items.min(items), LedgerSignal::from(signal));
                let of = signal.items();
                self.set(format!("the endpoint rejected {refused} of {items} {of}: {}", rejected.reason));
                refused
            }
            Err(error) => {
                self.set(with_causes(&error));
                items
            }
        }
    }

    pub(crate) fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Where one signal is sent: over OTLP, to the console, or both.
pub(crate) struct Destinations<E> {
    pub(crate) otlp: Option<E>,
    pub(crate) console: Option<Console>,
}

/// Starts sending spans.
pub(crate) fn span_queue(
    destinations: Destinations<SpanExport>,
    batches: Batches,
    mut door: Door,
    last_error: LastError,
) -> io::Result<SpanQueue> {
    let work = move |batch: Vec<Sent<RawSpan>>| {
        let (spans, origins): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|sent| (door.span(sent.item, &sent.origin), sent.origin)).unzip();
        if let Some(console) = &destinations.console {
            console.spans(spans.clone());
        }
        if let Some(exporter) = &destinations.otlp {
            let failed = last_error.failed(Signal::Traces, origins.len() as u64, exporter.export(spans));
            count(&origins, |counts| &counts.traces.otlp, failed);
        }
    };
    start("daglight-spans", batches, work)
}

/// Starts sending log records.
pub(crate) fn log_queue(
    destinations: Destinations<LogExport>,
    batches: Batches,
    mut door: Door,
    last_error: LastError,
) -> io::Result<LogQueue> {
    let work = move |batch: Vec<Sent<LogItem>>| {
        let (logs, origins): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|sent| (door.log(sent.item, &sent.origin), sent.origin)).unzip();
        if let Some(console) = &destinations.console {
            console.logs(&logs);
        }
        if let Some(exporter) = &destinations.otlp {
            let failed = last_error.failed(Signal::Logs, origins.len() as u64, exporter.export(logs));
            count(&origins, |counts| &counts.logs.otlp, failed);
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
        // Never waits, because items are pushed on the threads of the pipeline, and an endpoint can be unreachable for hours. The
        // files of a run do wait, because a disk is rarely unavailable.
        when_full: WhenFull::Refuse,
    };
    Queue::start(settings, work)
}

/// Counts a batch. An endpoint does not report which items it rejected: the last ones are assumed.
fn count(origins: &[Arc<Origin>], of_signal: impl Fn(&AllCounts) -> &Counts, failed: u64) {
    // An endpoint reports how many items it rejected, but not which. With several runs in one batch the counts of each run are a
    // guess, but their sum is right.
    let arrived = origins.len() - usize::try_from(failed).unwrap_or(origins.len()).min(origins.len());
    for (index, origin) in origins.iter().enumerate() {
        of_signal(&origin.counts).finished(1, index < arrived);
    }
}
