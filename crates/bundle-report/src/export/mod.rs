//! The spans of a bundle in the formats of other viewers.
//!
//! ```text
//! lanes.rs        which spans fit on one line without crossing each other
//! perfetto.rs     the trace event format, for ui.perfetto.dev and chrome://tracing
//! speedscope.rs   the file format of speedscope.app
//! otlp.rs         one OTLP/JSON document, as Jaeger and other backends open it
//! ```

mod lanes;
mod otlp;
mod perfetto;
mod speedscope;

use std::io::{self, Write};

use daglight_run_bundle::{Bundle, FileReading, Manifest};
use daglight_semantic_conventions::Namespace;

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

/// Writes the signals of a bundle in a format. What cannot be read of them is in the result.
///
/// # Errors
///
/// When it cannot be written.
pub fn export(bundle: &Bundle, format: ExportFormat, to: &mut dyn Write) -> Result<Exported, ExportError> {
    // Spans say themselves what happened. Without a manifest they only lack its name.
    let manifest = Manifest::read(bundle).ok();
    let namespace =
        manifest.as_ref().map_or_else(Namespace::default, |manifest| Namespace::new(&*manifest.namespace));
    let name = manifest.map_or_else(|| "run".to_owned(), |manifest| manifest.identity.dag_name);
    let exported = match format {
        ExportFormat::Perfetto => perfetto::export(bundle, &namespace, &name, to),
        ExportFormat::Speedscope => speedscope::export(bundle, &namespace, &name, to),
        ExportFormat::Otlp(signal) => otlp::export(bundle, signal, to),
    }?;
    to.flush()?;
    Ok(exported)
}
