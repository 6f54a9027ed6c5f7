//! The paths of the signal files of a run.

use std::path::{Path, PathBuf};

use crate::{
    bundle::Bundle,
    layout::{LOGS, METRICS, TRACES},
};

/// The files that hold the spans, metrics and log records of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignalFiles {
    /// The spans.
    pub traces: PathBuf,
    /// The metrics: one line per snapshot.
    pub metrics: PathBuf,
    /// The log records.
    pub logs: PathBuf,
}

impl SignalFiles {
    /// The files with their usual names in `folder`.
    pub fn in_folder(folder: &Path) -> Self {
        Self { traces: folder.join(TRACES), metrics: folder.join(METRICS), logs: folder.join(LOGS) }
    }

    /// The spans that have started and not ended: `otel_traces.open.json` next to `otel_traces.json`.
    pub fn open_spans(&self) -> PathBuf {
        self.traces.with_extension("open.json")
    }
}

impl From<&Bundle> for SignalFiles {
    fn from(bundle: &Bundle) -> Self {
        Self { traces: bundle.traces(), metrics: bundle.metrics(), logs: bundle.logs() }
    }
}
