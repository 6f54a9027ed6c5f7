//! The log of a run. What stands in it is a fact of ours or has passed the capture policy, and the compiler holds that: a
//! `String`, which may hold anything, cannot be a field.

use daglight_capture_policy::Captured;
use daglight_otel_bridge::AttributeValue;
use daglight_run_bundle::WarningCode;
use tracing::{Level, Value, event};

/// What stands in a field.
pub(crate) struct Field(Option<Box<dyn Value + Send + Sync>>);

/// The field of a value.
pub(crate) fn field(value: impl Into<AttributeValue>) -> Field {
    Field(Some(value.into().into_log_field()))
}

/// The field of a value that may not be known. Then it is left out.
pub(crate) fn known(value: Option<impl Into<AttributeValue>>) -> Field {
    Field(value.map(|value| value.into().into_log_field()))
}

impl Field {
    pub(crate) fn as_value(&self) -> &Option<Box<dyn Value + Send + Sync>> {
        &self.0
    }
}

/// Logs an event of a run's life: `log!(INFO, "node finished", node = field(name))`. The console of the command leaves
/// these out, because it shows them itself.
macro_rules! log {
    ($level:ident, $message:literal $(, $key:ident = $field:expr)* $(,)?) => {
        tracing::event!(
            target: $crate::LIFECYCLE_TARGET,
            tracing::Level::$level,
            $($key = $crate::log::Field::as_value(&$field),)*
            $message
        )
    };
}

/// Logs a warning about a run, with its code.
macro_rules! warn_of {
    ($code:ident, $message:literal) => {
        tracing::event!(
            tracing::Level::WARN,
            warning.code = daglight_run_bundle::WarningCode::$code.name(),
            $message
        )
    };
}

/// Logs a sentence about a stall, with the same as fields: those that every such event has, and others.
macro_rules! stall_event {
    (target: $target:expr, $level:ident, $text:ident, of $stall:ident $(, code = $code:expr)? $(, stall.$key:ident = $field:expr)* $(,)?) => {
        tracing::event!(
            target: $target,
            tracing::Level::$level,
            stall.query_id = $crate::log::Field::as_value(&$stall.query_id),
            stall.node = $crate::log::Field::as_value(&$stall.node),
            stall.statement = $crate::log::Field::as_value(&$stall.statement),
            stall.operator = $crate::log::Field::as_value(&$stall.operator),
            stall.class = $crate::log::Field::as_value(&$stall.class),
            $(warning.code = $code.name(),)?
            $(stall.$key = $crate::log::Field::as_value(&$field),)*
            "{}",
            $text.to_text()
        )
    };
}

pub(crate) use {log, stall_event, warn_of};

/// Logs a warning that has no fields besides its code.
pub(crate) fn warn_that(code: &WarningCode, warning: &Captured) {
    event!(Level::WARN, warning.code = code.name(), "{}", warning.to_text());
}

/// The same of what happened to a node, where there is one.
pub(crate) fn warn_of_node(code: &WarningCode, node: &Field, warning: &Captured) {
    event!(Level::WARN, warning.code = code.name(), node = node.as_value(), "{}", warning.to_text());
}

/// Logs an error that has no fields.
pub(crate) fn error_that(error: &Captured) {
    event!(Level::ERROR, "{}", error.to_text());
}
