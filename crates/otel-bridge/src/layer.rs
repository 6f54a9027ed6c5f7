//! The `tracing` layer that turns a program's own spans and events into spans and log records.

use std::sync::Arc;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::{logs::SdkLoggerProvider, trace::SdkTracerProvider};
use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt as _, filter_fn},
    layer::Filter,
    registry::LookupSpan,
};

use crate::names;

/// The crates that exporting itself runs on: recording what they say would make more of it to export.
const EXPORTERS: [&str; 6] = ["opentelemetry", "hyper", "h2", "tonic", "tower", "reqwest"];

/// Spans become spans and events become log records, as far as `filter` lets them.
pub(crate) fn layer<S>(
    tracers: &SdkTracerProvider,
    loggers: &SdkLoggerProvider,
    filter: EnvFilter,
) -> impl Layer<S> + Send + Sync + use<S>
where
    S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
{
    let not_exporters = filter_fn(|metadata| !is_exporter(metadata.target()));
    let filter: Arc<dyn Filter<S> + Send + Sync> = Arc::new(filter.and(not_exporters));
    // Each call site is denied by one of the two filters, and that keeps it from being enabled once and for all. This
    // matters: a `log::log_enabled!` that per-layer filters deny leaves its verdict behind, and what comes next is
    // lost to it unless its call site asks again.
    let spans = tracing_opentelemetry::layer::<S>()
        .with_tracer(tracers.tracer(names::TRACING_SCOPE))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_level(false)
        .with_tracked_inactivity(false)
        .with_filter(Arc::clone(&filter).and(filter_fn(|metadata| metadata.is_span())));
    let logs = OpenTelemetryTracingBridge::new(loggers)
        .with_filter(filter.and(filter_fn(|metadata| metadata.is_event())));
    spans.and_then(logs)
}

fn is_exporter(target: &str) -> bool {
    EXPORTERS.iter().any(|name| target.starts_with(name))
}
