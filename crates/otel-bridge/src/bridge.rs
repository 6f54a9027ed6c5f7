//! OpenTelemetry for a process: the providers, where they export to, and the runs that share them.

use std::{
    collections::BTreeMap,
    env, fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use daglight_capture_policy::Redactor;
use opentelemetry::Context;
use opentelemetry_sdk::{
    Resource, logs::SdkLoggerProvider, metrics::SdkMeterProvider, trace::SdkTracerProvider,
};
use tracing::Subscriber;
use tracing_subscriber::{EnvFilter, Layer, registry::LookupSpan};

use crate::{
    RunScope, RunSignals, Signal,
    environment::{Environment, Propagators},
    ledger::{AllCounts, SignalLedgers},
    metric_reader::{MetricPump, PendingFlush, SharedReader},
    names::Namespace,
    otlp::{self, LastError, LogQueue, SpanQueue},
    processors::{RunLogProcessor, RunSpanProcessor},
    propagation, resource,
    sampler::RunSampler,
    scrub::Scrubber,
    stage_span::SlowAfter,
    transport::{Transport, TransportError},
    vocabulary::Vocabulary,
};

/// What a [`Bridge`] is started with.
#[derive(Clone)]
pub struct BridgeConfig {
    /// What Daglight's own keys and metrics start with. Default: `daglight`.
    pub namespace: Namespace,
    /// The service's name, where `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` give none.
    pub service_name: String,
    /// Attributes of the resource, such as `deployment.environment.name`. `OTEL_RESOURCE_ATTRIBUTES` wins over them.
    pub resource: BTreeMap<String, String>,
    /// When a span is marked `slow`. Default: after 10 s.
    pub slow_after: SlowAfter,
    /// What is a credential, in span attributes, log records and the resource.
    pub redactor: Redactor,
    /// The variables that count: those of OpenTelemetry (`OTEL_*`), `TRACEPARENT`, `TRACESTATE` and `BAGGAGE`.
    pub environment: BTreeMap<String, String>,
}

impl BridgeConfig {
    /// The defaults, and the variables of this process.
    pub fn new(service_name: impl Into<String>) -> Self {
        let counts = |name: &str| name.starts_with("OTEL_") || propagation::VARIABLES.contains(&name);
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self {
            namespace: Namespace::default(),
            service_name: service_name.into(),
            resource: BTreeMap::new(),
            slow_after: SlowAfter::default(),
            redactor: Redactor::default(),
            environment: env::vars_os().filter_map(text).filter(|(name, _)| counts(name)).collect(),
        }
    }
}

/// Variables may hold credentials: only their names are shown.
impl fmt::Debug for BridgeConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BridgeConfig")
            .field("namespace", &self.namespace)
            .field("service_name", &self.service_name)
            .field("resource", &self.resource.keys())
            .field("slow_after", &self.slow_after)
            .field("environment", &self.environment.keys())
            .finish_non_exhaustive()
    }
}

/// OpenTelemetry for a process, or for one part of it. Clones are the same bridge.
///
/// It installs nothing globally: what is to be recorded comes from the spans of [`RunSignals`] and through
/// [`Bridge::layer`]. It may be started from a plain `main`, and from runtimes with one or many threads.
#[derive(Debug, Clone)]
pub struct Bridge {
    inner: Arc<BridgeInner>,
}

#[derive(Debug)]
pub(crate) struct BridgeInner {
    pub(crate) namespace: Namespace,
    pub(crate) vocabulary: Arc<Vocabulary>,
    pub(crate) slow_after: SlowAfter,
    pub(crate) scrubber: Scrubber,
    pub(crate) tracer_provider: SdkTracerProvider,
    logger_provider: SdkLoggerProvider,
    /// `None` where metrics go into bundles only.
    pub(crate) meter_provider: Option<SdkMeterProvider>,
    pub(crate) spans: Option<Arc<SpanQueue>>,
    pub(crate) logs: Option<Arc<LogQueue>>,
    pub(crate) metrics: Option<MetricPump>,
    /// What no run made, and all metrics over OTLP.
    pub(crate) outside: Arc<AllCounts>,
    redactor: Redactor,
    resource: Resource,
    last_error: LastError,
    propagators: Propagators,
    parent: Option<Context>,
    warnings: Mutex<Vec<String>>,
}

