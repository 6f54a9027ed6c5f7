//! What the spans that have not ended add to the signals of a run: they lasted at least until the run was last seen.

use std::mem;

use daglight_run_bundle::milliseconds;

use super::{MAX_NODES, MAX_STAGES, Signals, entry};
use crate::{open_spans::OpenSpan, report::SpanReport, shown_spans::ShownSpan, slow_span::SlowSpan};

impl Signals {
    /// When the first span started, and the last thing that the spans say happened: one that started and has not ended was seen.
    pub(crate) fn seen(&self) -> Option<(u64, u64)> {
        let open = self.open.iter().map(|open| (open.start, open.start));
        self.extent
            .into_iter()
            .chain(open)
            .reduce(|(start, end), (first, last)| (start.min(first), end.max(last)))
    }

    /// Counts the spans that have not ended as spans that last until `last_seen`, in nanoseconds.
    pub(crate) fn take_open(&mut self, last_seen: u64) {
        let mut open: Vec<OpenSpan> = mem::take(&mut self.open).into_spans().collect();
        // A span starts before those below it, and comes behind them, as the spans that have ended do in their file.
        open.sort_by_key(|span| std::cmp::Reverse(span.start));
        for span in open {
            self.take_open_span(span, last_seen);
        }
    }

    fn take_open_span(&mut self, span: OpenSpan, last_seen: u64) {
        let OpenSpan { start, node, is_setup, statement, shown, slow } = span;
        let end = last_seen.max(start);
        if let Some(node) = node.and_then(|node| entry(&mut self.nodes, &*node, MAX_NODES)) {
            node.open_since = Some(node.open_since.map_or(start, |since| since.min(start)));
        }
        if is_setup {
            self.setup.add(start, end);
        }
        self.take_statement(end - start, statement);
        if let Some(shown) = shown {
            self.shown.offer(shown.kind, (start, end), false, || ShownSpan { end, ..shown });
        }
        if let Some(slow) = slow {
            self.take_slow(slow, end);
        }
    }

    fn take_slow(&mut self, slow: SlowSpan, end: u64) {
        let SlowSpan { parent_span_id, start, report } = slow;
        let own = self.self_times.take(&report.span_id, &parent_span_id, start, end);
        let stage = report.stage.as_deref();
        if let Some(stage) = stage.and_then(|stage| entry(&mut self.stages, stage, MAX_STAGES)) {
            stage.add(start, end);
            stage.open += 1;
        }
        self.slowest.offer(end - start, || {
            let report = SpanReport {
                duration_ms: milliseconds::of_nanoseconds(end - start),
                self_ms: own.map(milliseconds::of_nanoseconds),
                ..report
            };
            SlowSpan { parent_span_id, start, report }
        });
    }
}
