//! How far a delivery has come, kept beside the outbox.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use chrono::{DateTime, TimeDelta, Utc};
use daglight_run_bundle::DELIVERY_CURSOR;
use serde::{Deserialize, Serialize};

use crate::{
    Counts, Ledger, Outcome, RunLink,
    outbox::tracker_file,
    recorded::{Recorded, UNREADABLE},
};

const FILE_NAME: &str = DELIVERY_CURSOR;

/// Bytes of the file, 16 MiB: it holds counts and a bounded list.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// The version of the cursor's format.
///
/// - 1: the first.
/// - 2: `unverified_until`, `redelivered` and `unwritten`, which a file of version 1 does not have. Lines that cannot be
///   read are no longer among what is `dropped`: whoever reads the outbox counts them.
const CURSOR_VERSION: u32 = 2;

/// The longest time for which a request without an answer counts as in flight.
pub(crate) const MAX_IN_FLIGHT: TimeDelta = TimeDelta::seconds(30);

/// The longest time after which a server, or a proxy in front of it, still carries out a request that it did not answer
/// with success. Proxies wait for their server for a minute by default.
pub(crate) const LATEST_COMMIT: TimeDelta = TimeDelta::seconds(60);

/// Why items are lost that a server had, and does not have any more, and that the disk had no space for.
const LOST_BY_SERVER: &str = "lost by the server, and not in the outbox";

/// Details kept of attributes that a server refused. All are counted.
const MAX_SET_ASIDE: usize = 100;

/// Progress of a delivery: `delivery.json`, replaced as a whole after each step.
///
/// Losing it loses nothing: the delivery starts from the beginning, and finds on the server what is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    version: u32,
    /// The server that the ids are of.
    pub(crate) server: String,
    pub(crate) project_id: Option<i64>,
    pub(crate) template_id: Option<i64>,
    pub(crate) link: Option<RunLink>,
    /// Deadline after which an unanswered request to create the run, or to change its status, can no longer take effect.
    #[serde(rename = "run_settles")]
    pub(crate) run_in_flight_until: Option<DateTime<Utc>>,
    /// The same for nodes.
    #[serde(default, rename = "tasks_settle")]
    pub(crate) tasks_in_flight_until: Option<DateTime<Utc>>,
    /// Until when the server may still carry out a request whose answer was not a success. Once it has been asked after
    /// that what it has of the run, this is `None`.
    #[serde(default)]
    pub(crate) unverified_until: Option<DateTime<Utc>>,
    /// Items that were delivered to a run that the server does not have any more. They are delivered anew.
    #[serde(default)]
    pub(crate) redelivered: u64,
    /// Items that the server has and the outbox does not, as the disk had no space for them.
    #[serde(default)]
    pub(crate) unwritten: u64,
    /// How the run ended, once the server knows.
    pub(crate) outcome: Option<Outcome>,
    /// Where in the outbox the first line starts that is not done.
    pub(crate) offset: u64,
    pub(crate) delivered: Counts,
    pub(crate) dropped: BTreeMap<String, u64>,
    /// What the server refused, so that someone can look after it.
    pub(crate) set_aside: Vec<SetAside>,
}

