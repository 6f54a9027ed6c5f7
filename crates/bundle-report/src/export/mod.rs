//! The spans of a bundle in the formats of other viewers.
//!
//! ```text
//! format.rs       what can be exported, and what came of it
//! bundle.rs       exporting a bundle in any of the formats
//! unended.rs      spans that have not ended
//! lanes.rs        which spans fit on one line without crossing each other
//! perfetto.rs     the trace event format, for ui.perfetto.dev and chrome://tracing
//! speedscope.rs   the file format of speedscope.app
//! otlp.rs         one OTLP/JSON document, as Jaeger and other backends open it
//! ```

mod bundle;
mod format;
mod lanes;
mod otlp;
mod perfetto;
mod speedscope;
mod unended;

pub use bundle::export;
pub use format::{ExportError, ExportFormat, ExportSignal, Exported};
