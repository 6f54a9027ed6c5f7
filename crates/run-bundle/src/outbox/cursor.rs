//! The progress of a delivery, kept next to the outbox.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use daglight_guarded_files::Durability;
use serde::{Deserialize, Serialize};

use super::{
    event::Outcome,
    place::tracker_file,
    recorded::{Recorded, UNREADABLE},
};
use crate::{
    delivery_counts::{DeliveryCounts, ItemsByKind},
    layout::DELIVERY_CURSOR,
    seal::{Seal, seal, sealed},
    sums::count_items,
};

/// The maximum size of the file, 16 MiB: it holds counts and a bounded list.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// The version of the cursor's format.
///
/// - 1: the first.
/// - 2: `unverified_until`, `redelivered` and `unwritten`, which files of version 1 do not have. Unreadable lines no longer count
///   as `dropped`: readers of the outbox count them. `elsewhere` and `checksum` were added later: cursors without them have this
///   version, too.
const CURSOR_VERSION: u32 = 2;

/// The reason for items that a server had and lost, and that the disk had no space for.
const LOST_BY_SERVER: &str = "lost by the server, and not in the outbox";

/// The maximum number of other servers whose progress is kept. If one is forgotten, it is asked again what it has.
const MAX_ELSEWHERE: usize = 16;

/// The maximum number of rejected attributes whose details are kept. All are counted.
const MAX_SKIPPED: usize = 100;

/// The progress of a delivery: `delivery.json`, replaced as a whole after each step.
///
/// Losing the file is harmless: the delivery starts from the beginning, and finds out what the server already has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cursor {
    version: u32,
    /// The server to which the ids belong.
    pub server: String,
    /// The project there.
    pub project_id: Option<i64>,
    /// The id of the pipeline's version on that server.
    pub template_id: Option<i64>,
    /// The run on that server, once it is known.
    pub link: Option<RunLink>,
    /// Deadline after which an unanswered request to create the run, or to change its status, can no longer take effect.
    #[serde(rename = "run_settles")]
    pub run_in_flight_until: Option<DateTime<Utc>>,
    /// The same for nodes.
    #[serde(default, rename = "tasks_settle")]
    pub tasks_in_flight_until: Option<DateTime<Utc>>,
    /// Until when the server may still carry out a request whose answer was not a success. `None` once the server was asked after
    /// that time what it has of the run.
    #[serde(default)]
    pub unverified_until: Option<DateTime<Utc>>,
    /// Items that were delivered to a run that the server no longer has. They are delivered again.
    #[serde(default)]
    pub redelivered: u64,
    /// Items that the server has and the outbox does not, because the disk had no space for them.
    #[serde(default)]
    pub unwritten: u64,
    /// How the run ended, once the server knows.
    pub outcome: Option<Outcome>,
    /// The offset in the outbox of the first line that is not done.
    pub offset: u64,
    /// Items that the server has.
    pub delivered: ItemsByKind,
    /// Items that the server rejected, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// What the server rejected, for someone to look into.
    #[serde(rename = "set_aside")]
    pub skipped: Vec<Skipped>,
    /// The delivery progress of the same outbox to other servers, the most recent one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    elsewhere: Vec<Cursor>,
}

/// A run on the server, and the addresses of its pages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunLink {
    /// The project's id.
    pub project_id: i64,
    /// The id of the pipeline's version.
    pub template_id: i64,
    /// The run's id on the server.
    pub dag_run_id: i64,
    /// The page of the run.
    pub run_url: String,
    /// The page of the pipeline's version.
    pub version_url: String,
}

/// Something that a server rejected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// The node to which it belongs.
    pub node: String,
    /// The attribute; `None` for the start or end of the node itself.
    pub attribute: Option<String>,
    /// Why.
    pub reason: String,
}

/// Why a cursor cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CursorError {
    /// The file cannot be read or replaced.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file was written by a newer Daglight.
    #[error("{} has version {found}; this Daglight knows up to {CURSOR_VERSION}: use a newer one", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
}

impl Cursor {
    /// The start of a delivery to that server.
    pub fn new(server: String) -> Self {
        Self {
            version: CURSOR_VERSION,
            server,
            project_id: None,
            template_id: None,
            link: None,
            run_in_flight_until: None,
            tasks_in_flight_until: None,
            unverified_until: None,
            redelivered: 0,
            unwritten: 0,
            outcome: None,
            offset: 0,
            delivered: ItemsByKind::default(),
            dropped: BTreeMap::new(),
            skipped: Vec::new(),
            elsewhere: Vec::new(),
        }
    }