impl Bridge {
    /// Starts the providers, and exporting where the variables ask for it. It always gives a bridge that records into
    /// the files of runs; whatever cannot be done as configured is one of [`Bridge::warnings`].
    pub fn start(config: BridgeConfig) -> Self {
        let environment = Environment::read(&config.environment);
        let resource =
            resource::of_process(&config.service_name, &config.resource, &environment, &config.redactor);
        let scrubber = Scrubber::new(
            config.redactor.clone(),
            environment.span_value_length,
            environment.log_value_length,
        );
        let mut warnings = environment.warnings.clone();
        let outside = Arc::new(AllCounts::default());
        let last_error = LastError::default();
        let mut transport = Transport::default();

        let spans = environment.traces.otlp.as_ref().and_then(|target| {
            let queue = otlp::span_queue(
                &mut transport,
                target,
                environment.span_batches,
                &resource,
                scrubber.clone(),
                last_error.clone(),
            );
            built(Signal::Traces, queue, &config.redactor, &mut warnings).map(Arc::new)
        });
        let logs = environment.logs.otlp.as_ref().and_then(|target| {
            let queue = otlp::log_queue(
                &mut transport,
                target,
                environment.log_batches,
                &resource,
                scrubber.clone(),
                last_error.clone(),
            );
            built(Signal::Logs, queue, &config.redactor, &mut warnings).map(Arc::new)
        });
        let metrics = environment.metrics.otlp.as_ref().and_then(|target| {
            let reader = SharedReader::new(environment.temporality);
            let pump = transport.metrics(target, environment.temporality).and_then(|(exporter, executor)| {
                Ok(MetricPump::start(
                    reader.clone(),
                    exporter,
                    executor,
                    environment.metric_interval,
                    Arc::clone(&outside),
                    last_error.clone(),
                )?)
            });
            let pump = built(Signal::Metrics, pump, &config.redactor, &mut warnings)?;
            let provider =
                SdkMeterProvider::builder().with_resource(resource.clone()).with_reader(reader).build();
            Some((pump, provider))
        });
        let (metrics, meter_provider) = metrics.unzip();

        let tracer_provider = SdkTracerProvider::builder()
            .with_resource(resource.clone())
            .with_sampler(RunSampler { configured: environment.sampler, exporting: spans.is_some() })
            .with_span_limits(environment.span_limits)
            .with_span_processor(RunSpanProcessor::new(spans.clone(), Arc::clone(&outside)))
            .build();
        let logger_provider = SdkLoggerProvider::builder()
            .with_resource(resource.clone())
            .with_log_processor(RunLogProcessor::new(logs.clone(), Arc::clone(&outside)))
            .build();
        let inner = BridgeInner {
            vocabulary: Arc::new(Vocabulary::new(&config.namespace)),
            namespace: config.namespace,
            slow_after: config.slow_after,
            scrubber,
            tracer_provider,
            logger_provider,
            meter_provider,
            spans,
            logs,
            metrics,
            outside,
            redactor: config.redactor,
            resource,
            last_error,
            propagators: environment.propagators,
            parent: propagation::extract(&config.environment, environment.propagators),
            warnings: Mutex::new(warnings),
        };
        Self { inner: Arc::new(inner) }
    }

    /// What could not be done as configured.
    pub fn warnings(&self) -> Vec<String> {
        self.inner.warnings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a signal goes over OTLP.
    pub fn exports(&self, signal: Signal) -> bool {
        match signal {
            Signal::Traces => self.inner.spans.is_some(),
            Signal::Metrics => self.inner.metrics.is_some(),
            Signal::Logs => self.inner.logs.is_some(),
        }
    }

    /// Opens a run: its files are made, and what is recorded in its contexts goes into them.
    pub fn open_run(&self, scope: RunScope) -> RunSignals {
        RunSignals::open(Arc::clone(&self.inner), &scope)
    }

    /// The layer for a program's `tracing` subscriber: its spans become spans, its events log records, both from INFO
    /// upward.
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        self.layer_with_filter(EnvFilter::new("info"))
    }

    /// As [`Self::layer`], with what is let through. The crates that exporting runs on are never let through.
    pub fn layer_with_filter<S>(&self, filter: EnvFilter) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        crate::layer::layer(&self.inner.tracer_provider, &self.inner.logger_provider, filter)
    }

    /// The context of what started this process, as `TRACEPARENT`, `TRACESTATE` and `BAGGAGE` tell it.
    pub fn parent_from_environment(&self) -> Option<Context> {
        self.inner.parent.clone()
    }

    /// The variables that make a process that is started with them a child of `context`.
    pub fn child_environment(&self, context: &Context) -> BTreeMap<String, String> {
        propagation::inject(context, self.inner.propagators)
    }

    /// Makes tracers for spans of the program's own. Such spans belong to a run when they start in a context of it.
    pub fn tracer_provider(&self) -> &SdkTracerProvider {
        &self.inner.tracer_provider
    }

    /// Makes loggers for log records of the program's own.
    pub fn logger_provider(&self) -> &SdkLoggerProvider {
        &self.inner.logger_provider
    }

    /// Sends what waits. False when that took longer than `timeout`. It blocks.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.inner.begin_flush().wait(Instant::now() + timeout)
    }

    /// Sends what waits and ends exporting, within `timeout` for all signals together, and gives the account of what
    /// belonged to no run. It blocks: in async code, call it inside `spawn_blocking`.
    ///
    /// A bridge that is dropped without it does the same, with 5 s for each signal.
    pub fn shutdown(&self, timeout: Duration) -> SignalLedgers {
        let inner = &self.inner;
        let deadline = Instant::now() + timeout;
        inner.begin_flush().wait(deadline);
        let left = || deadline.saturating_duration_since(Instant::now());
        // Whether they were in time shows in the ledgers, which tell more than these results.
        let _ = inner.tracer_provider.shutdown_with_timeout(left());
        let _ = inner.logger_provider.shutdown_with_timeout(left());
        let outside = &inner.outside;
        SignalLedgers {
            traces: outside.traces.ledger(inner.spans.is_some()),
            metrics: outside.metrics.ledger(inner.metrics.is_some()),
            logs: outside.logs.ledger(inner.logs.is_some()),
            errors: inner.export_error().into_iter().collect(),
        }
    }
}

impl BridgeInner {
    pub(crate) fn run_resource(&self, scope: &RunScope) -> Resource {
        resource::of_run(&self.resource, scope, &self.namespace, &self.redactor)
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

    pub(crate) fn export_error(&self) -> Option<String> {
        self.last_error.get().map(|error| format!("OTLP export: {}", self.redactor.text(&error)))
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

fn built<T>(
    signal: Signal,
    result: Result<T, TransportError>,
    redactor: &Redactor,
    warnings: &mut Vec<String>,
) -> Option<T> {
    result
        .map_err(|error| {
            let mut text = format!("{signal} are not exported over OTLP: {error}");
            let mut cause = std::error::Error::source(&error);
            while let Some(error) = cause {
                text.push_str(&format!(": {error}"));
                cause = error.source();
            }
            warnings.push(redactor.text(&text));
        })
        .ok()
}
