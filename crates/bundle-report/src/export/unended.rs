//! Spans that have not ended, in a running run, or in one that was killed and is not closed. They are in a separate file.

use daglight_run_bundle::{Bundle, FileReading, ProcessEvidence, SignalFiles};

use crate::{open_spans::OpenSpans, otlp::Span, trace_lines::RunLines};

/// The spans that have not ended, after all that have were seen.
#[derive(Debug, Default)]
pub(super) struct Unended {
    ids: OpenSpans<()>,
    damaged: Option<FileReading>,
    last_seen: u64,
}

impl Unended {
    /// Reads the file of open spans. Some of them may have ended after it was written.
    pub(super) fn read(bundle: &Bundle, of: RunLines<'_>) -> Self {
        // Beats are written to their own file at once, and to the spans only with the next batch, which a kill prevents.
        let beat = ProcessEvidence::read(&bundle.heartbeat()).ok();
        let beat = beat.and_then(|evidence| u64::try_from(evidence.seen_at().timestamp_nanos_opt()?).ok());
        let mut last_seen = beat.map_or(0, |beat| of.times.at_most(beat));
        let (ids, damaged) = OpenSpans::read(&SignalFiles::from(bundle).open_spans(), of, |span| {
            last_seen = last_seen.max(span.start_time_unix_nano);
            Some(())
        });
        Self { ids, damaged, last_seen }
    }

    /// A span has ended.
    pub(super) fn seen(&mut self, span: &Span<'_>) {
        self.ids.ended(&span.span_id);
        self.last_seen = self.last_seen.max(span.start_time_unix_nano).max(span.end_time_unix_nano);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    pub(super) fn contains(&self, span_id: &str) -> bool {
        self.ids.contains(span_id)
    }

    /// Until when an open span is known to have lasted: when the run was last seen.
    pub(super) fn end_of(&self, start: u64) -> u64 {
        self.last_seen.max(start)
    }

    /// The damage of the file of open spans.
    pub(super) fn damaged(self) -> Option<FileReading> {
        self.damaged
    }
}
