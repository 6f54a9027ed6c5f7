//! Spans that had started and not ended when a run was last seen.

use std::{collections::HashMap, path::Path};

use daglight_run_bundle::FileReading;

use crate::{
    otlp::Span,
    seen_statement::SeenStatement,
    shown_spans::ShownSpan,
    slow_span::SlowSpan,
    trace_lines::{RunLines, read_spans},
};

/// The maximum number of spans kept: more than any process has open at the same time.
const MAX_OPEN: usize = 10_000;

/// The data kept for the open spans of a run, by span id.
#[derive(Debug)]
pub(crate) struct OpenSpans<T>(HashMap<String, T>);

impl<T> Default for OpenSpans<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

/// An open span.
#[derive(Debug)]
pub(crate) struct OpenSpan {
    /// When it started, in nanoseconds.
    pub(crate) start: u64,
    /// The node, if it is the span of one.
    pub(crate) node: Option<String>,
    /// Whether it is work of the run outside its nodes.
    pub(crate) is_setup: bool,
    /// The statement, if it is one without a node.
    pub(crate) statement: Option<SeenStatement>,
    /// Its entry for the timeline, with its start as its end.
    pub(crate) shown: Option<ShownSpan>,
    /// Its entry for the slowest spans and the stages, without its time.
    pub(crate) slow: Option<SlowSpan>,
}

impl<T> OpenSpans<T> {
    /// Reads the file of open spans, which exists only for runs that have not ended normally. `known` returns the data to keep for
    /// a span.
    pub(crate) fn read(
        path: &Path,
        of: RunLines<'_>,
        mut known: impl FnMut(&Span<'_>) -> Option<T>,
    ) -> (Self, Option<FileReading>) {
        if path.symlink_metadata().is_err() {
            return (Self::default(), None);
        }
        let mut open = HashMap::new();
        let reading = read_spans(path, of, |span| {
            if span.start_time_unix_nano == 0 || open.len() >= MAX_OPEN {
                return;
            }
            if let Some(kept) = known(span) {
                open.insert(span.span_id.clone().into_owned(), kept);
            }
        });
        // If it is intact it counts as part of the spans, because users do not know this file.
        (Self(open), Some(reading).filter(|reading| !reading.is_whole()))
    }

    /// A span has ended in the meantime.
    pub(crate) fn ended(&mut self, span_id: &str) {
        self.0.remove(span_id);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn contains(&self, span_id: &str) -> bool {
        self.0.contains_key(span_id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.values()
    }

    /// Those that have not ended, in the order of their ids.
    pub(crate) fn into_spans(self) -> impl Iterator<Item = T> {
        let mut spans: Vec<(String, T)> = self.0.into_iter().collect();
        // They come from a hash map, and two reports of the same bundle must be equal.
        spans.sort_by(|(a, _), (b, _)| a.cmp(b));
        spans.into_iter().map(|(_, span)| span)
    }
}
