//! The signals of one run: its spans, its metrics, its files, and the counts of them at the end.

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use daglight_run_bundle::DeliveryCounts;
use opentelemetry::{
    Context, InstrumentationScope,
    metrics::MeterProvider as _,
    trace::{TraceContextExt as _, TracerProvider as _},
};
use opentelemetry_proto::tonic::metrics::v1::ResourceMetrics;
use opentelemetry_sdk::metrics::{SdkMeterProvider, Temporality};

use crate::{
    bridge_inner::BridgeInner,
    exemplars::Exemplars,
    ledger::{Signal, SignalLedgers},
    metric_changes::MetricChanges,
    metric_reader::SharedReader,
    metrics::{RunMetrics, show_losses},
    names::{self, span},
    queue::deadline_in,
    run_scope::RunScope,
    run_spans::RunSpans,
    run_state::{CurrentRun, RunState},
    stage_span::{StageSpan, StageSpanBuilder},
};

/// The signals of one run. Clones are the same run.
///
/// Everything that is started or logged in the context of one of its spans belongs to the run: it carries the run's
/// ids, and goes into the run's files.
#[derive(Debug, Clone)]
pub struct RunSignals {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    spans: Arc<RunSpans>,
    /// Keeps the pipeline that `reader` reads from.
    _meter_provider: SdkMeterProvider,
    reader: SharedReader,
    /// Of what `reader` reads.
    exemplars: Exemplars,
    metric_changes: Mutex<MetricChanges>,
    /// What the process had sent over OTLP when the run began.
    otlp_metrics_before: DeliveryCounts,
    ledgers: Mutex<Option<SignalLedgers>>,
}

