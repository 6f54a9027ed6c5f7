//! The spans that the timeline of a run shows: the longest, in bounded memory.

use daglight_run_bundle::milliseconds;

use crate::report::{TimelineSpan, TimelineSpanKind};

/// Spans of each kind that are kept. A page opens with all of them in about a second.
const MAX_SPANS_OF_A_KIND: usize = 8_000;
/// Characters of a name that are kept.
const MAX_NAME_CHARS: usize = 80;

/// A span on the timeline, before it is known when the run started and which node the span above it belongs to.
#[derive(Debug)]
pub(crate) struct ShownSpan {
    pub(crate) kind: TimelineSpanKind,
    pub(crate) name: String,
    pub(crate) node: Option<String>,
    pub(crate) parent_span_id: String,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) failed: bool,
}

/// The longest spans of each kind.
#[derive(Debug, Default)]
pub(crate) struct ShownSpans {
    stages: Longest,
    queries: Longest,
    operators: Longest,
}

#[derive(Debug, Default)]
struct Longest {
    spans: Vec<ShownSpan>,
    seen: u64,
    /// Shorter ones are not among the longest any more.
    least: u64,
}

impl ShownSpans {
    pub(crate) fn offer(&mut self, kind: TimelineSpanKind, duration: u64, span: impl FnOnce() -> ShownSpan) {
        let longest = match kind {
            TimelineSpanKind::Stage => &mut self.stages,
            TimelineSpanKind::Query => &mut self.queries,
            TimelineSpanKind::Operator => &mut self.operators,
        };
        longest.seen += 1;
        // Shorter than all that are kept: nothing is made of it.
        if duration < longest.least {
            return;
        }
        longest.spans.push(span());
        // Twice the room, so that it is sorted once for as many spans as are kept.
        if longest.spans.len() >= 2 * MAX_SPANS_OF_A_KIND {
            longest.keep();
        }
    }

    /// The spans in the order of their start, and how many are left out.
    pub(crate) fn into_spans(
        self,
        node_of: &dyn Fn(&str) -> Option<String>,
        since_start: &dyn Fn(u64) -> f64,
    ) -> (Vec<TimelineSpan>, u64) {
        let (mut shown, mut seen) = (Vec::new(), 0);
        for mut longest in [self.stages, self.queries, self.operators] {
            longest.keep();
            seen += longest.seen;
            shown.append(&mut longest.spans);
        }
        let left_out = seen - shown.len() as u64;
        // In the order in which the page draws them, as the three lists came one after the other.
        shown.sort_by_key(|span| span.start);
        let spans = shown.into_iter().map(|span| TimelineSpan {
            kind: span.kind,
            name: span.name.chars().take(MAX_NAME_CHARS).collect(),
            node: span.node.or_else(|| node_of(&span.parent_span_id)),
            start_ms: since_start(span.start),
            duration_ms: milliseconds::of_nanoseconds(span.end - span.start),
            failed: span.failed,
        });
        (spans.collect(), left_out)
    }
}

impl Longest {
    fn keep(&mut self) {
        if self.spans.len() <= MAX_SPANS_OF_A_KIND {
            return;
        }
        let duration = |span: &ShownSpan| span.end - span.start;
        self.spans
            .select_nth_unstable_by_key(MAX_SPANS_OF_A_KIND - 1, |span| std::cmp::Reverse(duration(span)));
        self.least = duration(&self.spans[MAX_SPANS_OF_A_KIND - 1]);
        self.spans.truncate(MAX_SPANS_OF_A_KIND);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_spans_the_longest_are_shown_in_the_order_of_their_start() {
        let count = 3 * MAX_SPANS_OF_A_KIND as u64;
        let mut shown = ShownSpans::default();
        // Every length once, in an order that is neither up nor down: 7 and the count have no common factor.
        for number in 0..count {
            let (start, duration) = (number, number * 7 % count);
            shown.offer(TimelineSpanKind::Operator, duration, || ShownSpan {
                kind: TimelineSpanKind::Operator,
                name: "Sort".into(),
                node: None,
                parent_span_id: "1".into(),
                start,
                end: start + duration,
                failed: false,
            });
        }
        let (spans, left_out) = shown.into_spans(&|id| Some(format!("node {id}")), &|at| at as f64);
        assert_eq!((spans.len(), left_out), (MAX_SPANS_OF_A_KIND, count - MAX_SPANS_OF_A_KIND as u64));
        let least = spans.iter().map(|span| span.duration_ms).fold(f64::INFINITY, f64::min);
        assert_eq!(least, milliseconds::of_nanoseconds(count - MAX_SPANS_OF_A_KIND as u64));
        assert!(spans.is_sorted_by_key(|span| span.start_ms));
        assert_eq!(spans[0].node.as_deref(), Some("node 1"));
    }
}
