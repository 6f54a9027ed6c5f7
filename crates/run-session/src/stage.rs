//! Work inside a span of a run.

use std::future::Future;

use daglight_capture_policy::{Captured, Policy};
use daglight_otel_bridge::{StageSpan, StageSpanBuilder, names::key};
use daglight_run_identity::Code;
use opentelemetry::context::FutureExt as _;

use crate::{
    location::shown_location,
    run_error::{RecordedError, RunError},
};

/// The span with where its code stands, and its `sql` as far as the policy shows it.
pub(crate) fn with_code(
    span: StageSpanBuilder,
    code: &Code,
    sql: Option<Captured>,
    policy: &Policy,
) -> StageSpanBuilder {
    let span = span.attribute(key::CODE_LINE_NUMBER, code.first_line as u64);
    let span = match shown_location(&code.path, policy) {
        Some(path) => span.attribute(key::CODE_FILE_PATH, policy.capture(path)),
        None => span,
    };
    match sql {
        Some(sql) => span.attribute(key::DB_QUERY_TEXT, sql),
        None => span,
    }
}

/// Does the work inside the span, which an error marks as failed. `rows` is how many rows a result has.
pub(crate) async fn in_span<T, E: RunError<Kind>, Kind>(
    span: StageSpan,
    policy: &Policy,
    rows: impl FnOnce(&T) -> Option<u64>,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let context = span.context();
    let result = work.with_context(context).await;
    say(&span, policy, rows, &result);
    span.end();
    result
}

/// Has a span say what came of its work.
pub(crate) fn say<T, E: RunError<Kind>, Kind>(
    span: &StageSpan,
    policy: &Policy,
    rows: impl FnOnce(&T) -> Option<u64>,
    result: &Result<T, E>,
) {
    match result {
        Ok(done) => rows(done).into_iter().for_each(|rows| span.row_count(rows)),
        Err(error) => {
            let error = RecordedError::of(error);
            span.fail(error.error_type, &policy.capture_error(&error.text()));
        }
    }
}