impl RunSignals {
    pub(crate) fn open(bridge: Arc<BridgeInner>, scope: &RunScope) -> Self {
        let resource = bridge.run_resource(scope);
        let run = Arc::new(RunState::open(
            scope,
            &bridge.namespace,
            crate::resource::for_files(&resource),
            bridge.door.clone(),
            &bridge.exports.losses,
        ));
        // Whatever OTLP is asked for: a file whose last line has the whole state is read without adding up all
        // before it.
        let reader = SharedReader::new(Temporality::Cumulative);
        let meter_provider =
            SdkMeterProvider::builder().with_resource(resource).with_reader(reader.clone()).build();
        let instrumentation =
            InstrumentationScope::builder(names::SCOPE).with_version(env!("CARGO_PKG_VERSION")).build();
        let own_meter = meter_provider.meter_with_scope(instrumentation.clone());
        show_losses(&own_meter, &bridge.namespace, &bridge.vocabulary, bridge.exports.losses.clone());
        let leaving = bridge.meters();
        let leaving = leaving.map(|provider| provider.meter_with_scope(instrumentation.clone()));
        // Recorded twice, once for the run's file and once for what leaves: a reader of the SDK belongs to one
        // provider, and the process exports more than one run.
        let exemplars = Exemplars::default();
        let leaving = leaving.map(|meter| (meter, bridge.exemplars()));
        let meters: Vec<_> = std::iter::once((own_meter, exemplars.clone())).chain(leaving).collect();
        let metrics = RunMetrics::new(
            &meters,
            &bridge.namespace,
            Arc::clone(&bridge.vocabulary),
            scope.dag_name.to_string(),
        );
        let parent = scope.parent.clone().or_else(active_context).or_else(|| bridge.parent.clone());
        let base = parent.unwrap_or_default().with_value(CurrentRun(Arc::clone(&run)));
        let otlp_metrics_before = bridge.exports.outside.counts.metrics.otlp.ledger();
        let tracer = bridge.tracers.tracer_with_scope(instrumentation);
        let inner = Inner {
            spans: Arc::new(RunSpans { bridge, run, tracer, base, root: OnceLock::new(), metrics }),
            otlp_metrics_before,
            _meter_provider: meter_provider,
            reader,
            exemplars,
            metric_changes: Mutex::default(),
            ledgers: Mutex::new(None),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Starts the root span, `pipeline.execute`. Spans without a parent of the run become its children.
    pub fn root(&self) -> StageSpan {
        let root = self.span(span::PIPELINE_EXECUTE).parent(&self.inner.spans.base).start();
        let _ = self.inner.spans.root.set(root.context());
        root
    }

    /// Begins a span; `name` is one of [`crate::names::span`].
    pub fn span(&self, name: &'static str) -> StageSpanBuilder {
        StageSpanBuilder::new(Arc::clone(&self.inner.spans), name)
    }

    /// The context of the root span, or before that starts, of the run alone. Attach it around what has no span of its
    /// own, and its logs belong to the run.
    pub fn context(&self) -> Context {
        self.inner.spans.context()
    }

    /// The metrics.
    pub fn metrics(&self) -> &RunMetrics {
        &self.inner.spans.metrics
    }

    /// Has all spans that end and logs that are made from now on carry `hamilton.execution_run_id`. The first id counts.
    pub fn set_execution_run_id(&self, id: i64) {
        self.inner.spans.run.origin.set_execution_run_id(id);
    }

    /// Writes the data points that have changed since the last call as a line of the metrics' file. It returns before the
    /// line is on disk.
    pub fn snapshot_metrics(&self) {
        // Held until the line is queued, so that no older state comes behind a newer one. The reader is the run's own, and
        // calls nothing of the program; the queue waits for a disk in bounded time.
        let mut changes = self.inner.metric_changes.lock().unwrap_or_else(PoisonError::into_inner);
        // Without exemplars: the spans are in the bundle, and a line of each beat is to stay small.
        let none = Exemplars::default();
        if !self.write_metrics(&none, |metrics, _| changes.retain_changed(metrics)) {
            // What was left out is written by the next call.
            *changes = MetricChanges::default();
        }
    }

    /// Writes what `select` leaves of the state of all metrics; it returns how many data points those are. False where
    /// the line was not taken.
    fn write_metrics(
        &self,
        exemplars: &Exemplars,
        select: impl FnOnce(&mut Vec<ResourceMetrics>, u64) -> u64,
    ) -> bool {
        let Some((metrics, points)) = self.inner.reader.snapshot() else { return true };
        let mut metrics = self.inner.spans.bridge.door.metrics(&metrics, exemplars);
        let points = metrics.select(|metrics| select(metrics, points));
        if points == 0 {
            return true;
        }
        self.inner.spans.run.metrics(metrics.into_file(), points)
    }

    /// Waits until everything so far is in the files. False when that took longer than `timeout`. It blocks.
    pub fn flush_files(&self, timeout: Duration) -> bool {
        self.inner.spans.run.flush(deadline_in(timeout))
    }

    /// Completes the files, sends what waits for OTLP, and returns the counts, within `timeout` for everything
    /// together. It blocks: in async code, call it inside `spawn_blocking`.
    ///
    /// Spans and logs that come later count as dropped. A second call returns the same counts again.
    pub fn finish(&self, timeout: Duration) -> SignalLedgers {
        let mut ledgers = self.inner.ledgers.lock().unwrap_or_else(PoisonError::into_inner);
        // The lock is held for the whole end: whoever asks a second time waits for the first and gets the same
        // numbers.
        ledgers.get_or_insert_with(|| self.finish_once(deadline_in(timeout))).clone()
    }

    fn finish_once(&self, deadline: Instant) -> SignalLedgers {
        let RunSpans { bridge, run, .. } = &*self.inner.spans;
        // The last line has the whole state, for readers that look no further.
        self.write_metrics(&self.inner.exemplars, |_, points| points);
        // Begun before the files are closed, so that disk and network take their time side by side.
        let flush = bridge.exports.begin_flush();
        run.close(deadline);
        flush.wait(deadline);
        self.ledgers()
    }

    /// The counts at this moment, without waiting for anything.
    pub fn ledgers(&self) -> SignalLedgers {
        let RunSpans { bridge, run, .. } = &*self.inner.spans;
        let exports = &bridge.exports;
        let mut ledgers = SignalLedgers {
            traces: run.origin.counts.traces.ledger(exports.over_otlp(Signal::Traces)),
            metrics: run.origin.counts.metrics.ledger(false),
            logs: run.origin.counts.logs.ledger(exports.over_otlp(Signal::Logs)),
            file_errors: run.problems.list(),
            export_errors: Vec::new(),
        };
        if exports.over_otlp(Signal::Metrics) {
            let now = exports.outside.counts.metrics.otlp.ledger();
            ledgers.metrics.otlp = Some(now.since(&self.inner.otlp_metrics_before));
        }
        if Signal::ALL
            .iter()
            .any(|signal| ledgers.of(*signal).otlp.as_ref().is_some_and(|otlp| !otlp.is_complete()))
        {
            ledgers.export_errors.extend(exports.last_error());
        }
        ledgers
    }
}

/// The current context, where a span is active in it.
fn active_context() -> Option<Context> {
    Context::map_current(|current| current.span().span_context().is_valid().then(|| current.clone()))
}
