//! Spans that have not ended: those of a run that goes on, or that was killed and is not closed. They are in a file of their own.

use daglight_run_bundle::{Bundle, FileReading, ProcessEvidence, SignalFiles};

use crate::{open_spans::OpenSpans, otlp::Span, trace_lines::RunLines};

/// Which spans have not ended, once all that have were seen.
#[derive(Debug, Default)]
pub(super) struct Unended {
    ids: OpenSpans<()>,
    damaged: Option<FileReading>,
    last_seen: u64,
}

impl Unended {
    /// Reads what is in the file of open spans. Some of them may have ended after it was written.
    pub(super) fn read(bundle: &Bundle, of: RunLines<'_>) -> Self {
        // Beats go to their file at once, and to the spans with the next batch, which a kill prevents.
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

    /// How the file of open spans is damaged.
    pub(super) fn damaged(self) -> Option<FileReading> {
        self.damaged
    }
}
