//! Work inside a span of a run.

use std::future::Future;

use daglight_capture_policy::Policy;
use daglight_otel_bridge::StageSpan;
use opentelemetry::context::FutureExt as _;

use crate::{RunError, run_error::RecordedError};

/// Does the work inside the span, which an error marks as failed.
pub(crate) async fn in_span<T, E: RunError<Kind>, Kind>(
    span: StageSpan,
    policy: &Policy,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let context = span.context();
    let result = work.with_context(context).await;
    if let Err(error) = &result {
        let error = RecordedError::of(error);
        span.fail(error.error_type, &policy.capture_error(&error.text()));
    }
    span.end();
    result
}
