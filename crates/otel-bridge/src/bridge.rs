//! OpenTelemetry for a process: the providers, where they export to, and the runs that share them.

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
    /// What is a credential, in spans, log records and the resource.
    pub redactor: Redactor,
    /// Whether the resource names the machine: host, operating system, container. Default: yes.
    pub host_facts: bool,
    /// The program and its arguments for the resource, where they may be shown. Default: none.
    pub command_line: Option<Captured>,
    /// Providers that the program has already. Default: none, and the variables decide over exporting.
    pub attach_to: ProgramProviders,
    /// The variables that count: those of OpenTelemetry (`OTEL_*`), `TRACEPARENT`, `TRACESTATE` and `BAGGAGE`.
    pub environment: BTreeMap<String, String>,
}

impl BridgeConfig {
    /// The defaults, and the variables of this process.
    #[expect(
        clippy::disallowed_methods,
        reason = "a bridge of the process is configured by the variables of the process"
    )]
    pub fn new(service_name: impl Into<String>) -> Self {
        // Only these are kept: the rest of the environment holds secrets of all kinds, and the configuration can be
        // printed.
        let counts = |name: &str| name.starts_with("OTEL_") || propagation::VARIABLES.contains(&name);
        // A variable that is not UTF-8 is not one of ours.
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
            .field("attach_to", &self.attach_to)
            // Only the names: headers with keys are among the values.
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

impl Bridge {
    /// Starts the providers, and exporting where the variables ask for it. It always returns a bridge that records into
    /// the files of runs; whatever cannot be done as configured is one of [`Bridge::warnings`].
    pub fn start(config: BridgeConfig) -> Self {
        let mut environment = Environment::read(&config.environment, &config.redactor);
        let attached = &config.attach_to;
        if attached.tracers.is_some() {
            // The program exports its spans itself, and would have each of them twice.
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
        // After the exports know their headers from it, and before anything of it can be shown.
        environment.hide_credentials(&config.redactor);
        let door = Door::new(scrubber, environment.span_limits);
        let mut warnings = environment.warnings.clone();
        let exports = Exports::start(&environment, &resource, &door, &config.redactor, &mut warnings);
        // Made once: the names of all attributes would be put together with each span.
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

    /// Makes these providers, and the propagators, the global ones of the process, for libraries that use those. A bridge
    /// never does this by itself.
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
        // Without one the global provider stays what it was: to replace it by one that exports nothing would turn the
        // metrics of the program off.
        if let Some(meters) = &self.inner.exports.meter_provider {
            global::set_meter_provider(meters.clone());
        }
        global::set_text_map_propagator(propagation::together(self.inner.propagators));
    }

    /// Where Prometheus may ask for the metrics of the process, at `/metrics`. `None` where the variables do not ask for it, or
    /// nothing listens.
    pub fn scrape_address(&self) -> Option<SocketAddr> {
        self.inner.exports.scrape_address()
    }

    /// What could not be done as configured.
    pub fn warnings(&self) -> Vec<String> {
        self.inner.warnings.clone()
    }

    /// Whether a signal goes over OTLP.
    pub fn exports(&self, signal: Signal) -> bool {
        self.inner.exports.over_otlp(signal)
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

    /// The half of [`Self::layer`] that turns events into log records, for a subscriber that has a layer for spans
    /// already: `tracing-opentelemetry` can be in a subscriber once.
    pub fn log_layer<S>(&self, filter: EnvFilter) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        crate::layer::log_layer(&self.inner.logger_provider, filter)
    }

    /// As [`Self::layer`], with what is let through. The crates that exporting runs on are never let through.
    pub fn layer_with_filter<S>(&self, filter: EnvFilter) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        crate::layer::layer(&self.inner.tracers, &self.inner.logger_provider, filter)
    }

    /// The context of what started this process, as `TRACEPARENT`, `TRACESTATE` and `BAGGAGE` name it.
    pub fn parent_from_environment(&self) -> Option<Context> {
        self.inner.parent.clone()
    }

    /// The context of what asks this process for something, as headers named like those variables in any case name it.
    pub fn parent_of<'h>(&self, headers: impl Iterator<Item = (&'h str, &'h str)>) -> Option<Context> {
        let variables =
            headers.map(|(name, value)| (name.to_ascii_uppercase().replace('-', "_"), value.to_owned()));
        propagation::extract(&variables.collect(), self.inner.propagators)
    }

    /// The variables that make a process that is started with them a child of `context`.
    pub fn child_environment(&self, context: &Context) -> BTreeMap<String, String> {
        propagation::inject(context, self.inner.propagators)
    }

    /// Makes tracers for spans of the program's own. Such spans belong to a run when they start in a context of it.
    pub fn tracer_provider(&self) -> &BridgeTracerProvider {
        &self.inner.tracers
    }

    /// Makes loggers for log records of the program's own.
    pub fn logger_provider(&self) -> &SdkLoggerProvider {
        &self.inner.logger_provider
    }

    /// Sends what waits. False when that took longer than `timeout`. It blocks.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.inner.exports.begin_flush().wait(deadline_in(timeout))
    }

    /// Sends what waits and ends exporting, within `timeout` for all signals together, and returns the counts of what
    /// belonged to no run. It blocks: in async code, call it inside `spawn_blocking`.
    ///
    /// Runs that are still open go on recording into their files. A bridge that is dropped without it does the same,
    /// within 5 s.
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
