//! One open run from the view of the processors: the attributes that are added to its signals, and the queue to its files.

use std::{
    io, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use opentelemetry::{Context, InstrumentationScope};
use opentelemetry_proto::{
    tonic::metrics::v1::MetricsData, transform::common::tonic::ResourceAttributesWithSchema,
};
use opentelemetry_sdk::{logs::SdkLogRecord, trace::Span};

use crate::{
    door::{Door, Exportable},
    ledger::{Counts, Losses},
    names::{Namespace, span},
    origin::Origin,
    own_record::{OwnRecord, RawSpan},
    queue::{Queue, QueueSettings, WhenFull},
    run_scope::RunScope,
    signal_files::{Entry, Problems, SignalWriter},
};

/// The value that marks an OpenTelemetry context as belonging to a run.
#[derive(Debug, Clone)]
pub(crate) struct CurrentRun(pub(crate) Arc<RunState>);

/// An open run. It lives longer than the run if a context or a span still refers to it, and then accepts nothing more.
#[derive(Debug)]
pub(crate) struct RunState {
    queue: Option<Queue<Entry>>,
    /// Heartbeats that have ended, and are written together. `None` if the files are closed.
    beats: Mutex<Option<Vec<RawSpan>>>,
    pub(crate) origin: Arc<Origin>,
    pub(crate) problems: Problems,
}

/// The maximum number of entries that wait for the writer.
const QUEUE_LENGTH: usize = 4_096;
/// Entries written at once.
const BATCH_LENGTH: usize = 256;
/// How long entries accumulate before they are written.
const LINGER: Duration = Duration::from_millis(50);
/// How many heartbeats share a line: each line repeats the resource, which is larger than a beat. If the process is killed, those
/// not yet written are lost; `heartbeat.json` has the last one.
const BEATS_PER_LINE: usize = 12;
/// How long a disk may make no progress before entries are dropped.
const LONGEST_DISK_WAIT: Duration = Duration::from_secs(10);

impl RunState {
    /// Opens the files and starts their writer.
    pub(crate) fn open(
        scope: &RunScope,
        namespace: &Namespace,
        resource: ResourceAttributesWithSchema,
        door: Door,
        losses: &Losses,
    ) -> Self {
        let origin = Arc::new(Origin::of_run(scope, namespace, losses));
        let problems = Problems::default();
        let mut writer = SignalWriter::create(
            scope.files.as_ref(),
            scope.durability,
            resource,
            door,
            Arc::clone(&origin),
            problems.clone(),
        );
        let settings = QueueSettings {
            name: "daglight-files",
            capacity: QUEUE_LENGTH,
            max_batch: BATCH_LENGTH,
            linger: LINGER,
            when_full: WhenFull::Wait(LONGEST_DISK_WAIT),
        };
        let queue = Queue::start(settings, move |entries| writer.write(entries));
        let queue = queue.map_err(|error: io::Error| {
            problems.add("cannot start the writer of the signal files", &error);
        });
        Self { queue: queue.ok(), beats: Mutex::new(Some(Vec::new())), origin, problems }
    }

    /// The run to which `context` belongs.
    pub(crate) fn of(context: &Context) -> Option<Arc<Self>> {
        context.get::<CurrentRun>().map(|run| Arc::clone(&run.0))
    }

    /// Whether `context` belongs to a run.
    pub(crate) fn has(context: &Context) -> bool {
        context.get::<CurrentRun>().is_some()
    }

    pub(crate) fn span_started(&self, span: &Span, own: Option<&OwnRecord>) {
        // Before anything is copied.
        if own.is_some_and(|own| own.is_past) {
            return;
        }
        if let (Some(queue), Some(data)) = (&self.queue, span.exported_data())
            // A beat ends at once: recording it as open would only make the file larger.
            && data.name != span::HEARTBEAT
        {
            // A copy, which has a cost: this makes the open spans of a killed process known. Most spans end before it is written.
            let span = RawSpan { data, own: own.map(OwnRecord::snapshot) };
            // If there is no room, losing a start record is harmless: the span itself follows.
            let _ = queue.push(Entry::Started(Box::new(span)));
        }
    }

    pub(crate) fn span_ended(&self, span: RawSpan) {
        let counts = &self.origin.counts.traces.bundle;
        counts.produced(1);
        if span.data.name != span::HEARTBEAT {
            self.write_beats();
            self.push_produced(Entry::Ended(Box::new(span)), counts, 1);
            return;
        }
        let mut gathered = self.beats();
        let Some(beats) = gathered.as_mut() else {
            // The files are closed.
            drop(gathered);
            self.push_produced(Entry::Ended(Box::new(span)), counts, 1);
            return;
        };
        beats.push(span);
        // A line with a single beat would repeat the resource, a kilobyte, every few seconds for the whole run.
        let is_line = beats.len() >= BEATS_PER_LINE;
        drop(gathered);
        if is_line {
            self.write_beats();
        }
    }

    /// Queues the heartbeats that have accumulated.
    fn write_beats(&self) {
        let beats = self.beats().as_mut().map(mem::take);
        self.queue_beats(beats);
    }

    /// Without holding the lock of the accumulated beats: the queue may wait for a disk, and every span that ends checks for beats.
    fn queue_beats(&self, beats: Option<Vec<RawSpan>>) {
        if let Some(beats) = beats.filter(|beats| !beats.is_empty()) {
            let items = beats.len() as u64;
            self.push_produced(Entry::Beats(beats), &self.origin.counts.traces.bundle, items);
        }
    }

    fn beats(&self) -> MutexGuard<'_, Option<Vec<RawSpan>>> {
        self.beats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn log(&self, record: SdkLogRecord, scope: InstrumentationScope) {
        self.push(Entry::Log(Box::new((record, scope))), &self.origin.counts.logs.bundle, 1);
    }

    /// Returns false if the line was not accepted.
    pub(crate) fn metrics(&self, snapshot: Exportable<MetricsData>, points: u64) -> bool {
        let entry = Entry::Metrics { snapshot: Box::new(snapshot), points };
        self.push(entry, &self.origin.counts.metrics.bundle, points)
    }

    fn push(&self, entry: Entry, counts: &Counts, items: u64) -> bool {
        counts.produced(items);
        self.push_produced(entry, counts, items)
    }

    fn push_produced(&self, entry: Entry, counts: &Counts, items: u64) -> bool {
        let is_taken = self.queue.as_ref().is_some_and(|queue| queue.push(entry).is_ok());
        if !is_taken {
            counts.dropped(items);
        }
        is_taken
    }

    /// Waits until everything so far is in the files. Returns false if that did not happen before `deadline`.
    pub(crate) fn flush(&self, deadline: Instant) -> bool {
        self.write_beats();
        self.queue.as_ref().is_none_or(|queue| queue.flush(deadline))
    }

    /// Accepts nothing more, and waits until the files are complete. Returns false if that did not happen before `deadline`.
    pub(crate) fn close(&self, deadline: Instant) -> bool {
        let last = self.beats().take();
        self.queue_beats(last);
        self.queue.as_ref().is_none_or(|queue| queue.close(deadline))
    }
}
