//! Exports from the process: for each signal a queue to OTLP and the console, as requested by the variables.

use std::{
    error::Error,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use daglight_capture_policy::{Redactor, with_causes};
use daglight_http_transport::on_own_thread;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::{
    Resource,
    metrics::{SdkMeterProvider, Temporality},
};

use crate::{
    console::Console,
    door::Door,
    environment::Environment,
    exemplars::Exemplars,
    export_queues::{Destinations, LastError, LogQueue, SpanQueue, log_queue, span_queue},
    exporter_events::{ExporterEvents, unlogged},
    exporters::{LogExport, MetricExport, SpanExport},
    grpc_endpoint::GrpcRuntime,
    ledger::{Losses, Signal},
    metric_door::MetricDoor,
    metric_reader::{MetricPump, PendingFlush, SharedReader},
    origin::Origin,
    otlp_target::{OtlpProtocol, OtlpTarget},
    queue::deadline_in,
    scrape_server::ScrapeServer,
    signal_export::{ScrapeTarget, SignalExport},
    transport::EndpointError,
};

/// How long a process waits for its exports if no timeout was given.
const DROP_TIMEOUT: Duration = Duration::from_secs(5);

/// The exports of the process. `None` means not requested, or failed to start.
#[derive(Debug)]
pub(crate) struct Exports {
    pub(crate) spans: Option<Arc<SpanQueue>>,
    pub(crate) logs: Option<Arc<LogQueue>>,
    pub(crate) meter_provider: Option<SdkMeterProvider>,
    /// The exemplars of the metrics measured with it.
    pub(crate) exemplars: Exemplars,
    metrics: Option<MetricPump>,
    scrape: Option<ScrapeServer>,
    over_otlp: Vec<Signal>,
    /// The origin of signals outside all runs, and of all metrics.
    pub(crate) outside: Arc<Origin>,
    pub(crate) losses: Losses,
    redactor: Redactor,
    last_error: LastError,
    ended: AtomicBool,
}

impl Exports {
    /// Starts the exports that `environment` requests; those that cannot be started become warnings.
    pub(crate) fn start(
        environment: &Environment,
        scrape_hosts: &[String],
        resource: &Resource,
        door: &Door,
        redactor: &Redactor,
        warnings: &mut Vec<String>,
    ) -> Self {
        let losses = Losses::default();
        let outside = Arc::new(Origin::outside(&losses));
        let last_error = LastError::default();
        let mut setup = Setup {
            grpc: None,
            resource,
            redactor,
            over_otlp: Vec::new(),
            rejections_unseen: false,
            failures: Vec::new(),
        };

        let spans = setup.destinations(Signal::Traces, &environment.traces, |target, grpc| {
            SpanExport::new(target, resource, grpc)
        });
        let spans = spans.and_then(|to| {
            let batches = environment.span_batches;
            let queue = span_queue(to, batches, door.clone(), last_error.clone());
            setup.started(Signal::Traces, queue).map(Arc::new)
        });
        let logs = setup.destinations(Signal::Logs, &environment.logs, |target, grpc| {
            LogExport::new(target, resource, grpc)
        });
        let logs = logs.and_then(|to| {
            let batches = environment.log_batches;
            let queue = log_queue(to, batches, door.clone(), last_error.clone());
            setup.started(Signal::Logs, queue).map(Arc::new)
        });
        let exemplars = Exemplars::new(environment.exemplar_filter);
        let metric_door = MetricDoor { door: door.clone(), exemplars: exemplars.clone() };
        let metrics = setup.destinations(Signal::Metrics, &environment.metrics, |target, grpc| {
            MetricExport::new(target, &metric_door, grpc)
        });
        let pushed = metrics.and_then(|to| {
            let reader = SharedReader::new(environment.temporality);
            let (interval, origin) = (environment.metric_interval, Arc::clone(&outside));
            let (sent, door) = (reader.clone(), metric_door.clone());
            let pump = MetricPump::start(sent, to, interval, origin, door, last_error.clone());
            Some((setup.started(Signal::Metrics, pump)?, reader))
        });
        let scraped = environment.metrics.prometheus.as_ref().and_then(|target| {
            // Scraped values are sums since the start, regardless of the temporality of pushed ones.
            let reader = SharedReader::new(Temporality::Cumulative);
            let server = ScrapeServer::start(target, scrape_hosts, reader.clone(), metric_door.clone());
            let failed = |error: &io::Error| {
                let ScrapeTarget { host, port } = target;
                let text = format!("metrics cannot be scraped: cannot listen at {host}:{port}: {error}");
                warnings.push(redactor.text(&text));
            };
            Some((server.inspect_err(failed).ok()?, reader))
        });
        let (metrics, pushed) = pushed.unzip();
        let (scrape, scraped) = scraped.unzip();
        let readers: Vec<SharedReader> = pushed.into_iter().chain(scraped).collect();
        let meter_provider = (!readers.is_empty()).then(|| {
            let provider = SdkMeterProvider::builder().with_resource(resource.clone());
            readers.into_iter().fold(provider, |provider, reader| provider.with_reader(reader)).build()
        });
        warnings.extend(setup.warnings());
        Self {
            spans,
            logs,
            meter_provider,
            exemplars,
            metrics,
            scrape,
            over_otlp: setup.over_otlp,
            outside,
            losses,
            redactor: redactor.clone(),
            last_error,
            ended: AtomicBool::new(false),
        }
    }

    /// The address at which Prometheus can scrape metrics.
    pub(crate) fn scrape_address(&self) -> Option<SocketAddr> {
        self.scrape.as_ref().map(ScrapeServer::address)
    }

    /// Whether a signal is exported over OTLP.
    pub(crate) fn over_otlp(&self, signal: Signal) -> bool {
        self.over_otlp.contains(&signal)
    }

    /// The meters for metrics that leave the process from here.
    pub(crate) fn meters(&self) -> Option<Arc<dyn MeterProvider + Send + Sync>> {
        let provider = self.meter_provider.clone()?;
        Some(Arc::new(provider))
    }

    /// Starts sending everything that is waiting, for all signals at the same time.
    pub(crate) fn begin_flush(&self) -> Flush {
        self.spans.iter().for_each(|queue| queue.flush_now());
        self.logs.iter().for_each(|queue| queue.flush_now());
        Flush {
            spans: self.spans.clone(),
            logs: self.logs.clone(),
            metrics: self.metrics.as_ref().map(MetricPump::request_flush),
        }
    }

    /// Sends everything that is waiting, and accepts nothing more.
    pub(crate) fn end(&self, deadline: Instant) {
        // A program may shut down the bridge and then drop it: the second call would wait again for an endpoint that hangs.
        if self.ended.swap(true, Ordering::Relaxed) {
            return;
        }
        // All at the same time instead of one after another: with an endpoint that hangs, three consecutive timeouts would take
        // three times as long. Items that were not sent in time are counted in the ledgers.
        self.begin_flush().wait(deadline);
        let _ = self.spans.as_ref().map(|queue| queue.close(deadline));
        let _ = self.logs.as_ref().map(|queue| queue.close(deadline));
    }

    /// The last error, as text.
    pub(crate) fn last_error(&self) -> Option<String> {
        self.last_error.get().map(|error| format!("OTLP export: {}", self.redactor.text(&error)))
    }
}

impl Drop for Exports {
    fn drop(&mut self) {
        self.end(deadline_in(DROP_TIMEOUT));
    }
}

/// A flush in progress.
#[derive(Debug)]
pub(crate) struct Flush {
    spans: Option<Arc<SpanQueue>>,
    logs: Option<Arc<LogQueue>>,
    metrics: Option<PendingFlush>,
}

impl Flush {
    /// Returns false if not everything was sent before `deadline`.
    pub(crate) fn wait(self, deadline: Instant) -> bool {
        let spans = self.spans.is_none_or(|queue| queue.flush(deadline));
        let logs = self.logs.is_none_or(|queue| queue.flush(deadline));
        let metrics = self.metrics.is_none_or(|flush| flush.wait(deadline));
        spans && logs && metrics
    }
}

/// The inputs and outputs of starting the exports of one signal.
struct Setup<'a> {
    /// The runtime that all senders over gRPC share.
    grpc: Option<Arc<GrpcRuntime>>,
    resource: &'a Resource,
    redactor: &'a Redactor,
    over_otlp: Vec<Signal>,
    /// Whether the items that an endpoint rejects cannot be counted.
    rejections_unseen: bool,
    /// What is not exported, and why.
    failures: Vec<(String, Vec<&'static str>)>,
}

impl Setup<'_> {
    /// `build` creates the exporter.
    fn destinations<E: Send>(
        &mut self,
        signal: Signal,
        export: &SignalExport,
        build: impl FnOnce(&OtlpTarget, &mut Option<Arc<GrpcRuntime>>) -> Result<E, EndpointError> + Send,
    ) -> Option<Destinations<E>> {
        let otlp = export.otlp.as_ref().and_then(|target| {
            // A blocking HTTP client cannot be created inside a runtime.
            let built = on_own_thread(|| unlogged(|| build(target, &mut self.grpc)));
            let built = built.map_err(EndpointError::from).flatten();
            built.inspect_err(|error| self.warn(signal, error)).ok()
        });
        if let (Some(_), Some(target)) = (&otlp, &export.otlp) {
            self.over_otlp.push(signal);
            self.rejections_unseen |= signal != Signal::Metrics
                && target.protocol == OtlpProtocol::Grpc
                && !ExporterEvents::are_compiled_in();
        }
        let console = export.console.then(|| Console::new(self.resource));
        (otlp.is_some() || console.is_some()).then_some(Destinations { otlp, console })
    }

    fn started<T>(&mut self, signal: Signal, result: io::Result<T>) -> Option<T> {
        let failed = |error: &io::Error| {
            // Otherwise its items would count as waiting for a queue that does not exist.
            self.over_otlp.retain(|started| *started != signal);
            self.warn(signal, error);
        };
        result.inspect_err(failed).ok()
    }

    fn warn(&mut self, signal: Signal, error: &dyn Error) {
        let cause = self.redactor.text(&with_causes(error));
        match self.failures.iter_mut().find(|(known, _)| *known == cause) {
            Some((_, signals)) => signals.push(signal.name()),
            // One unreadable certificate makes three signals fail, and causes a single warning.
            None => self.failures.push((cause, vec![signal.name()])),
        }
    }

    /// One warning for each cause, which is usually the same for all signals.
    fn warnings(&self) -> impl Iterator<Item = String> {
        let unseen = self.rejections_unseen.then(|| {
            "this program is built without the warnings of `tracing`: what an endpoint rejects over gRPC is counted \
             as exported"
                .to_owned()
        });
        let failures = self.failures.iter().map(|(cause, signals)| {
            let signals = match signals.split_last() {
                Some((last, [])) => (*last).to_owned(),
                Some((last, others)) => format!("{} and {last}", others.join(", ")),
                None => String::new(),
            };
            format!("{signals} are not exported: {cause}")
        });
        failures.chain(unseen)
    }
}