    /// Loads the cursor from a `tracker` folder. `None` if it does not exist or is not valid.
    ///
    /// # Errors
    /// When the file cannot be read, or is of a newer version.
    pub fn load(tracker_dir: &Path) -> Result<Option<Self>, CursorError> {
        let path = tracker_dir.join(DELIVERY_CURSOR);
        let text = match tracker_file(tracker_dir, DELIVERY_CURSOR).read(MAX_FILE_BYTES) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(CursorError::Io { path, source }),
        };
        // The version is read separately first: a newer cursor may have fields of other types, so that it would count as torn and
        // be replaced, and the progress in it would be lost.
        match serde_json::from_slice::<VersionOnly>(&text) {
            Ok(VersionOnly { version }) if version > CURSOR_VERSION => {
                Err(CursorError::Newer { path, found: version })
            }
            // The file was tampered with. If it claims that the server has more than it does, the rest would never be delivered.
            Ok(_) if seal(&text) == Seal::Broken => Ok(None),
            Ok(_) => {
                let cursor: Option<Self> = serde_json::from_slice(&text).ok();
                Ok(cursor.map(|mut cursor| {
                    // Version 1 counted these lines itself. Now readers of the outbox do, so they would be counted twice.
                    if cursor.version < 2 {
                        cursor.dropped.remove(UNREADABLE);
                    }
                    Self { version: CURSOR_VERSION, ..cursor }
                }))
            }
            // Torn, or written by another program: treated as missing, and the server is asked.
            Err(_) => Ok(None),
        }
    }

    /// Replaces the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, tracker_dir: &Path) -> Result<(), CursorError> {
        let path = tracker_dir.join(DELIVERY_CURSOR);
        // The durability of the outbox does not apply: if a power failure reverts the file, the server is asked what it has.
        let written = serde_json::to_vec_pretty(self).map_err(io::Error::from).and_then(|text| {
            tracker_file(tracker_dir, DELIVERY_CURSOR).replace(&sealed(text), Durability::Process)
        });
        written.map_err(|source| CursorError::Io { path, source })
    }

    /// The counts for an outbox with the items in `recorded`.
    pub fn ledger(&self, recorded: Recorded) -> DeliveryCounts {
        let mut dropped = recorded.lost;
        for (reason, items) in &self.dropped {
            count_items(&mut dropped, reason, *items);
        }
        DeliveryCounts {
            unverified_until: self.unverified_until,
            redelivered: self.redelivered,
            // Items that were sent without being in the file, because the disk was full, were recorded all the same.
            ..DeliveryCounts::by_kind(
                recorded.produced.saturating_add(self.unwritten),
                self.delivered,
                dropped,
            )
        }
    }

    /// Without ids and progress, for a delivery in which the server did not get the run.
    pub fn without_ids(self) -> Self {
        Self {
            // Requests in flight are kept: even if the progress is forgotten here, the server may still carry them out.
            run_in_flight_until: self.run_in_flight_until,
            tasks_in_flight_until: self.tasks_in_flight_until,
            unverified_until: self.unverified_until,
            redelivered: self.redelivered,
            elsewhere: self.elsewhere,
            ..Self::new(self.server)
        }
    }

    /// The progress of the delivery to `server`. It continues where it was interrupted by deliveries to other servers, whose
    /// progress is kept, too.
    ///
    /// A different address may belong to the same server, which may still carry out requests that were sent to the first address.
    /// So requests in flight count for every address.
    #[must_use]
    pub fn towards(mut self, server: String) -> Self {
        if self.server == server {
            return self;
        }
        let mut elsewhere = std::mem::take(&mut self.elsewhere);
        // Deliveries to a test server may come in between, so the progress to each server is kept.
        let known = elsewhere.iter().position(|cursor| cursor.server == server);
        let mut next = known.map_or_else(|| Self::new(server), |known| elsewhere.remove(known));
        // Requests may be on their way to the same server under another name, so their deadline applies here, too.
        next.run_in_flight_until = next.run_in_flight_until.max(self.run_in_flight_until);
        next.tasks_in_flight_until = next.tasks_in_flight_until.max(self.tasks_in_flight_until);
        next.unverified_until = next.unverified_until.max(self.unverified_until);
        // The most recent one first, so that the limit drops the one that has not been used for longest.
        elsewhere.insert(0, self);
        elsewhere.truncate(MAX_ELSEWHERE);
        Self { elsewhere, ..next }
    }

    /// The start of a new delivery of a run that the same server no longer has.
    pub fn anew(&self, project_id: i64) -> Self {
        // Items that an earlier server lost were not delivered to this one.
        let lost_before = self.dropped.get(LOST_BY_SERVER).copied().unwrap_or_default();
        // The file does not contain them, so they cannot be delivered again: they are lost.
        let only_there = self.unwritten.saturating_sub(lost_before);
        let mut anew = Self {
            project_id: Some(project_id),
            redelivered: self.redelivered.saturating_add(self.delivered.total().saturating_sub(only_there)),
            unwritten: self.unwritten,
            elsewhere: self.elsewhere.clone(),
            ..Self::new(self.server.clone())
        };
        anew.drop_items(LOST_BY_SERVER, anew.unwritten);
        anew
    }

    /// Remembers a rejected item, while there is room.
    pub fn skip(&mut self, refused: Skipped) {
        // The file is rewritten with every step. It must not grow without bound if a server rejects each of 100,000 attributes.
        if self.skipped.len() < MAX_SKIPPED {
            self.skipped.push(refused);
        }
    }

    /// Counts items that will not be delivered.
    pub fn drop_items(&mut self, reason: &str, items: u64) {
        // An entry of 0 would be shown as a reason for losses.
        if items > 0 {
            count_items(&mut self.dropped, reason, items);
        }
    }
}

