//! The time that Daglight itself takes in a run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where Daglight's own time went, in milliseconds. What nodes and queries took is in none of these, except where it is
/// said.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[non_exhaustive]
pub struct OwnTime {
    /// Starting and ending nodes: their spans, records and events.
    pub nodes_ms: f64,
    /// Looking up the metadata of tables and files for nodes. This is a part of what those nodes took.
    pub metadata_ms: f64,
    /// Writing the plans of queries.
    pub plans_ms: f64,
    /// Summarising data while they pass, summed over the threads of the queries. This is a part of what those took.
    pub summaries_ms: f64,
    /// At the end of the run: the tracker's flush and the export of signals.
    pub delivery_ms: f64,
    /// At the end of the run: manifest and report. Unknown in the report itself.
    pub report_ms: f64,
}

impl OwnTime {
    /// The time that it took during the run.
    pub fn in_run_ms(&self) -> f64 {
        self.nodes_ms + self.metadata_ms + self.plans_ms + self.summaries_ms
    }

    /// The time that it took after the end of the run.
    pub fn at_end_ms(&self) -> f64 {
        self.delivery_ms + self.report_ms
    }

    pub(crate) fn all(&self) -> [f64; 6] {
        let Self { nodes_ms, metadata_ms, plans_ms, summaries_ms, delivery_ms, report_ms } = *self;
        [nodes_ms, metadata_ms, plans_ms, summaries_ms, delivery_ms, report_ms]
    }

    /// The parts that took any time, with descriptions.
    pub fn parts(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let parts = [
            ("starting and ending nodes", self.nodes_ms),
            ("metadata of sources and outputs", self.metadata_ms),
            ("writing plans", self.plans_ms),
            ("data summaries, over all threads", self.summaries_ms),
            ("delivery at the end", self.delivery_ms),
            ("manifest and report", self.report_ms),
        ];
        parts.into_iter().filter(|(_, ms)| *ms > 0.0)
    }
}
