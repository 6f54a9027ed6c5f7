//! Which runs an event of OpenLineage belongs to.

use daglight_run_identity::RunId;
use serde::Deserialize;

/// The run of an event of OpenLineage, and the run that started it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineageRuns {
    /// The id of the event's own run.
    pub run: String,
    /// The id of the run that started it, if the event names one.
    pub parent: Option<String>,
}

impl LineageRuns {
    /// Reads them from a line of the OpenLineage file.
    ///
    /// # Errors
    /// When the line is not an event of a run.
    pub fn of(line: &[u8]) -> serde_json::Result<Self> {
        let Event { run, .. } = serde_json::from_slice(line)?;
        Ok(Self { run: run.run_id, parent: run.facets.parent.map(|parent| parent.run.run_id) })
    }

    /// Whether the event belongs to this run of the DAG, or to a run that it started.
    pub fn is_of(&self, run_id: RunId) -> bool {
        let run_id = run_id.to_string();
        self.run == run_id || self.parent.as_ref() == Some(&run_id)
    }
}

/// The fields of every event.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    #[serde(rename = "eventType")]
    _event_type: String,
    run: Run,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Run {
    run_id: String,
    #[serde(default)]
    facets: Facets,
}

#[derive(Default, Deserialize)]
struct Facets {
    parent: Option<Parent>,
}

#[derive(Deserialize)]
struct Parent {
    run: ParentRun,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ParentRun {
    run_id: String,
}
