//! A span that may be one of the slowest, before it is known when the run started and which node the span above it belongs to.

use crate::report::SpanReport;

/// A slow span.
#[derive(Debug)]
pub(crate) struct SlowSpan {
    pub(crate) parent_span_id: String,
    /// When it started, in nanoseconds.
    pub(crate) start: u64,
    /// What is reported of it; its start is filled in last.
    pub(crate) report: SpanReport,
}

impl SlowSpan {
    pub(crate) fn into_report(
        self,
        node_of: &dyn Fn(&str) -> Option<String>,
        since_start: &dyn Fn(u64) -> f64,
    ) -> SpanReport {
        SpanReport {
            node: self.report.node.or_else(|| node_of(&self.parent_span_id)),
            start_ms: since_start(self.start),
            ..self.report
        }
    }
}
