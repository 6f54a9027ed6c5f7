//! Keeps panics of what only looks on away from the query.

use std::panic::{AssertUnwindSafe, catch_unwind};

use daglight_run_bundle::WarningCode;

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
