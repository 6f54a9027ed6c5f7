//! OpenTelemetry for a process: the providers, their export destinations, and the runs that share them.

use std::{collections::BTreeMap, env, fmt, net::SocketAddr, sync::Arc, time::Duration};

use daglight_capture_policy::{Captured, Redactor};
use opentelemetry::{Context, global};
use opentelemetry_sdk::{logs::SdkLoggerProvider, trace::SdkTracerProvider};
use tracing::Subscriber;
use tracing_subscriber::{EnvFilter, Layer, registry::LookupSpan};

use crate::{
    attach::{BridgeTracerProvider, MirrorIds, ProgramProviders},
    bridge_inner::BridgeInner,
    door::Door,
    environment::Environment,
    exports::Exports,
    ledger::{Signal, SignalLedgers},
    metrics::show_losses,
    names::{self, Namespace, key},
    processors::{BridgeLogProcessor, BridgeSpanProcessor},
    propagation,
    queue::deadline_in,
    resource,
    run_scope::RunScope,
    run_signals::RunSignals,
    sampler::BridgeSampler,
    scrub::Scrubber,
    signal_export::SignalExport,
    slow_after::SlowAfter,
    value::AttributeValue,
    vocabulary::Vocabulary,
};

/// The configuration of a [`Bridge`].
#[derive(Clone)]
pub struct BridgeConfig {
    /// The prefix of Daglight's own keys and metrics. Default: `daglight`.
    pub namespace: Namespace,
    /// The service name, if `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` do not set one.
    pub service_name: String,
    /// Attributes of the resource, such as `deployment.environment.name`. `OTEL_RESOURCE_ATTRIBUTES` takes precedence.
    pub resource: BTreeMap<String, String>,
    /// After which duration a span is marked `slow`. Default: 10 s.
    pub slow_after: SlowAfter,
    /// Redacts credentials in spans, log records and the resource.
    pub redactor: Redactor,
    /// Whether the resource identifies the machine: host, operating system, container. Default: yes.
    pub host_facts: bool,
    /// The program and its arguments for the resource, if they may be shown. Default: none.
    pub command_line: Option<Captured>,
    /// Existing providers of the program. Default: none, so that the variables control the export.
    pub attach_to: ProgramProviders,
    /// Names under which metrics may be scraped, besides addresses, `localhost` and `OTEL_EXPORTER_PROMETHEUS_HOST`. Default: none.
    pub scrape_hosts: Vec<String>,
    /// The environment variables that are used: those of OpenTelemetry (`OTEL_*`), `TRACEPARENT`, `TRACESTATE` and `BAGGAGE`.
    pub environment: BTreeMap<String, String>,
}

impl BridgeConfig {
    /// The defaults, with the variables of this process.
    #[expect(
        clippy::disallowed_methods,
        reason = "a bridge of the process is configured by the variables of the process"
    )]
    pub fn new(service_name: impl Into<String>) -> Self {
        // Only these are kept: the rest of the environment contains all kinds of secrets, and the configuration can be printed.
        let counts = |name: &str| name.starts_with("OTEL_") || propagation::VARIABLES.contains(&name);
        // All relevant variables are UTF-8.
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self {
            namespace: Namespace::default(),
            service_name: service_name.into(),
            resource: BTreeMap::new(),
            slow_after: SlowAfter::default(),
            redactor: Redactor::default(),
            host_facts: true,
            command_line: None,
            attach_to: ProgramProviders::default(),
            scrape_hosts: Vec::new(),
            environment: env::vars_os().filter_map(text).filter(|(name, _)| counts(name)).collect(),
        }
    }
}

/// Shows only the names of variables, because they may contain credentials.
impl fmt::Debug for BridgeConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BridgeConfig")
            .field("namespace", &self.namespace)
            .field("service_name", &self.service_name)
            .field("resource", &self.resource.keys())
            .field("slow_after", &self.slow_after)
            .field("attach_to", &self.attach_to)
            // Only the names: the values include headers with keys.
            .field("environment", &self.environment.keys())
            .finish_non_exhaustive()
    }
}

