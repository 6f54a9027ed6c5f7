//! Ending in its events what a process that died has left open.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use daglight_capture_policy::Captured;
use daglight_run_bundle::{Bundle, LineageEvents, LineageLine, LineageReader, ReadError, WriteError};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{event::EventType, events_of::error_facet, facets::Body as _, facts::ErrorFacts};

/// What is read of an event.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    event_type: String,
    run: Value,
    job: Value,
    producer: Value,
    #[serde(rename = "schemaURL")]
    schema_url: Value,
}

/// Why the events could not be completed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloseEventsError {
    /// They cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// They cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Ends runs and nodes that began and did not end, as failures, the nodes first. Returns how many they were. To be called for a run
/// whose process is gone.
///
/// # Errors
/// When the file cannot be read or written.
pub fn close_open_events(
    bundle: &Bundle,
    time: DateTime<Utc>,
    reason: &Captured,
) -> Result<usize, CloseEventsError> {
    let unreadable = |source| ReadError::Io { path: bundle.lineage_events(), source };
    let Some(mut reader) = LineageReader::open(bundle.dir(), 0).map_err(unreadable)? else { return Ok(0) };
    // In the order of their ids, which is that of their starts: the run of the DAG is the first one.
    let mut open = BTreeMap::new();
    loop {
        let text = match reader.next().map_err(unreadable)? {
            LineageLine::End => break,
            LineageLine::TooLong { .. } => continue,
            LineageLine::Event { text, .. } => text,
        };
        let Ok(event) = serde_json::from_slice::<Written>(text) else { continue };
        let Some(run_id) = event.run["runId"].as_str().map(str::to_owned) else { continue };
        match event.event_type.as_str() {
            "START" => _ = open.insert(run_id, event),
            "COMPLETE" | "FAIL" | "ABORT" => _ = open.remove(&run_id),
            _ => {}
        }
    }
    let closed = open.len();
    if closed == 0 {
        return Ok(0);
    }
    let events = LineageEvents::open(bundle)?;
    let error = error_facet(&ErrorFacts { message: reason.clone(), stack: None }).facet();
    for mut event in open.into_values().rev() {
        if let Some(facets) = event.run.get_mut("facets").and_then(Value::as_object_mut) {
            facets.insert("errorMessage".to_owned(), json!(error));
        }
        events.append(&json!({
            "eventType": EventType::Fail,
            "eventTime": time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
            "producer": event.producer,
            "schemaURL": event.schema_url,
            "run": event.run,
            "job": event.job,
            "inputs": [],
            "outputs": [],
        }))?;
    }
    Ok(closed)
}
