//! What leaves the process: for each signal a queue to OTLP and the console, as the variables ask for.

use std::{
    error::Error,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use daglight_capture_policy::Redactor;
use daglight_http_transport::on_own_thread;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::{Resource, metrics::SdkMeterProvider};

use crate::{
    Signal,
    console::Console,
    door::Door,
    environment::{Environment, SignalExport},
    export_queues::{Destinations, LastError, LogQueue, SpanQueue, log_queue, span_queue},
    ledger::Losses,
    metric_reader::{MetricPump, PendingFlush, SharedReader},
    origin::Origin,
    queue::deadline_in,
    sender::{RetryPolicy, Sender, with_causes},
    transport::GrpcRuntime,
};

/// How often a request is sent that an endpoint cannot take at the moment, within the time for one request.
const ATTEMPTS: u32 = 4;
/// How long to wait before the second attempt.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// How long a process waits for its exports when nobody has said how long it may.
const DROP_TIMEOUT: Duration = Duration::from_secs(5);

/// The ways out of the process. Those that are `None` were not asked for, or could not be started.
#[derive(Debug)]
pub(crate) struct Exports {
    pub(crate) spans: Option<Arc<SpanQueue>>,
    pub(crate) logs: Option<Arc<LogQueue>>,
    pub(crate) meter_provider: Option<SdkMeterProvider>,
    metrics: Option<MetricPump>,
    over_otlp: Vec<Signal>,
    /// What no run made, and all metrics.
    pub(crate) outside: Arc<Origin>,
    pub(crate) losses: Losses,
    redactor: Redactor,
    last_error: LastError,
    ended: AtomicBool,
}

impl Exports {
    /// Starts what `environment` asks for; what cannot be started becomes a warning.
    pub(crate) fn start(
        environment: &Environment,
        resource: &Resource,
        door: &Door,
        redactor: &Redactor,
        warnings: &mut Vec<String>,
    ) -> Self {
        let losses = Losses::default();
        let outside = Arc::new(Origin::outside(&losses));
        let last_error = LastError::default();
        let mut setup = Setup { grpc: None, resource, redactor, over_otlp: Vec::new(), failures: Vec::new() };

        let spans = setup.destinations(Signal::Traces, &environment.traces);
        let spans = spans.and_then(|to| {
            let batches = environment.span_batches;
            let queue = span_queue(to, batches, resource, door.clone(), last_error.clone());
            setup.started(Signal::Traces, queue).map(Arc::new)
        });
        let logs = setup.destinations(Signal::Logs, &environment.logs);
        let logs = logs.and_then(|to| {
            let batches = environment.log_batches;
            let queue = log_queue(to, batches, resource, door.clone(), last_error.clone());
            setup.started(Signal::Logs, queue).map(Arc::new)
        });
        let metrics = setup.destinations(Signal::Metrics, &environment.metrics);
        let metrics = metrics.and_then(|to| {
            let reader = SharedReader::new(environment.temporality);
            let provider = SdkMeterProvider::builder().with_resource(resource.clone());
            let provider = provider.with_reader(reader.clone()).build();
            let (interval, origin) = (environment.metric_interval, Arc::clone(&outside));
            let pump = MetricPump::start(reader, to, interval, origin, door.clone(), last_error.clone());
            Some((setup.started(Signal::Metrics, pump)?, provider))
        });
        let (metrics, meter_provider) = metrics.unzip();
        warnings.extend(setup.warnings());
        Self {
            spans,
            logs,
            meter_provider,
            metrics,
            over_otlp: setup.over_otlp,
            outside,
            losses,
            redactor: redactor.clone(),
            last_error,
            ended: AtomicBool::new(false),
        }
    }

    /// Whether a signal goes over OTLP.
    pub(crate) fn over_otlp(&self, signal: Signal) -> bool {
        self.over_otlp.contains(&signal)
    }

    /// What metrics are recorded with that leave the process here.
    pub(crate) fn meters(&self) -> Option<Arc<dyn MeterProvider + Send + Sync>> {
        let provider = self.meter_provider.clone()?;
        Some(Arc::new(provider))
    }

    /// Has everything sent that waits; all signals at once.
    pub(crate) fn begin_flush(&self) -> Flush {
        self.spans.iter().for_each(|queue| queue.hurry());
        self.logs.iter().for_each(|queue| queue.hurry());
        Flush {
            spans: self.spans.clone(),
            logs: self.logs.clone(),
            metrics: self.metrics.as_ref().map(MetricPump::request_flush),
        }
    }

    /// Sends what waits, and takes nothing more.
    pub(crate) fn end(&self, deadline: Instant) {
        if self.ended.swap(true, Ordering::Relaxed) {
            return;
        }
        // What was not in time shows in the ledgers.
        self.begin_flush().wait(deadline);
        let _ = self.spans.as_ref().map(|queue| queue.close(deadline));
        let _ = self.logs.as_ref().map(|queue| queue.close(deadline));
    }

    /// The last thing that went wrong, in words.
    pub(crate) fn last_error(&self) -> Option<String> {
        self.last_error.get().map(|error| format!("OTLP export: {}", self.redactor.text(&error)))
    }
}

impl Drop for Exports {
    fn drop(&mut self) {
        self.end(deadline_in(DROP_TIMEOUT));
    }
}

/// A flush that has begun.
#[derive(Debug)]
pub(crate) struct Flush {
    spans: Option<Arc<SpanQueue>>,
    logs: Option<Arc<LogQueue>>,
    metrics: Option<PendingFlush>,
}

impl Flush {
    /// False when not everything was sent before `deadline`.
    pub(crate) fn wait(self, deadline: Instant) -> bool {
        let spans = self.spans.is_none_or(|queue| queue.flush(deadline));
        let logs = self.logs.is_none_or(|queue| queue.flush(deadline));
        let metrics = self.metrics.is_none_or(|flush| flush.wait(deadline));
        spans && logs && metrics
    }
}

/// What starting the exports of one signal needs and leaves behind.
struct Setup<'a> {
    /// The runtime that all senders over gRPC share.
    grpc: Option<Arc<GrpcRuntime>>,
    resource: &'a Resource,
    redactor: &'a Redactor,
    over_otlp: Vec<Signal>,
    /// What is not exported, and why.
    failures: Vec<(String, Vec<&'static str>)>,
}

impl Setup<'_> {
    fn destinations(&mut self, signal: Signal, export: &SignalExport) -> Option<Destinations> {
        let otlp = export.otlp.as_ref().and_then(|target| {
            let policy = RetryPolicy { attempts: ATTEMPTS, first_wait: FIRST_WAIT, longest: target.timeout };
            let sender = on_own_thread(|| Sender::new(target, policy, &mut self.grpc));
            sender.map_err(Into::into).flatten().inspect_err(|error| self.warn(signal, error)).ok()
        });
        if otlp.is_some() {
            self.over_otlp.push(signal);
        }
        let console = export.console.then(|| Console::new(self.resource));
        (otlp.is_some() || console.is_some()).then_some(Destinations { otlp, console })
    }

    fn started<T>(&mut self, signal: Signal, result: io::Result<T>) -> Option<T> {
        let failed = |error: &io::Error| {
            self.over_otlp.retain(|started| *started != signal);
            self.warn(signal, error);
        };
        result.inspect_err(failed).ok()
    }

    fn warn(&mut self, signal: Signal, error: &dyn Error) {
        let cause = self.redactor.text(&with_causes(error));
        match self.failures.iter_mut().find(|(known, _)| *known == cause) {
            Some((_, signals)) => signals.push(signal.name()),
            None => self.failures.push((cause, vec![signal.name()])),
        }
    }

    /// One warning for each cause, which mostly is the same for all signals.
    fn warnings(&self) -> impl Iterator<Item = String> {
        self.failures.iter().map(|(cause, signals)| {
            let signals = match signals.split_last() {
                Some((last, [])) => (*last).to_owned(),
                Some((last, others)) => format!("{} and {last}", others.join(", ")),
                None => String::new(),
            };
            format!("{signals} are not exported: {cause}")
        })
    }
}