/// OpenTelemetry for a process, or for a part of it. Clones are handles to the same bridge.
///
/// It installs nothing globally: it records what comes from the spans of [`RunSignals`] and through [`Bridge::layer`]. It can be
/// started from a plain `main`, and from single-threaded or multi-threaded runtimes.
#[derive(Debug, Clone)]
pub struct Bridge {
    inner: Arc<BridgeInner>,
}

impl Bridge {
    /// Starts the providers, and the exports if the variables request them. It always returns a bridge that records into the files
    /// of runs; everything that cannot be done as configured is in [`Bridge::warnings`].
    pub fn start(config: BridgeConfig) -> Self {
        let mut environment = Environment::read(&config.environment, &config.redactor);
        let attached = &config.attach_to;
        if attached.tracers.is_some() {
            // The program exports its spans itself; otherwise each would be exported twice.
            environment.traces = SignalExport::default();
        }
        if attached.meters.is_some() {
            environment.metrics = SignalExport::default();
        }
        let mut detected = resource::detected(config.host_facts);
        detected.extend(
            config
                .command_line
                .map(|line| (key::PROCESS_COMMAND_LINE.to_owned(), AttributeValue::from(line).0)),
        );
        let resource = resource::of_process(
            &config.service_name,
            detected,
            &config.resource,
            &environment,
            &config.redactor,
        );
        let scrubber = Scrubber::new(
            config.redactor.clone(),
            environment.span_value_length,
            environment.log_value_length,
        );
        // After the exports have read their headers from it, and before any of it can be shown.
        environment.hide_credentials(&config.redactor);
        let door = Door::new(scrubber, environment.span_limits);
        let mut warnings = environment.warnings.clone();
        let exports = Exports::start(
            &environment,
            &config.scrape_hosts,
            &resource,
            &door,
            &config.redactor,
            &mut warnings,
        );
        // Created once: otherwise the names of all attributes would be built for each span.
        let vocabulary = Arc::new(Vocabulary::new(&config.namespace));
        if let Some(provider) = attached.meters.clone().or_else(|| exports.meters()) {
            let meter = provider.meter(names::SCOPE);
            show_losses(&meter, &config.namespace, &vocabulary, exports.losses.clone());
        }
        let tracer_provider = SdkTracerProvider::builder()
            .with_resource(resource.clone())
            .with_id_generator(MirrorIds::default())
            .with_sampler(BridgeSampler {
                configured: environment.sampler,
                exporting: exports.spans.is_some(),
            })
            .with_span_limits(environment.span_limits)
            .with_span_processor(BridgeSpanProcessor::new(
                exports.spans.clone(),
                Arc::clone(&exports.outside),
                door.clone(),
            ))
            .build();
        let logger_provider = SdkLoggerProvider::builder()
            .with_resource(resource.clone())
            .with_log_processor(BridgeLogProcessor::new(exports.logs.clone(), Arc::clone(&exports.outside)))
            .build();
        let inner = BridgeInner {
            vocabulary,
            namespace: config.namespace,
            slow_after: config.slow_after,
            door,
            tracers: BridgeTracerProvider::new(tracer_provider, attached),
            logger_provider,
            attached: config.attach_to,
            exports,
            redactor: config.redactor,
            resource,
            propagators: environment.propagators,
            parent: propagation::extract(&config.environment, environment.propagators),
            warnings,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Makes these providers, and the propagators, the global ones of the process, for libraries that use those. A bridge never
    /// does this on its own.
    ///
    /// ```
    /// use daglight_otel_bridge::{Bridge, BridgeConfig};
    /// use opentelemetry::{global, trace::{Span as _, Tracer as _}};
    ///
    /// let bridge = Bridge::start(BridgeConfig::new("orders"));
    /// bridge.install_global();
    /// let span = global::tracer("a library").start("its work");
    /// assert!(span.span_context().is_valid());
    /// ```
    pub fn install_global(&self) {
        global::set_tracer_provider(self.inner.tracers.clone());
        // Otherwise the global provider is left unchanged: replacing it with one that exports nothing would disable the metrics of
        // the program.
        if let Some(meters) = &self.inner.exports.meter_provider {
            global::set_meter_provider(meters.clone());
        }
        global::set_text_map_propagator(propagation::together(self.inner.propagators));
    }

    /// The address at which Prometheus can scrape the metrics of the process, under `/metrics`. `None` if the variables do not
    /// request it, or if listening failed.
    pub fn scrape_address(&self) -> Option<SocketAddr> {
        self.inner.exports.scrape_address()
    }

    /// Everything that could not be done as configured.
    pub fn warnings(&self) -> Vec<String> {
        self.inner.warnings.clone()
    }

    /// Whether a signal is exported over OTLP.
    pub fn exports(&self, signal: Signal) -> bool {
        self.inner.exports.over_otlp(signal)
    }

    /// Opens a run: creates its files, which then get everything that is recorded in its contexts.
    pub fn open_run(&self, scope: RunScope) -> RunSignals {
        RunSignals::open(Arc::clone(&self.inner), &scope)
    }

    /// A layer for the program's `tracing` subscriber: its spans become spans, its events become log records, both at INFO and
    /// above.
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        self.layer_with_filter(EnvFilter::new("info"))
    }

    /// The part of [`Self::layer`] that turns events into log records, for a subscriber that already has a layer for spans: a
    /// subscriber can contain `tracing-opentelemetry` only once.
    pub fn log_layer<S>(&self, filter: EnvFilter) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        crate::layer::log_layer(&self.inner.logger_provider, filter)
    }

