//! Collecting metrics on demand, and sending them periodically.

use std::{
    io,
    sync::{
        Arc, Weak,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use opentelemetry::Context;
use opentelemetry_sdk::{
    error::OTelSdkResult,
    metrics::{
        InstrumentKind, ManualReader, Pipeline, Temporality,
        data::{AggregatedMetrics, MetricData, ResourceMetrics},
        reader::MetricReader,
    },
};

use crate::{
    export_queues::{Destinations, LastError},
    exporters::MetricExport,
    ledger::Signal,
    metric_changes::MetricChanges,
    metric_door::MetricDoor,
    origin::Origin,
};

/// A reader that can be held both by a meter provider and by the code that collects.
#[derive(Debug, Clone)]
pub(crate) struct SharedReader(Arc<ManualReader>);

impl SharedReader {
    pub(crate) fn new(temporality: Temporality) -> Self {
        Self(Arc::new(ManualReader::builder().with_temporality(temporality).build()))
    }

    /// Everything measured so far, with the number of its data points; `None` if there are none.
    pub(crate) fn snapshot(&self) -> Option<(ResourceMetrics, u64)> {
        let mut metrics = ResourceMetrics::default();
        // It fails only after the provider is gone, when there is nothing to collect.
        self.0.collect(&mut metrics).ok()?;
        let points = data_points(&metrics);
        (points > 0).then_some((metrics, points))
    }
}

impl MetricReader for SharedReader {
    fn register_pipeline(&self, pipeline: Weak<Pipeline>) {
        self.0.register_pipeline(pipeline);
    }

    fn collect(&self, metrics: &mut ResourceMetrics) -> OTelSdkResult {
        self.0.collect(metrics)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn temporality(&self, kind: InstrumentKind) -> Temporality {
        self.0.temporality(kind)
    }
}

/// Sends metrics at an interval, and on request. Dropping it sends once more, without waiting.
#[derive(Debug)]
pub(crate) struct MetricPump {
    requests: mpsc::Sender<Flush>,
}

/// Why metrics are sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    /// It is time: a backend takes a series that stays away for one that has ended.
    Interval,
    /// A run ends, or the process. Where nothing has changed since, one request is enough for both.
    Asked,
}

/// Answered when everything measured before the request was sent, or could not be sent.
type Flush = mpsc::Sender<()>;

impl MetricPump {
    /// The data points are counted for `origin`.
    pub(crate) fn start(
        reader: SharedReader,
        destinations: Destinations<MetricExport>,
        interval: Duration,
        origin: Arc<Origin>,
        door: MetricDoor,
        last_error: LastError,
    ) -> io::Result<Self> {
        let (requests, receiver) = mpsc::channel::<Flush>();
        // Of these alone each collection says again what the one before has said.
        let is_cumulative = reader.temporality(InstrumentKind::Counter) == Temporality::Cumulative
            && reader.temporality(InstrumentKind::Histogram) == Temporality::Cumulative;
        let mut sent = MetricChanges::default();
        let mut send = move |why: Why| {
            let Some((metrics, points)) = reader.snapshot() else { return };
            let changed = door.metrics(&metrics).select(|metrics| sent.retain_changed(metrics));
            if is_cumulative && changed == 0 && why == Why::Asked {
                return;
            }
            if let Some(console) = &destinations.console {
                console.metrics(&door.metrics(&metrics));
            }
            if let Some(exporter) = &destinations.otlp {
                let counts = &origin.counts.metrics.otlp;
                counts.produced(points);
                let failed = last_error.failed(Signal::Metrics, points, exporter.export(&metrics));
                counts.finished(points - failed, true);
                counts.finished(failed, false);
                if failed > 0 {
                    sent = MetricChanges::default();
                }
            }
        };
        thread::Builder::new().name("daglight-metric".to_owned()).spawn(move || {
            let _suppressed = Context::enter_telemetry_suppressed_scope();
            loop {
                match receiver.recv_timeout(interval) {
                    Ok(asked) => {
                        // Simultaneous requests are answered together.
                        let asked: Vec<Flush> = std::iter::once(asked).chain(receiver.try_iter()).collect();
                        send(Why::Asked);
                        for flush in asked {
                            let _ = flush.send(());
                        }
                    }
                    Err(RecvTimeoutError::Timeout) => send(Why::Interval),
                    Err(RecvTimeoutError::Disconnected) => {
                        send(Why::Asked);
                        break;
                    }
                }
            }
        })?;
        Ok(Self { requests })
    }

    /// Requests an export now; waiting for the answer is up to the caller.
    pub(crate) fn request_flush(&self) -> PendingFlush {
        let (flush, done) = mpsc::channel();
        let _ = self.requests.send(flush);
        PendingFlush(done)
    }
}

/// A requested export.
#[derive(Debug)]
pub(crate) struct PendingFlush(mpsc::Receiver<()>);

impl PendingFlush {
    /// Returns false if it did not happen before `deadline`.
    pub(crate) fn wait(&self, deadline: Instant) -> bool {
        self.0.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_ok()
    }
}

fn data_points(metrics: &ResourceMetrics) -> u64 {
    fn of<T>(data: &MetricData<T>) -> usize {
        match data {
            MetricData::Gauge(gauge) => gauge.data_points().count(),
            MetricData::Sum(sum) => sum.data_points().count(),
            MetricData::Histogram(histogram) => histogram.data_points().count(),
            MetricData::ExponentialHistogram(histogram) => histogram.data_points().count(),
        }
    }
    let all = metrics.scope_metrics().flat_map(|scope| scope.metrics());
    let counts = all.map(|metric| match metric.data() {
        AggregatedMetrics::F64(data) => of(data),
        AggregatedMetrics::U64(data) => of(data),
        AggregatedMetrics::I64(data) => of(data),
    });
    counts.sum::<usize>() as u64
}
