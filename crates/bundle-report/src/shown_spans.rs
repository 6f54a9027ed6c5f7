//! The spans on the timeline of a run: failed and long ones individually, and for the others only when they ran, in bounded memory.

use daglight_run_bundle::milliseconds;

use crate::{
    coverage::{Content, Coverage},
    report::{SpanBand, TimelineSpan, TimelineSpanKind},
};

/// The maximum number of spans kept of each kind. A page with all of them opens in about a second.
const MAX_SPANS_OF_A_KIND: usize = 8_000;
/// The maximum number of characters kept of a name.
const MAX_NAME_CHARS: usize = 80;

/// A span on the timeline, before the start of the run and the node of the parent span are known.
#[derive(Debug)]
pub(crate) struct ShownSpan {
    pub(crate) kind: TimelineSpanKind,
    pub(crate) name: String,
    pub(crate) node: Option<String>,
    pub(crate) parent_span_id: String,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) failed: bool,
    /// Whether it has not ended, and `end` is when its run was last seen.
    pub(crate) is_open: bool,
}

/// The spans of each kind.
#[derive(Debug, Default)]
pub(crate) struct ShownSpans {
    stages: OfKind,
    queries: OfKind,
    operators: OfKind,
}

#[derive(Debug, Default)]
struct OfKind {
    spans: Vec<ShownSpan>,
    /// Spans with less worth are no longer kept.
    least: Worth,
    left_out: Coverage<Crowd>,
}

/// The order in which spans are kept: failed ones first, then the longest.
type Worth = (bool, u64);

/// Spans that are not shown individually.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Crowd {
    pub(crate) spans: u64,
    pub(crate) failed: u64,
    /// The longest of them, in nanoseconds.
    pub(crate) longest: u64,
}

impl Crowd {
    pub(crate) fn of_one(duration: u64, failed: bool) -> Self {
        Self { spans: 1, failed: u64::from(failed), longest: duration }
    }
}

impl Content for Crowd {
    fn join(&mut self, other: &Self) {
        self.spans = self.spans.saturating_add(other.spans);
        self.failed = self.failed.saturating_add(other.failed);
        self.longest = self.longest.max(other.longest);
    }
}

impl ShownSpans {
    /// Adds a span. It is created only if it may be kept.
    pub(crate) fn offer(
        &mut self,
        kind: TimelineSpanKind,
        (start, end): (u64, u64),
        failed: bool,
        span: impl FnOnce() -> ShownSpan,
    ) {
        let of_kind = match kind {
            TimelineSpanKind::Stage => &mut self.stages,
            TimelineSpanKind::Query => &mut self.queries,
            TimelineSpanKind::Operator => &mut self.operators,
        };
        let duration = end - start;
        if (failed, duration) < of_kind.least {
            of_kind.left_out.add_with(start, end, Crowd::of_one(duration, failed));
            return;
        }
        of_kind.spans.push(span());
        // Twice the room, so that sorting happens only once per that many spans.
        if of_kind.spans.len() >= 2 * MAX_SPANS_OF_A_KIND {
            of_kind.keep();
        }
    }

