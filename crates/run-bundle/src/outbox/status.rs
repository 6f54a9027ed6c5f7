//! The state of a run according to its outbox, without a server.

use std::{
    collections::BTreeMap,
    fs::TryLockError,
    io::{self, Read as _},
    path::Path,
    thread,
    time::Duration,
};

use chrono::{DateTime, Utc};
use daglight_guarded_files::FileBelow;
use daglight_run_identity::RunId;

use super::{
    beginning::Beginning,
    cursor::{Cursor, CursorError, RunLink},
    event::{Event, Outcome},
    place::{outbox_path, tracker_file},
    reader::OutboxError,
    recorded::{LastLine, Recorded, UNREADABLE},
    seen_dag::SeenDag,
};
use crate::{
    delivery_counts::DeliveryCounts,
    layout::{DELIVERY_CURSOR, OUTBOX, TRACKER},
};

/// The tag with the reason why a run did not succeed.
const ERROR_TAG: &str = "error";
/// The same tag if the user already has one with that name.
const OWN_ERROR_TAG: &str = "daglight.error";

/// The content of a bundle's outbox, and how much of it is delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxStatus {
    /// The run's id; `None` before its start is recorded.
    pub run_id: Option<RunId>,
    /// The pipeline's name.
    pub dag_name: Option<String>,
    /// How the run ended; `None` while it runs, or if its process ended before the run did.
    pub outcome: Option<Outcome>,
    /// When the run ended, if it did.
    pub ended: Option<DateTime<Utc>>,
    /// When the run began.
    pub started: Option<DateTime<Utc>>,
    /// The time of the last event.
    pub last_event: Option<DateTime<Utc>>,
    /// The nodes seen so far, if the run is observed.
    pub seen: Option<SeenDag>,
    /// The nodes that started or ended.
    pub nodes: BTreeMap<String, NodeProgress>,
    /// Whether a process has the outbox open for writing; `None` where files cannot be locked.
    pub writer_alive: Option<bool>,
    /// The counts of the last delivery.
    pub ledger: DeliveryCounts,
    /// The run on the server to which it was delivered.
    pub link: Option<RunLink>,
    /// Whether the user has already set a tag with the reason of the failure.
    has_error_tag: bool,
    /// Whether the last line of the outbox is incomplete.
    pub unfinished: bool,
    /// The unreadable parts of the outbox and of the delivery progress. Everything else is computed without them.
    pub damages: Vec<TrackerDamage>,
}

/// A problem with a file of the tracker.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrackerDamage {
    /// The file, as a path relative to the bundle.
    pub file: String,
    /// The problem.
    pub problem: String,
}

/// The progress of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeProgress {
    /// When it started for the first time.
    pub started: Option<DateTime<Utc>>,
    /// When it ended; `None` while it runs, or if the process ended before it did.
    pub ended: Option<DateTime<Utc>>,
    /// How it ended.
    pub outcome: Option<Outcome>,
}

impl OutboxStatus {
    /// Whether the run started and did not end.
    pub fn is_open(&self) -> bool {
        self.started.is_some() && self.outcome.is_none()
    }

    /// The tag for the reason why the run failed; it does not collide with a tag that the user has set.
    pub fn error_tag(&self) -> &'static str {
        if self.has_error_tag { OWN_ERROR_TAG } else { ERROR_TAG }
    }

    /// The nodes that started and did not end.
    pub fn open_nodes(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().filter(|(_, node)| node.outcome.is_none()).map(|(name, _)| name.as_str())
    }
}

/// Why the status is unknown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StatusError {
    /// The outbox cannot be read.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// The delivery's progress cannot be read.
    #[error(transparent)]
    Cursor(#[from] CursorError),
}

