//! One open run as the processors see it: what is stamped on its signals, and the queue to its files.

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use daglight_capture_policy::Durability;
use daglight_run_identity::{DagName, RunId};
use opentelemetry::{Context, InstrumentationScope, Key, KeyValue, StringValue};
use opentelemetry_proto::{
    tonic::metrics::v1::MetricsData, transform::common::tonic::ResourceAttributesWithSchema,
};
use opentelemetry_sdk::{
    logs::SdkLogRecord,
    trace::{Span, SpanData},
};

use crate::{
    ledger::{AllCounts, Counts, Losses},
    names::{self, Namespace, key},
    queue::{Queue, QueueSettings, WhenFull},
    scrub::Scrubber,
    signal_files::{Entry, Problems, SignalFiles, SignalWriter},
};

/// What is known of a run when it starts.
#[derive(Debug, Clone)]
pub struct RunScope {
    /// The run's id.
    pub run_id: RunId,
    /// The name of its DAG.
    pub dag_name: DagName,
    /// Where its signal files go. The folder exists.
    pub files: SignalFiles,
    /// The folder that holds the bundles.
    pub output_dir: PathBuf,
    /// What a line in a signal file survives.
    pub durability: Durability,
    /// More attributes of the resource in the signal files, such as the environment or the commit. They are facts of
    /// the run, not values out of its data.
    pub attributes: BTreeMap<String, String>,
    /// What started the run: the root span becomes its child. Default: the span that is active where the run is opened,
    /// else what [`crate::Bridge::parent_from_environment`] tells.
    pub parent: Option<Context>,
}

impl RunScope {
    /// A run with the defaults of all else.
    pub fn new(run_id: RunId, dag_name: DagName, files: SignalFiles, output_dir: impl Into<PathBuf>) -> Self {
        Self {
            run_id,
            dag_name,
            files,
            output_dir: output_dir.into(),
            durability: Durability::default(),
            attributes: BTreeMap::new(),
            parent: None,
        }
    }
}

/// The value that marks an OpenTelemetry context as one of a run.
#[derive(Debug, Clone)]
pub(crate) struct CurrentRun(pub(crate) Arc<RunState>);

/// An open run. It outlives its end where a context or a span still refers to it, and then takes nothing more.
#[derive(Debug)]
pub(crate) struct RunState {
    stamps: Vec<KeyValue>,
    execution_run_id: OnceLock<i64>,
    queue: Option<Queue<Entry>>,
    pub(crate) counts: Arc<AllCounts>,
    pub(crate) problems: Problems,
}

/// Entries that may wait for the writer.
const QUEUE_LENGTH: usize = 4_096;
/// Entries written at once.
const BATCH_LENGTH: usize = 256;
/// How long entries gather before they are written.
const LINGER: Duration = Duration::from_millis(50);
/// How long a disk may make no progress before entries are dropped.
const DISK_PATIENCE: Duration = Duration::from_secs(10);

impl RunState {
    /// Opens the files and starts their writer.
    pub(crate) fn open(
        scope: &RunScope,
        namespace: &Namespace,
        resource: ResourceAttributesWithSchema,
        scrubber: Scrubber,
        losses: &Losses,
    ) -> Self {
        let counts = Arc::new(AllCounts::new(losses));
        let problems = Problems::default();
        let mut writer = SignalWriter::create(
            &scope.files,
            scope.durability,
            resource,
            scrubber,
            Arc::clone(&counts),
            problems.clone(),
        );
        let settings = QueueSettings {
            name: "daglight-files",
            capacity: QUEUE_LENGTH,
            max_batch: BATCH_LENGTH,
            linger: LINGER,
            when_full: WhenFull::Wait(DISK_PATIENCE),
        };
        let queue = Queue::start(settings, move |entries| writer.write(entries));
        let queue = queue.map_err(|error: io::Error| {
            problems.add(format!("cannot start the writer of the signal files: {error}"));
        });
        Self {
            stamps: stamps(scope, namespace),
            execution_run_id: OnceLock::new(),
            queue: queue.ok(),
            counts,
            problems,
        }
    }

    /// The run that `context` belongs to.
    pub(crate) fn of(context: &Context) -> Option<Arc<Self>> {
        context.get::<CurrentRun>().map(|run| Arc::clone(&run.0))
    }

    /// The attributes of every span and log record of the run.
    pub(crate) fn stamps(&self) -> impl Iterator<Item = KeyValue> + '_ {
        let execution = self.execution_run_id.get();
        let execution = execution.map(|&id| KeyValue::new(key::HAMILTON_EXECUTION_RUN_ID, id));
        self.stamps.iter().cloned().chain(execution)
    }

    /// Remembers the id that the tracking server gave the run; the first one counts.
    pub(crate) fn set_execution_run_id(&self, id: i64) {
        let _ = self.execution_run_id.set(id);
    }

    pub(crate) fn span_started(&self, span: &Span) {
        if let (Some(queue), Some(mut data)) = (&self.queue, span.exported_data()) {
            data.attributes.extend(self.stamps());
            // A start record that finds no room is no loss: the span itself follows.
            let _ = queue.push(Entry::Started(Box::new(data)));
        }
    }

    /// Takes a span that has its stamps.
    pub(crate) fn span_ended(&self, span: SpanData) {
        self.push(Entry::Ended(Box::new(span)), &self.counts.traces.bundle, 1);
    }

    /// Takes a log record that has its stamps.
    pub(crate) fn log(&self, record: SdkLogRecord, scope: InstrumentationScope) {
        self.push(Entry::Log(Box::new((record, scope))), &self.counts.logs.bundle, 1);
    }

    pub(crate) fn metrics(&self, snapshot: MetricsData, points: u64) {
        let entry = Entry::Metrics { snapshot: Box::new(snapshot), points };
        self.push(entry, &self.counts.metrics.bundle, points);
    }

    fn push(&self, entry: Entry, counts: &Counts, items: u64) {
        counts.produced(items);
        if self.queue.as_ref().is_none_or(|queue| queue.push(entry).is_err()) {
            counts.dropped(items);
        }
    }

    /// Waits until everything so far is in the files. False when that did not happen before `deadline`.
    pub(crate) fn flush(&self, deadline: Instant) -> bool {
        self.queue.as_ref().is_none_or(|queue| queue.flush(deadline))
    }

    /// Takes nothing more, and waits until the files are complete. False when that did not happen before `deadline`.
    pub(crate) fn close(&self, deadline: Instant) -> bool {
        self.queue.as_ref().is_none_or(|queue| queue.close(deadline))
    }
}

fn stamps(scope: &RunScope, namespace: &Namespace) -> Vec<KeyValue> {
    let text = |text: String| StringValue::from(Arc::<str>::from(text));
    let run_id = text(scope.run_id.to_string());
    vec![
        KeyValue::new(key::HAMILTON_RUN_ID, run_id.clone()),
        KeyValue::new(key::HAMILTON_DAG_NAME, text(scope.dag_name.to_string())),
        KeyValue::new(Key::from(Arc::<str>::from(namespace.key(names::Key::RunId))), run_id),
    ]
}