    /// The spans in the order of their start, and when the others ran.
    pub(crate) fn into_spans(
        self,
        node_of: &dyn Fn(&str) -> Option<String>,
        since_start: &dyn Fn(u64) -> f64,
    ) -> (Vec<TimelineSpan>, Vec<SpanBand>) {
        let (mut shown, mut bands) = (Vec::new(), Vec::new());
        let kinds = [
            (TimelineSpanKind::Stage, self.stages),
            (TimelineSpanKind::Query, self.queries),
            (TimelineSpanKind::Operator, self.operators),
        ];
        for (kind, mut of_kind) in kinds {
            of_kind.keep();
            shown.append(&mut of_kind.spans);
            bands.extend(of_kind.left_out.intervals().iter().map(|interval| SpanBand {
                kind,
                start_ms: since_start(interval.start),
                duration_ms: milliseconds::of_nanoseconds(interval.length()),
                longest_ms: milliseconds::of_nanoseconds(interval.content.longest),
                spans: interval.content.spans,
                failed: interval.content.failed,
            }));
        }
        // In the order in which the page draws them; so far the three lists are concatenated.
        shown.sort_by_key(|span| span.start);
        let spans = shown.into_iter().map(|span| TimelineSpan {
            kind: span.kind,
            name: span.name.chars().take(MAX_NAME_CHARS).collect(),
            node: span.node.or_else(|| node_of(&span.parent_span_id)),
            start_ms: since_start(span.start),
            duration_ms: milliseconds::of_nanoseconds(span.end - span.start),
            failed: span.failed,
            open: span.is_open,
        });
        (spans.collect(), bands)
    }
}

impl OfKind {
    fn keep(&mut self) {
        if self.spans.len() <= MAX_SPANS_OF_A_KIND {
            return;
        }
        let worth = |span: &ShownSpan| (span.failed, span.end - span.start);
        self.spans.select_nth_unstable_by_key(MAX_SPANS_OF_A_KIND - 1, |span| std::cmp::Reverse(worth(span)));
        self.least = worth(&self.spans[MAX_SPANS_OF_A_KIND - 1]);
        for span in self.spans.drain(MAX_SPANS_OF_A_KIND..) {
            let crowd = Crowd::of_one(span.end - span.start, span.failed);
            self.left_out.add_with(span.start, span.end, crowd);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(shown: &mut ShownSpans, start: u64, duration: u64, failed: bool) {
        let kind = TimelineSpanKind::Operator;
        let end = start + duration;
        shown.offer(kind, (start, end), failed, || ShownSpan {
            kind,
            name: "Sort".into(),
            node: None,
            parent_span_id: "1".into(),
            start,
            end,
            failed,
            is_open: false,
        });
    }

    #[test]
    fn of_too_many_spans_the_longest_are_shown_in_the_order_of_their_start() {
        let count = 3 * MAX_SPANS_OF_A_KIND as u64;
        let mut shown = ShownSpans::default();
        // Every length once, in an order that is neither up nor down: 7 and the count have no common factor.
        for number in 0..count {
            offer(&mut shown, number, number * 7 % count, false);
        }
        let (spans, bands) = shown.into_spans(&|id| Some(format!("node {id}")), &|at| at as f64);
        assert_eq!(spans.len(), MAX_SPANS_OF_A_KIND);
        let left_out: u64 = bands.iter().map(|band| band.spans).sum();
        assert_eq!(left_out, count - MAX_SPANS_OF_A_KIND as u64);
        let least = spans.iter().map(|span| span.duration_ms).fold(f64::INFINITY, f64::min);
        assert_eq!(least, milliseconds::of_nanoseconds(count - MAX_SPANS_OF_A_KIND as u64));
        let longest = bands.iter().map(|band| band.longest_ms).fold(0.0, f64::max);
        assert_eq!(longest, milliseconds::of_nanoseconds(count - MAX_SPANS_OF_A_KIND as u64 - 1));
        assert!(spans.is_sorted_by_key(|span| span.start_ms));
        assert_eq!(spans[0].node.as_deref(), Some("node 1"));
    }

    #[test]
    fn a_short_span_that_failed_is_kept_before_long_ones() {
        let mut shown = ShownSpans::default();
        offer(&mut shown, 5, 1, true);
        for number in 0..3 * MAX_SPANS_OF_A_KIND as u64 {
            offer(&mut shown, number, 100 + number, false);
        }
        offer(&mut shown, 7, 1, true);
        let (spans, bands) = shown.into_spans(&|_| None, &|at| at as f64);
        assert_eq!(spans.iter().filter(|span| span.failed).count(), 2);
        assert!(bands.iter().all(|band| band.failed == 0));
    }
}