/// Like [`outbox_status`]; `None` if the run was not recorded for the tracking server, and so has no outbox.
///
/// # Errors
/// When the existing outbox cannot be read, or has a newer version.
pub fn recorded_outbox(tracker_dir: &Path) -> Result<Option<OutboxStatus>, StatusError> {
    let is_missing = |error: &OutboxError| matches!(error, OutboxError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound);
    match outbox_status(tracker_dir) {
        Ok(status) => Ok(Some(status)),
        Err(StatusError::Outbox(error)) if is_missing(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads the state of a run from the `tracker` folder of its bundle.
///
/// # Errors
/// When there is no outbox, it cannot be read, or it is of a newer version.
pub fn outbox_status(tracker_dir: &Path) -> Result<OutboxStatus, StatusError> {
    let path = outbox_path(tracker_dir);
    let mut status = OutboxStatus {
        run_id: None,
        dag_name: None,
        outcome: None,
        ended: None,
        started: None,
        last_event: None,
        seen: None,
        nodes: BTreeMap::new(),
        writer_alive: writer_alive(&path),
        ledger: DeliveryCounts::default(),
        link: None,
        has_error_tag: false,
        unfinished: false,
        damages: Vec::new(),
    };
    // Checked before the file is read: if the writer ends in between, all of its lines are read.
    let last_line = if status.writer_alive == Some(false) { LastLine::IsOver } else { LastLine::MayGrow };
    let mut has_events = false;
    let recorded = Recorded::read(&path, last_line, |event| {
        has_events = true;
        status.take(event);
    })?;
    // Even if its first lines are damaged, the rest of the file is used.
    if has_events
        && status.run_id.is_none()
        && let Some(beginning) = Beginning::from_manifest(tracker_dir)
    {
        status.has_error_tag = beginning.tags.contains_key(ERROR_TAG);
        (status.run_id, status.started) = (Some(beginning.run_id), Some(beginning.started_at));
        status.dag_name.get_or_insert(beginning.version.dag_name);
    }
    // Not an outbox at all, as opposed to one whose lines are all lost: its content is unknown, so nothing may be deleted as
    // delivered.
    if !has_events && recorded.lost.contains_key(UNREADABLE) && !starts_like_a_record(&path) {
        return Err(OutboxError::Damaged { path }.into());
    }
    status.unfinished = recorded.unfinished;
    if let Some(lines) = recorded.lost.get(UNREADABLE) {
        status.damages.push(damage(OUTBOX, format!("lines that cannot be read: {lines}")));
    }
    let cursor = Cursor::load(tracker_dir)?;
    if cursor.is_none() && tracker_file(tracker_dir, DELIVERY_CURSOR).open().is_ok() {
        let problem = "cannot be read, so the next delivery asks the server what it has";
        status.damages.push(damage(DELIVERY_CURSOR, problem.to_owned()));
    }
    let cursor = cursor.unwrap_or_else(|| Cursor::new(String::new()));
    status.ledger = cursor.ledger(recorded);
    status.link = cursor.link;
    Ok(status)
}

fn damage(name: &str, problem: String) -> TrackerDamage {
    TrackerDamage { file: format!("{TRACKER}/{name}"), problem }
}

impl OutboxStatus {
    fn take<V>(&mut self, event: Event<V>) {
        if let Some(seen) = &mut self.seen {
            seen.take(&event);
        }
        match event {
            Event::Observed { dag_name } => {
                self.seen = Some(SeenDag::new(dag_name.clone()));
                self.dag_name = Some(dag_name);
            }
            Event::NodeSeen(_) => {}
            Event::Version(version) => self.dag_name = Some(version.dag_name),
            Event::RunStarted { run_id, tags, time, .. } => {
                self.has_error_tag = tags.contains_key(ERROR_TAG);
                (self.run_id, self.started) = (Some(run_id), Some(time));
                self.last_event = Some(time);
            }
            Event::TaskStarted { node, time } => {
                let node = self.nodes.entry(node).or_default();
                node.started.get_or_insert(time);
                (node.ended, node.outcome) = (None, None);
                self.last_event = Some(time);
            }
            Event::TaskFinished { node, time, status, .. } => {
                let node = self.nodes.entry(node).or_default();
                (node.ended, node.outcome) = (Some(time), Some(status));
                self.last_event = Some(time);
            }
            Event::TagsUpserted { time, .. } => self.last_event = Some(time),
            Event::Lost { .. } => {}
            Event::RunFinished { status, time } => {
                (self.outcome, self.ended) = (Some(status), Some(time));
                self.last_event = Some(time);
            }
        }
    }
}

/// Whether a file starts like a record. The first line of an outbox may be torn, with nothing after it.
fn starts_like_a_record(path: &Path) -> bool {
    let mut first = [0];
    let read = FileBelow::deep(path, 2).open().and_then(|mut file| file.read_exact(&mut first));
    read.is_ok() && first == *b"{"
}

/// Whether a process has an outbox open for writing; `None` if there is no outbox, or files cannot be locked. Writers hold a shared
/// lock on the file, which the system releases when their process ends.
pub(crate) fn writer_alive(path: &Path) -> Option<bool> {
    let file = FileBelow::deep(path, 2).open().ok()?;
    // Another process that checks also holds the lock, but only briefly.
    for _ in 0..3 {
        match file.try_lock() {
            Ok(()) => return Some(false),
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(5)),
            Err(TryLockError::Error(_)) => return None,
        }
    }
    Some(true)
}