    /// Like [`Self::layer`], with a custom filter. The crates on which exporting runs are always filtered out.
    pub fn layer_with_filter<S>(&self, filter: EnvFilter) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        crate::layer::layer(&self.inner.tracers, &self.inner.logger_provider, filter)
    }

    /// The context that started this process, from `TRACEPARENT`, `TRACESTATE` and `BAGGAGE`.
    pub fn parent_from_environment(&self) -> Option<Context> {
        self.inner.parent.clone()
    }

    /// The context of the caller of this process, from headers with the names of those variables in upper or lower case.
    pub fn parent_of<'h>(&self, headers: impl Iterator<Item = (&'h str, &'h str)>) -> Option<Context> {
        let variables =
            headers.map(|(name, value)| (name.to_ascii_uppercase().replace('-', "_"), value.to_owned()));
        propagation::extract(&variables.collect(), self.inner.propagators)
    }

    /// The variables that make a process that is started with them a child of `context`.
    pub fn child_environment(&self, context: &Context) -> BTreeMap<String, String> {
        propagation::inject(context, self.inner.propagators)
    }

    /// Creates tracers for the program's own spans. Such spans belong to a run if they start in one of its contexts.
    pub fn tracer_provider(&self) -> &BridgeTracerProvider {
        &self.inner.tracers
    }

    /// Creates loggers for the program's own log records.
    pub fn logger_provider(&self) -> &SdkLoggerProvider {
        &self.inner.logger_provider
    }

    /// Sends everything that is waiting. Returns false if that took longer than `timeout`. It blocks.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.inner.exports.begin_flush().wait(deadline_in(timeout))
    }

    /// Sends everything that is waiting and ends exporting, within `timeout` for all signals together, and returns the counts of
    /// signals outside all runs. It blocks: in async code, call it inside `spawn_blocking`.
    ///
    /// Runs that are still open continue to record into their files. Dropping a bridge without this call does the same, within 5 s.
    pub fn shutdown(&self, timeout: Duration) -> SignalLedgers {
        let exports = &self.inner.exports;
        // One deadline for all three signals together.
        exports.end(deadline_in(timeout));
        let outside = &exports.outside.counts;
        SignalLedgers {
            traces: outside.traces.ledger(exports.over_otlp(Signal::Traces)),
            metrics: outside.metrics.ledger(exports.over_otlp(Signal::Metrics)),
            logs: outside.logs.ledger(exports.over_otlp(Signal::Logs)),
            file_errors: Vec::new(),
            export_errors: exports.last_error().into_iter().collect(),
        }
    }
}
