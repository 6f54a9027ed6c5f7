//! What can be exported, and what came of it.

use std::io;

use daglight_run_bundle::FileReading;

/// A format that a bundle can be exported in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExportFormat {
    /// The trace event format, which Perfetto and Chrome open: every span, and processor and memory over time.
    Perfetto,
    /// The file format of speedscope: every span, as flame graphs.
    Speedscope,
    /// One OTLP/JSON document of a signal, which Jaeger and other backends open.
    Otlp(ExportSignal),
}

/// A signal of OpenTelemetry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExportSignal {
    /// Spans.
    #[default]
    Traces,
    /// Metrics.
    Metrics,
    /// Log records.
    Logs,
}

/// What was exported.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Exported {
    /// Spans, or lines of another signal.
    pub items: u64,
    /// Spans beyond two million, which are left out.
    pub left_out: u64,
    /// The file as it could be read.
    pub file: FileReading,
}

/// Why a bundle was not exported.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the export")]
#[non_exhaustive]
pub struct ExportError {
    #[source]
    source: io::Error,
}

impl ExportError {
    /// Whether nobody reads any more what is written.
    pub fn is_broken_pipe(&self) -> bool {
        self.source.kind() == io::ErrorKind::BrokenPipe
    }
}

impl From<io::Error> for ExportError {
    fn from(source: io::Error) -> Self {
        Self { source }
    }
}
