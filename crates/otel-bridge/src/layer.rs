//! The `tracing` layer that turns a program's own spans and events into spans and log records.

use std::sync::Arc;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt as _, filter_fn},
    layer::Filter,
    registry::LookupSpan,
};

use crate::{attach::BridgeTracerProvider, names};

/// The crates on which exporting itself runs: recording their events would create more to export.
const EXPORTERS: [&str; 7] = ["opentelemetry", "hyper", "h2", "tonic", "tower", "reqwest", "rustls"];

/// Spans become spans and events become log records, if `filter` allows them.
pub(crate) fn layer<S>(
    tracers: &BridgeTracerProvider,
    loggers: &SdkLoggerProvider,
    filter: EnvFilter,
) -> impl Layer<S> + Send + Sync + use<S>
where
    S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
{
    let filter = without_exporters(filter);
    // Each call site is denied by one of the two filters, so none is ever cached as always enabled. This matters: a
    // `log::log_enabled!` that per-layer filters deny leaves its verdict behind, and the next event is lost unless its call site
    // asks again. Source locations and thread ids would add attributes to each span that are not in any semantic convention, and a
    // third to the time that it takes.
    let spans = tracing_opentelemetry::layer::<S>()
        .with_tracer(tracers.tracer(names::TRACING_SCOPE))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_level(false)
        .with_tracked_inactivity(false)
        .with_filter(Arc::clone(&filter).and(filter_fn(|metadata| metadata.is_span())));
    spans.and_then(events(loggers, filter))
}

/// Events become log records, if `filter` allows them.
pub(crate) fn log_layer<S>(
    loggers: &SdkLoggerProvider,
    filter: EnvFilter,
) -> impl Layer<S> + Send + Sync + use<S>
where
    S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
{
    events(loggers, without_exporters(filter))
}

type AnyFilter<S> = Arc<dyn Filter<S> + Send + Sync>;

fn events<S>(loggers: &SdkLoggerProvider, filter: AnyFilter<S>) -> impl Layer<S> + Send + Sync + use<S>
where
    S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
{
    let only_events = filter_fn(|metadata| metadata.is_event());
    // The layer for spans would also record events, as events of their span, so that each text would occur twice.
    OpenTelemetryTracingBridge::new(loggers).with_filter(filter.and(only_events))
}

fn without_exporters<S>(filter: EnvFilter) -> AnyFilter<S>
where
    S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
{
    Arc::new(filter.and(filter_fn(|metadata| !is_exporter(metadata.target()))))
}

/// Whether a target is in one of the crates, or in one with such a prefix, such as `hyper_util`.
fn is_exporter(target: &str) -> bool {
    let mut rest = EXPORTERS.iter().filter_map(|name| target.strip_prefix(name));
    // Whole words only: a program's own crate `h2o` is not the HTTP library.
    rest.any(|rest| rest.is_empty() || rest.starts_with([':', '_', '-']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(target: &str, expected: bool) {
        assert_eq!(is_exporter(target), expected, "{target}");
    }

    #[test]
    fn only_the_crates_of_exporting_are_exporters() {
        check("h2", true);
        check("hyper::client", true);
        check("hyper_util::client::legacy", true);
        check("opentelemetry-otlp", true);
        check("hyperdrive::engine", false);
        check("h2o", false);
        check("orders::tower", false);
    }
}