/// Something that a server refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SetAside {
    pub(crate) node: String,
    /// `None`: the start or end of the node itself.
    pub(crate) attribute: Option<String>,
    pub(crate) reason: String,
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
    pub(crate) fn new(server: String) -> Self {
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
            delivered: Counts::default(),
            dropped: BTreeMap::new(),
            set_aside: Vec::new(),
        }
    }

    /// The cursor of a `tracker` folder, if there is one that can be understood.
    ///
    /// # Errors
    /// When the file cannot be read, or is of a newer version.
    pub(crate) fn load(tracker_dir: &Path) -> Result<Option<Self>, CursorError> {
        let path = tracker_dir.join(FILE_NAME);
        let text = match tracker_file(tracker_dir, FILE_NAME).read(MAX_FILE_BYTES) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(CursorError::Io { path, source }),
        };
        match serde_json::from_slice::<VersionOnly>(&text) {
            Ok(VersionOnly { version }) if version > CURSOR_VERSION => {
                Err(CursorError::Newer { path, found: version })
            }
            Ok(_) => {
                let cursor: Option<Self> = serde_json::from_slice(&text).ok();
                Ok(cursor.map(|mut cursor| {
                    if cursor.version < 2 {
                        cursor.dropped.remove(UNREADABLE);
                    }
                    Self { version: CURSOR_VERSION, ..cursor }
                }))
            }
            Err(_) => Ok(None),
        }
    }

    /// Replaces the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn save(&self, tracker_dir: &Path) -> Result<(), CursorError> {
        let path = tracker_dir.join(FILE_NAME);
        let written = serde_json::to_vec_pretty(self)
            .map_err(io::Error::from)
            .and_then(|text| tracker_file(tracker_dir, FILE_NAME).replace(&text));
        written.map_err(|source| CursorError::Io { path, source })
    }

    /// The account of an outbox that holds what is `recorded`.
    pub(crate) fn ledger(&self, recorded: Recorded) -> Ledger {
        let mut dropped = recorded.lost;
        for (reason, items) in &self.dropped {
            *dropped.entry(reason.clone()).or_default() += items;
        }
        Ledger {
            unverified_until: self.unverified_until,
            redelivered: self.redelivered,
            ..Ledger::of(recorded.produced + self.unwritten, self.delivered, dropped)
        }
    }

    /// Without ids and progress, for a delivery in which the server did not get the run.
    pub(crate) fn without_ids(self) -> Self {
        Self {
            run_in_flight_until: self.run_in_flight_until,
            tasks_in_flight_until: self.tasks_in_flight_until,
            unverified_until: self.unverified_until,
            redelivered: self.redelivered,
            ..Self::new(self.server)
        }
    }

    /// The start of a delivery to another address. It may be that of the same server, which may still carry out what it was
    /// asked under the first one.
    pub(crate) fn at_address(self, server: String) -> Self {
        Self {
            run_in_flight_until: self.run_in_flight_until,
            tasks_in_flight_until: self.tasks_in_flight_until,
            unverified_until: self.unverified_until,
            ..Self::new(server)
        }
    }

    /// The start of a new delivery to the same server, of a run that it does not have any more.
    pub(crate) fn anew(&self, project_id: i64) -> Self {
        // What an earlier server lost was not delivered to this one.
        let lost_before = self.dropped.get(LOST_BY_SERVER).copied().unwrap_or_default();
        let only_there = self.unwritten.saturating_sub(lost_before);
        let mut anew = Self {
            project_id: Some(project_id),
            redelivered: self.redelivered + self.delivered.total().saturating_sub(only_there),
            unwritten: self.unwritten,
            ..Self::new(self.server.clone())
        };
        anew.drop_items(LOST_BY_SERVER, anew.unwritten);
        anew
    }

    /// Keeps what the server refused, while there is room.
    pub(crate) fn set_aside(&mut self, refused: SetAside) {
        if self.set_aside.len() < MAX_SET_ASIDE {
            self.set_aside.push(refused);
        }
    }

    /// Counts what will not be delivered.
    pub(crate) fn drop_items(&mut self, reason: &str, items: u64) {
        if items > 0 {
            *self.dropped.entry(reason.to_owned()).or_default() += items;
        }
    }
}

/// Whether a request that may take effect `until` then still can. A clock that was set back does not prolong it.
pub(crate) fn is_in_flight(until: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
    until.is_some_and(|until| now < until && until - now <= MAX_IN_FLIGHT)
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
        cursor.set_aside(SetAside { node: "n".into(), attribute: None, reason: "r".into() });
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
    fn a_newer_one_is_refused_and_a_broken_one_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(FILE_NAME);
        fs::write(&file, r#"{"version":3,"what":"ever"}"#).unwrap();
        let error = Cursor::load(dir.path()).unwrap_err().to_string();
        assert!(error.contains("version 3"), "{error}");
        fs::write(&file, r#"{"version":1,"offs"#).unwrap();
        assert_eq!(Cursor::load(dir.path()).unwrap(), None);
    }
}
