//! The signal files of a run: OTLP/JSON, one object per line, appended by one thread during the run.
//!
//! Each file holds one signal: a line of the traces file is a `TracesData`, of the logs file a `LogsData`, of the metrics file a
//! `MetricsData`, as in the OpenTelemetry file format. A reader sees only complete lines, whenever the process died.
//!
//! Spans that are open for longer than a moment are also written, without an end time, to a file next to the traces file
//! (`otel_traces.open.json` next to `otel_traces.json`), so that the spans of a process that died are not lost. It is removed if
//! the run ends with no span open.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::UNIX_EPOCH,
};

use daglight_guarded_files::FileBelow;
use daglight_run_bundle::{Durability, SignalFiles, Warning, WarningCode};
use opentelemetry::trace::SpanId;
use opentelemetry_proto::{
    tonic::metrics::v1::MetricsData, transform::common::tonic::ResourceAttributesWithSchema,
};
use opentelemetry_sdk::trace::SpanData;
use serde::Serialize;

use crate::{
    door::{self, Door, Exportable, LogItem},
    ledger::Signal,
    origin::Origin,
    own_record::RawSpan,
};

/// An item to write.
#[derive(Debug)]
pub(crate) enum Entry {
    Started(Box<RawSpan>),
    Ended(Box<RawSpan>),
    /// Heartbeats, which are not recorded while they are open.
    Beats(Vec<RawSpan>),
    Log(LogItem),
    Metrics {
        snapshot: Box<Exportable<MetricsData>>,
        points: u64,
    },
}

/// Writes the entries of one run, on the writer thread of the run.
#[derive(Debug)]
pub(crate) struct SignalWriter {
    resource: ResourceAttributesWithSchema,
    door: Door,
    traces: LineFile,
    metrics: LineFile,
    logs: LineFile,
    open_spans: OpenSpans,
    origin: Arc<Origin>,
    problems: Problems,
}

/// Errors, at most one per file, for the code that finishes the run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Problems(Arc<Mutex<Vec<Warning>>>);

impl Problems {
    /// Adds what failed because of `error`.
    pub(crate) fn add(&self, what: impl fmt::Display, error: &io::Error) {
        let code = WarningCode::of_error(error, WarningCode::BundleIncomplete);
        let problem = Warning::new(code, format!("{what}: {error}"));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(problem);
    }

    pub(crate) fn list(&self) -> Vec<Warning> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl SignalWriter {
    /// Creates the files. A file that cannot be created is a problem, and its signal counts as failed.
    pub(crate) fn create(
        files: Option<&SignalFiles>,
        durability: Durability,
        resource: ResourceAttributesWithSchema,
        door: Door,
        origin: Arc<Origin>,
        problems: Problems,
    ) -> Self {
        let open = |path: fn(&SignalFiles) -> PathBuf| match files {
            Some(files) => LineFile::open(&path(files), durability, &problems),
            None => LineFile::none(),
        };
        Self {
            traces: open(|files| files.traces.clone()),
            metrics: open(|files| files.metrics.clone()),
            logs: open(|files| files.logs.clone()),
            open_spans: OpenSpans::new(open(SignalFiles::open_spans)),
            resource,
            door,
            origin,
            problems,
        }
    }

    /// Writes entries, in their order, as one line per signal.
    pub(crate) fn write(&mut self, entries: Vec<Entry>) {
        let mut spans = Vec::new();
        let mut logs = Vec::new();
        let mut started = HashMap::new();
        for entry in entries {
            match entry {
                Entry::Started(span) => {
                    started.insert(span.data.span_context.span_id(), *span);
                }
                Entry::Ended(span) => {
                    let id = span.data.span_context.span_id();
                    // A span that starts and ends within one batch is never written to the file of open spans: with a linger of 50
                    // ms, most spans are like this.
                    if started.remove(&id).is_none() {
                        self.open_spans.ended(id);
                    }
                    spans.push(self.door.span(*span, &self.origin));
                }
                Entry::Beats(beats) => {
                    spans.extend(beats.into_iter().map(|beat| self.door.span(beat, &self.origin)));
                }
                Entry::Log(log) => logs.push(self.door.log(log, &self.origin)),
                Entry::Metrics { snapshot, points } => {
                    let written = self.metrics.write(&snapshot, Signal::Metrics, &self.problems);
                    self.origin.counts.metrics.bundle.finished(points, written);
                }
            }
        }
        // Logs first: when a reader that follows the files sees a span that has ended, its log records are there.
        self.write_logs(&logs);
        self.write_spans(spans);
        let without_end = |mut span: RawSpan| {
            // OTLP marks a span without an end only by an end time of 0.
            span.data.end_time = UNIX_EPOCH;
            self.door.span(span, &self.origin)
        };
        let ids: Vec<SpanId> = started.keys().copied().collect();
        let started = started.into_values().map(without_end).collect();
        // Last, so that the file never lists a span as open that the traces file already has as ended.
        self.open_spans.started(ids, started, &self.resource, &self.problems);
    }

    fn write_spans(&mut self, spans: Vec<Exportable<SpanData>>) {
        if spans.is_empty() {
            return;
        }
        let items = spans.len() as u64;
        let data = door::traces(spans, &self.resource);
        let written = self.traces.write(&data, Signal::Traces, &self.problems);
        self.origin.counts.traces.bundle.finished(items, written);
    }

    fn write_logs(&mut self, logs: &[Exportable<LogItem>]) {
        if logs.is_empty() {
            return;
        }
        let data = door::logs(logs, &self.resource);
        let written = self.logs.write(&data, Signal::Logs, &self.problems);
        self.origin.counts.logs.bundle.finished(logs.len() as u64, written);
    }
}

impl Drop for SignalWriter {
    fn drop(&mut self) {
        if self.open_spans.unended.is_empty() && self.open_spans.file.file.is_some() {
            // Best effort: a leftover file is harmless.
            let _ = FileBelow::at(&self.open_spans.file.path).remove();
        }
    }
}

/// The spans that have started and not ended, as far as they are in their file.
#[derive(Debug)]
struct OpenSpans {
    file: LineFile,
    unended: HashSet<SpanId>,
}

impl OpenSpans {
    fn new(file: LineFile) -> Self {
        Self { file, unended: HashSet::new() }
    }

