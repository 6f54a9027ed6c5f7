//! Work inside a span of a run.

use std::{any::type_name, fmt, future::Future};

use daglight_capture_policy::Policy;
use daglight_otel_bridge::StageSpan;
use opentelemetry::context::FutureExt as _;

/// Does the work inside the span, which an error marks as failed.
pub(crate) async fn in_span<T, E: fmt::Display>(
    span: StageSpan,
    policy: &Policy,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let context = span.context();
    let result = work.with_context(context).await;
    if let Err(error) = &result {
        span.fail(type_name::<E>(), &policy.capture_error(&format!("{error:#}")));
    }
    span.end();
    result
}
