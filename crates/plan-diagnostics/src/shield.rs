//! Keeps panics of what only looks on away from the query.

use std::panic::{AssertUnwindSafe, catch_unwind};

use daglight_run_bundle::WarningCode;
use datafusion::error::DataFusionError;

/// What a warning says has panicked, where a session's observer has.
pub(crate) const OBSERVING: &str = "what observes the queries of a session";

/// Runs code that observes a query, which goes on without it should it panic. `what` names it in the warning.
pub(crate) fn shielded<T>(what: &'static str, observe: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(observe)) {
        Ok(value) => Some(value),
        Err(_) => {
            let code = WarningCode::Panicked.name();
            tracing::warn!(
                warning.code = code,
                "{what} panicked; the query is not affected, but less of it is recorded"
            );
            None
        }
    }
}

/// The message of an error without the backtrace that DataFusion may add.
pub(crate) fn message_of(error: &DataFusionError) -> String {
    // It may hold an error of a program, whose text is made by code of that program.
    shielded("the text of an error", || error.strip_backtrace()).unwrap_or_default()
}
