//! Whether the OpenLineage file of a bundle contains valid events, all of its run.

use daglight_run_identity::RunId;
use serde::{Deserialize, de::Error as _};

use super::fault::Fault;
use crate::{bundle::Bundle, json_lines::read_lines, manifest::Manifest};

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

impl Event {
    /// Whether an event belongs to the run of the DAG, or to a run that this one started.
    fn is_of(&self, run_id: &str) -> bool {
        self.run.run_id == run_id
            || self.run.facets.parent.as_ref().is_some_and(|parent| parent.run.run_id == run_id)
    }
}

/// Whether a line is an event of another run.
pub fn is_of_another_run(line: &[u8], run_id: RunId) -> bool {
    serde_json::from_slice::<Event>(line).is_ok_and(|event| !event.is_of(&run_id.to_string()))
}

/// The first line that is not an event of the run. If the run has no destination for its events, there is no such file.
pub(super) fn damaged_lineage(bundle: &Bundle, manifest: Option<&Manifest>) -> Option<Fault> {
    let path = bundle.lineage_events();
    // A dangling link counts as an existing file.
    path.symlink_metadata().ok()?;
    let run_id = manifest.map(|manifest| manifest.identity.run_id).or_else(|| bundle.run_id());
    let reading = read_lines(&path, |line| check(line, run_id));
    Some(Fault::Damaged { path: reading.file, problem: reading.problem? })
}

fn check(line: &str, run_id: Option<RunId>) -> serde_json::Result<()> {
    let event: Event = serde_json::from_str(line)?;
    match run_id.map(|run_id| run_id.to_string()) {
        Some(run_id) if !event.is_of(&run_id) => {
            Err(serde_json::Error::custom(format!("it is of run {}", event.run.run_id)))
        }
        _ => Ok(()),
    }
}
