//! Whether the OpenLineage file of a bundle contains valid events, all of its run.

use daglight_run_identity::RunId;
use serde::de::Error as _;

use super::fault::Fault;
use crate::{bundle::Bundle, json_lines::read_lines, lineage_runs::LineageRuns, manifest::Manifest};

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
    let runs = LineageRuns::of(line.as_bytes())?;
    match run_id {
        Some(run_id) if !runs.is_of(run_id) => {
            Err(serde_json::Error::custom(format!("it is of run {}", runs.run)))
        }
        _ => Ok(()),
    }
}
