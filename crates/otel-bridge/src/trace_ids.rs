//! Trace ids on console lines.

use std::fmt;

use opentelemetry::{Context, trace::TraceContextExt as _};
use tracing::{Event, Subscriber};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

/// Puts `trace_id=… span_id=…` in front of each line that is logged while a span is active, and leaves all others as
/// they are.
///
/// ```
/// use daglight_otel_bridge::WithTraceIds;
/// use tracing_subscriber::fmt;
///
/// let console = fmt::layer::<tracing_subscriber::Registry>().event_format(WithTraceIds::new(fmt::format()));
/// # drop(console);
/// ```
#[derive(Debug, Clone)]
pub struct WithTraceIds<F> {
    inner: F,
    are_shown: bool,
}

impl<F> WithTraceIds<F> {
    /// Wraps the format of the rest of the line.
    pub fn new(inner: F) -> Self {
        Self { inner, are_shown: true }
    }

    /// Whether the ids are shown at all. Default: they are.
    #[must_use]
    pub fn shown(mut self, are_shown: bool) -> Self {
        self.are_shown = are_shown;
        self
    }
}

impl<S, N, F> FormatEvent<S, N> for WithTraceIds<F>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let active = Context::map_current(|current| {
            let span = current.span().span_context().clone();
            span.is_valid().then_some(span)
        });
        if let Some(span) = active.filter(|_| self.are_shown) {
            write!(writer, "trace_id={} span_id={} ", span.trace_id(), span.span_id())?;
        }
        self.inner.format_event(context, writer, event)
    }
}
