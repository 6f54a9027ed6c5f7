//! The signals of one run: its spans, its metrics, its files, and their counts at the end.

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

/// The signals of one run. Clones are handles to the same run.
///
/// Everything that is started or logged in the context of one of its spans belongs to the run: it carries the run's ids, and is
/// written to the run's files.
#[derive(Debug, Clone)]
pub struct RunSignals {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    spans: Arc<RunSpans>,
    /// Keeps the pipeline alive from which `reader` reads.
    _meter_provider: SdkMeterProvider,
    reader: SharedReader,
    /// The exemplars for the metrics of `reader`.
    exemplars: Exemplars,
    metric_changes: Mutex<MetricChanges>,
    /// The counts of metrics that the process had sent over OTLP when the run started.
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
        // Regardless of the temporality for OTLP: if the last line of the file has the whole state, it can be read without adding
        // up all earlier lines.
        let reader = SharedReader::new(Temporality::Cumulative);
        let meter_provider =
            SdkMeterProvider::builder().with_resource(resource).with_reader(reader.clone()).build();
        let instrumentation =
            InstrumentationScope::builder(names::SCOPE).with_version(env!("CARGO_PKG_VERSION")).build();
        let own_meter = meter_provider.meter_with_scope(instrumentation.clone());
        show_losses(&own_meter, &bridge.namespace, &bridge.vocabulary, bridge.exports.losses.clone());
        let leaving = bridge.meters();
        let leaving = leaving.map(|provider| provider.meter_with_scope(instrumentation.clone()));
        // Recorded twice, once for the file of the run and once for the export: a reader of the SDK belongs to one provider, and
        // the process exports more than one run.
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

    /// Starts the root span, `pipeline.execute`. Spans whose parent does not belong to the run become its children.
    pub fn root(&self) -> StageSpan {
        let root = self.span(span::PIPELINE_EXECUTE).parent(&self.inner.spans.base).start();
        let _ = self.inner.spans.root.set(root.context());
        root
    }

    /// Begins a span; `name` is one of [`crate::names::span`].
    pub fn span(&self, name: &'static str) -> StageSpanBuilder {
        StageSpanBuilder::new(Arc::clone(&self.inner.spans), name)
    }

    /// The context of the root span, or before that starts, of only the run. Attach it around code that has no span, so that its
    /// logs belong to the run.
    pub fn context(&self) -> Context {
        self.inner.spans.context()
    }

    /// The metrics.
    pub fn metrics(&self) -> &RunMetrics {
        &self.inner.spans.metrics
    }

    /// Adds `hamilton.execution_run_id` to all spans that end and all logs that are created from now on. Only the first id counts.
    pub fn set_execution_run_id(&self, id: i64) {
        self.inner.spans.run.origin.set_execution_run_id(id);
    }

    /// Writes the data points that have changed since the last call as a line of the metrics file. It returns before the line is on
    /// disk.
    pub fn snapshot_metrics(&self) {
        // Held until the line is queued, so that no older state follows a newer one. The reader belongs to the run, and calls no
        // code of the program; the wait of the queue for a disk is bounded.
        let mut changes = self.inner.metric_changes.lock().unwrap_or_else(PoisonError::into_inner);
        // Without exemplars: the bundle contains the spans, and the line of each beat should be small.
        let none = Exemplars::default();
        if !self.write_metrics(&none, |metrics, _| changes.retain_changed(metrics)) {
            // Data points that were left out are written by the next call.
            *changes = MetricChanges::default();
        }
    }

    /// Writes the part of the state of all metrics that `select` keeps; `select` returns the number of data points. Returns false
    /// if the line was not accepted.
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

    /// Waits until everything so far is in the files. Returns false if that took longer than `timeout`. It blocks.
    pub fn flush_files(&self, timeout: Duration) -> bool {
        self.inner.spans.run.flush(deadline_in(timeout))
    }

    /// Completes the files, sends everything that waits for OTLP, and returns the counts, within `timeout` for everything together.
    /// It blocks: in async code, call it inside `spawn_blocking`.
    ///
    /// Later spans and logs count as dropped. A second call returns the same counts again.
    pub fn finish(&self, timeout: Duration) -> SignalLedgers {
        let mut ledgers = self.inner.ledgers.lock().unwrap_or_else(PoisonError::into_inner);
        // The lock is held until the end: a second caller waits for the first and gets the same numbers.
        ledgers.get_or_insert_with(|| self.finish_once(deadline_in(timeout))).clone()
    }

    fn finish_once(&self, deadline: Instant) -> SignalLedgers {
        let RunSpans { bridge, run, .. } = &*self.inner.spans;
        // The last line has the whole state, for readers that look only at that.
        self.write_metrics(&self.inner.exemplars, |_, points| points);
        // Started before the files are closed, so that disk and network work in parallel.
        let flush = bridge.exports.begin_flush();
        run.close(deadline);
        flush.wait(deadline);
        self.ledgers()
    }

    /// The current counts, without waiting for anything.
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

/// The current context, if a span is active in it.
fn active_context() -> Option<Context> {
    Context::map_current(|current| current.span().span_context().is_valid().then(|| current.clone()))
}