#[derive(Deserialize)]
struct VersionOnly {
    version: u32,
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_cursor_is_replaced_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Cursor::load(dir.path()).unwrap(), None);
        let mut cursor = Cursor::new("http://127.0.0.1:1".into());
        cursor.offset = 7;
        cursor.save(dir.path()).unwrap();
        cursor.drop_items("refused", 1);
        cursor.skip(Skipped { node: "n".into(), attribute: None, reason: "r".into() });
        cursor.save(dir.path()).unwrap();
        assert_eq!(Cursor::load(dir.path()).unwrap(), Some(cursor));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_only_a_lost_server_had_stays_in_the_account() {
        let mut cursor = Cursor::new("http://127.0.0.1:1".into());
        cursor.delivered.attributes = 5;
        cursor.unwritten = 2;
        let mut anew = cursor.anew(1);
        assert_eq!((anew.unwritten, anew.redelivered), (2, 3));
        anew.delivered.attributes = 3;
        let again = anew.anew(1);
        assert_eq!((again.unwritten, again.redelivered), (2, 6));
        assert_eq!(again.dropped, BTreeMap::from([(LOST_BY_SERVER.to_owned(), 2)]));
    }

    #[test]
    fn every_server_has_a_progress_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = Cursor::new("http://a".into());
        first.offset = 7;
        let mut second = first.clone().towards("http://b".into());
        assert_eq!((second.offset, &*second.server), (0, "http://b"));
        second.offset = 3;
        second.save(dir.path()).unwrap();
        let back = Cursor::load(dir.path()).unwrap().unwrap().towards("http://a".into());
        assert_eq!((back.offset, &*back.server), (7, "http://a"));
        assert_eq!(back.clone().towards("http://b".into()).offset, 3);
        let many = (0..40).fold(back, |cursor, server| cursor.towards(format!("http://{server}")));
        assert_eq!(many.elsewhere.len(), MAX_ELSEWHERE);
        // Delivering again to one server does not affect the progress to others.
        assert_eq!(many.anew(1).elsewhere, many.elsewhere);
    }

    #[test]
    fn a_newer_one_is_refused_and_a_broken_one_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(DELIVERY_CURSOR);
        fs::write(&file, r#"{"version":3,"what":"ever"}"#).unwrap();
        let error = Cursor::load(dir.path()).unwrap_err().to_string();
        assert!(error.contains("version 3"), "{error}");
        fs::write(&file, r#"{"version":1,"offs"#).unwrap();
        assert_eq!(Cursor::load(dir.path()).unwrap(), None);
    }

    #[test]
    fn counts_of_damaged_files_have_a_largest_sum() {
        let all = || BTreeMap::from([("full".to_owned(), u64::MAX)]);
        let mut cursor = Cursor::new("http://127.0.0.1:1".into());
        (cursor.unwritten, cursor.redelivered, cursor.dropped) = (u64::MAX, u64::MAX, all());
        cursor.delivered = ItemsByKind { runs: u64::MAX, ..ItemsByKind::default() };
        cursor.delivered.add(cursor.delivered);
        cursor.drop_items("full", 1);
        let ledger = cursor.ledger(Recorded { produced: u64::MAX, lost: all(), ..Recorded::default() });
        assert_eq!((ledger.produced, ledger.waiting), (u64::MAX, 0));
        assert!(ledger.is_balanced());
        assert_eq!(cursor.anew(1).redelivered, u64::MAX);
    }
}
