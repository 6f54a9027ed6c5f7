//! Export formats and results.

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

/// The result of an export.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Exported {
    /// Spans, or lines of another signal.
    pub items: u64,
    /// Spans beyond the limit of two million, which are left out.
    pub left_out: u64,
    /// Spans among them that had not ended. They are exported with the time when the run was last seen as their end.
    pub unended: u64,
    /// The result of reading the file.
    pub file: FileReading,
    /// The result of reading the file of open spans, if it is damaged.
    pub open_file: Option<FileReading>,
}

impl Exported {
    /// An empty export would look like that of a run in which nothing happened.
    pub(super) fn refuse_nothing(&self) -> Result<(), ExportError> {
        let problem = self.file.problem.as_ref().filter(|_| self.items == 0);
        problem.map_or(Ok(()), |problem| Err(self.unreadable(problem.clone())))
    }

    /// The same if the file is intact but has no spans. Other signals may be empty.
    pub(super) fn refuse_no_spans(&self) -> Result<(), ExportError> {
        self.refuse_nothing()?;
        // Beats are lines but not items.
        match self.items == 0 && self.file.lines == 0 {
            true => Err(self.unreadable("it has no spans".to_owned())),
            false => Ok(()),
        }
    }

    fn unreadable(&self, problem: String) -> ExportError {
        ExportError::Unreadable { file: self.file.file.clone(), problem }
    }
}

/// Why a bundle was not exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// It cannot be written.
    #[error("cannot write the export")]
    Write {
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Nothing of the signal's file can be read.
    #[error("nothing can be exported of {file}: {problem}")]
    Unreadable {
        /// The file's name in the bundle.
        file: String,
        /// The first problem with it.
        problem: String,
    },
}

impl ExportError {
    /// Whether the reader of the output has disconnected.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Write { source } if source.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl From<io::Error> for ExportError {
    fn from(source: io::Error) -> Self {
        Self::Write { source }
    }
}