    fn started(
        &mut self,
        ids: Vec<SpanId>,
        spans: Vec<Exportable<SpanData>>,
        resource: &ResourceAttributesWithSchema,
        problems: &Problems,
    ) {
        if spans.is_empty() {
            return;
        }
        self.unended.extend(ids);
        self.file.write(&door::traces(spans, resource), Signal::Traces, problems);
    }

    fn ended(&mut self, span: SpanId) {
        self.unended.remove(&span);
    }
}

/// A file of JSON lines that only ever holds whole lines.
#[derive(Debug)]
struct LineFile {
    path: PathBuf,
    /// `None` if the file could not be opened.
    file: Option<File>,
    size_bytes: u64,
    durability: Durability,
    line: Vec<u8>,
    failed_before: bool,
}

impl LineFile {
    fn open(path: &Path, durability: Durability, problems: &Problems) -> Self {
        let opened = FileBelow::at(path).append().and_then(|file| Ok((file.metadata()?.len(), file)));
        let (file, size_bytes) = match opened {
            Ok((size_bytes, file)) => (Some(file), size_bytes),
            Err(error) => {
                problems.add(format_args!("cannot write {}", path.display()), &error);
                (None, 0)
            }
        };
        let failed_before = file.is_none();
        Self { path: path.to_owned(), file, size_bytes, durability, line: Vec::new(), failed_before }
    }

    /// The file of a run without a bundle, about which the caller has already warned.
    fn none() -> Self {
        let durability = Durability::Process;
        Self {
            path: PathBuf::new(),
            file: None,
            size_bytes: 0,
            durability,
            line: Vec::new(),
            failed_before: true,
        }
    }

    /// Appends one line. Returns false if it was not written; the first failure is a problem.
    fn write<T: Serialize>(&mut self, value: &Exportable<T>, signal: Signal, problems: &Problems) -> bool {
        match self.try_write(value) {
            Ok(()) => true,
            Err(error) => {
                // On a full disk every line fails. The counts show how many; the warning is given only once.
                if !self.failed_before {
                    self.failed_before = true;
                    problems.add(format_args!("cannot write {signal} to {}", self.path.display()), &error);
                }
                false
            }
        }
    }

    fn try_write<T: Serialize>(&mut self, value: &Exportable<T>) -> io::Result<()> {
        let Some(file) = &mut self.file else {
            return Err(io::ErrorKind::NotFound.into());
        };
        self.line.clear();
        // First to memory and then to the file in one `write`: a process that is killed leaves at most one torn line, at the end.
        serde_json::to_writer(&mut self.line, value.get())?;
        self.line.push(b'\n');
        if let Err(error) = file.write_all(&self.line) {
            // Part of the line may be in the file; the next line must not be appended to it.
            file.set_len(self.size_bytes)?;
            return Err(error);
        }
        self.size_bytes += self.line.len() as u64;
        self.durability.make_durable(file)
    }
}
