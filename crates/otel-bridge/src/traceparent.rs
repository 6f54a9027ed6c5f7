//! Whether a text is a `traceparent` of the W3C.

use std::collections::HashMap;

use opentelemetry::{Context, propagation::TextMapPropagator as _, trace::TraceContextExt as _};
use opentelemetry_sdk::propagation::TraceContextPropagator;

/// The variable that names the span which a run is a child of.
pub(crate) const TRACEPARENT: &str = "TRACEPARENT";

/// Whether the text names a span, as the propagator that takes it over decides it.
pub(crate) fn is_traceparent(text: &str) -> bool {
    let carrier = HashMap::from([("traceparent".to_owned(), text.to_owned())]);
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier);
    context.span().span_context().is_valid()
}
