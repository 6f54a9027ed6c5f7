//! Completing the outbox of a run that has ended, if the disk had no space for its end.

use std::{collections::BTreeMap, io, path::Path};

use chrono::{DateTime, Utc};
use daglight_capture_policy::{Policy, Profile};
use daglight_run_bundle::{
    Durability,
    outbox::{
        Attribute, DeliveryLock, Event, Outbox, OutboxError, OutboxStatus, Outcome, outbox_path,
        outbox_status, remove_reserve,
    },
};
use daglight_run_identity::RunId;

use crate::{sync::SyncError, tracker::record};

/// How a run ended, according to a source other than its outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunEnd {
    /// The run.
    pub run_id: RunId,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: DateTime<Utc>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it failed.
    pub error: Option<String>,
    /// The nodes that ran.
    pub nodes: Vec<NodeEnd>,
}

/// How a node ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeEnd {
    /// Its name.
    pub name: String,
    /// When it started.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: DateTime<Utc>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it failed.
    pub error: Option<String>,
}

/// Records the end of a run, and of its nodes, if it is missing in the outbox in the `tracker` folder of a bundle. Returns true if
/// something was missing. An outbox that a process still writes, or that belongs to another run, is not changed.
///
/// # Errors
/// When the outbox cannot be read or written, or another process is delivering it.
pub fn complete_outbox(tracker_dir: &Path, end: &RunEnd) -> Result<bool, SyncError> {
    let Some(_lock) = DeliveryLock::acquire(tracker_dir) else {
        return Err(SyncError::Busy { tracker_dir: tracker_dir.to_owned() });
    };
    let status = outbox_status(tracker_dir)?;
    let events = missing(&status, end);
    if events.is_empty() || status.writer_alive == Some(true) {
        return Ok(false);
    }
    // If files cannot be locked, the writer may still need it.
    if status.writer_alive == Some(false) {
        remove_reserve(tracker_dir);
    }
    let outbox = Outbox::open(tracker_dir, Durability::Process)?;
    events.iter().for_each(|event| record(&outbox, event));
    // Before the file is inspected again: its lock would make this process look like the one that writes the run.
    drop(outbox);
    if outbox_status(tracker_dir)?.outcome.is_none() {
        let source = io::Error::new(io::ErrorKind::StorageFull, "there is no space for the end of the run");
        return Err(OutboxError::Io { path: outbox_path(tracker_dir), source }.into());
    }
    Ok(true)
}

/// The events that are missing in an outbox.
fn missing(status: &OutboxStatus, end: &RunEnd) -> Vec<Event> {
    // The start of a run cannot be recorded after its nodes.
    let can_begin = status.run_id.is_none() && status.dag_name.is_some() && status.nodes.is_empty();
    let is_open = status.outcome.is_none();
    if status.run_id != Some(end.run_id) && !(can_begin && is_open) {
        return Vec::new();
    }
    let mut events = Vec::new();
    if status.run_id.is_none() {
        let (tags, inputs) = (end.tags.clone(), BTreeMap::new());
        events.push(Event::RunStarted { run_id: end.run_id, tags, inputs, time: end.started_at });
    }
    for node in &end.nodes {
        let known = status.nodes.get(&node.name);
        // If the outbox has the end of the run, only a line in between is missing.
        if known.map_or(!is_open, |known| known.outcome.is_some()) {
            continue;
        }
        if known.is_none()
            && let Some(time) = node.started_at
        {
            events.push(Event::TaskStarted { node: node.name.clone(), time });
        }
        // The text has already passed the policy of the run.
        let error =
            |text: &String| Attribute::error(Policy::of_profile(Profile::Dev).capture_stack([&**text]));
        events.push(Event::TaskFinished {
            node: node.name.clone(),
            time: node.ended_at,
            status: node.outcome,
            attributes: node.error.iter().map(error).collect(),
        });
    }
    if is_open {
        if let (Outcome::Failure, Some(error)) = (end.outcome, &end.error) {
            let tags = BTreeMap::from([(status.error_tag().to_owned(), error.clone())]);
            events.push(Event::TagsUpserted { tags, time: end.ended_at });
        }
        events.push(Event::RunFinished { status: end.outcome, time: end.ended_at });
    }
    events
}
