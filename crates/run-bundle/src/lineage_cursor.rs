//! The delivery progress of the lineage events of a run: `openlineage.delivery.json`.

use std::{collections::BTreeMap, io, path::Path};

use daglight_guarded_files::{Durability, FileBelow};
use serde::{Deserialize, Serialize};

use crate::{
    bundle::Bundle,
    delivery_counts::DeliveryCounts,
    layout::{LINEAGE_DELIVERY, MAX_FILE_BYTES},
    lineage_events::{LineageLine, LineageReader},
    sums::{count_items, saturating_sum},
    versioned::{ReadError, WriteError, format_version},
};

/// The version of the cursor's format.
///
/// - 1: the first.
const VERSION: u32 = 1;

/// The maximum number of destinations whose progress is kept. A forgotten one gets the events again.
const MAX_DESTINATIONS: usize = 16;

/// The reason for dropping a damaged line.
pub const UNREADABLE_EVENT: &str = "the line of the event cannot be read";

/// The reason for dropping a line that names another run.
pub const EVENT_OF_ANOTHER_RUN: &str = "the event is of another run";

/// The reason for dropping an event that the run wrote, but that is no longer in its file.
pub const MISSING_EVENT: &str = "the event is missing in openlineage.jsonl";

/// Progress of the delivery of `openlineage.jsonl`, replaced as a whole.
///
/// Losing the file is harmless: the events are sent again, and a receiver of OpenLineage recognises an event that it already has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineageCursor {
    format_version: u32,
    /// Events that did not fit on the disk, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unwritten: BTreeMap<String, u64>,
    /// By destination, the last used first.
    destinations: Vec<LineageProgress>,
}

/// The progress towards one destination.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineageProgress {
    /// The destination, in a form that is safe to show.
    pub destination: String,
    /// The offset in the file of the first line that is not done.
    pub offset: u64,
    /// Events that it has accepted.
    pub delivered: u64,
    /// Events that it has not accepted and will not get again, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub dropped: BTreeMap<String, u64>,
}

impl Default for LineageCursor {
    fn default() -> Self {
        Self { format_version: VERSION, unwritten: BTreeMap::new(), destinations: Vec::new() }
    }
}

impl LineageCursor {
    /// Loads the cursor from the folder of a bundle. If it is missing or damaged, the delivery starts from the beginning.
    ///
    /// # Errors
    /// When a newer Daglight wrote it, or it cannot be read.
    pub fn load(bundle_dir: &Path) -> Result<Self, ReadError> {
        match Self::read(bundle_dir) {
            Ok(cursor) => Ok(cursor.unwrap_or_default()),
            Err(ReadError::Damaged { .. }) => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Why the file in a bundle's folder does not contain the progress. `None` if it does, or does not exist.
    pub fn damage(bundle_dir: &Path) -> Option<ReadError> {
        Self::read(bundle_dir).err()
    }

    fn read(bundle_dir: &Path) -> Result<Option<Self>, ReadError> {
        let path = bundle_dir.join(LINEAGE_DELIVERY);
        let text = match FileBelow::new(bundle_dir, LINEAGE_DELIVERY).read(MAX_FILE_BYTES) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(ReadError::Io { path, source }),
        };
        match format_version(&text) {
            Ok(found) if found > VERSION => Err(ReadError::Newer { path, found, known: VERSION }),
            _ => {
                serde_json::from_slice(&text).map(Some).map_err(|source| ReadError::Damaged { path, source })
            }
        }
    }

    /// Replaces the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, bundle_dir: &Path) -> Result<(), WriteError> {
        let path = bundle_dir.join(LINEAGE_DELIVERY);
        let written = serde_json::to_vec_pretty(self).map_err(io::Error::from).and_then(|text| {
            // The durability of the events does not apply: if a power failure reverts the file, the events are sent again.
            FileBelow::new(bundle_dir, LINEAGE_DELIVERY).replace(&text, Durability::Process)
        });
        written.map_err(|source| WriteError::Io { path, source })
    }

    /// The progress towards a destination.
    pub fn towards(&self, destination: &str) -> LineageProgress {
        let known = self.destinations.iter().find(|progress| progress.destination == destination);
        let new = || LineageProgress { destination: destination.to_owned(), ..LineageProgress::default() };
        known.cloned().unwrap_or_else(new)
    }

    /// Stores the progress towards a destination.
    pub fn set(&mut self, progress: LineageProgress) {
        self.destinations.retain(|known| known.destination != progress.destination);
        self.destinations.insert(0, progress);
        self.destinations.truncate(MAX_DESTINATIONS);
    }
}

impl LineageProgress {
    /// The counts for a file with `written` events, which lacks those in `unwritten`.
    pub fn ledger(&self, written: u64, unwritten: &BTreeMap<String, u64>) -> DeliveryCounts {
        let mut dropped = self.dropped.clone();
        for (reason, events) in unwritten {
            count_items(&mut dropped, reason, *events);
        }
        let produced = saturating_sum(unwritten.values().copied().chain([written]));
        DeliveryCounts::of(produced, self.delivered, dropped)
    }
}

/// How many events the file of a bundle holds, including damaged lines. `None` if there is no such file.
///
/// # Errors
/// When it cannot be read.
pub fn count_lineage_events(bundle: &Bundle) -> io::Result<Option<u64>> {
    let Some(mut reader) = LineageReader::open(bundle.dir(), 0)? else { return Ok(None) };
    let mut events = 0;
    while reader.next()? != LineageLine::End {
        events += 1;
    }
    Ok(Some(events))
}

/// The counts of the events in the files of a bundle, for the last destination. `None` if there are no events.
pub fn recorded_lineage(bundle: &Bundle) -> Option<DeliveryCounts> {
    let written = count_lineage_events(bundle).ok().flatten()?;
    let cursor = LineageCursor::load(bundle.dir()).unwrap_or_default();
    let progress = cursor.destinations.first().cloned().unwrap_or_default();
    Some(progress.ledger(written, &cursor.unwritten))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::DeliveryLock;

    #[test]
    fn each_destination_has_a_progress_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let mut cursor = LineageCursor::load(dir.path()).unwrap();
        cursor.set(LineageProgress { offset: 7, delivered: 2, ..cursor.towards("a") });
        cursor.set(LineageProgress { offset: 3, delivered: 1, ..cursor.towards("b") });
        cursor.save(dir.path()).unwrap();
        let back = LineageCursor::load(dir.path()).unwrap();
        assert_eq!((back.towards("a").offset, back.towards("b").offset, back.towards("c").offset), (7, 3, 0));
        let unwritten = BTreeMap::from([("full".to_owned(), 1)]);
        let ledger = back.towards("a").ledger(4, &unwritten);
        assert_eq!((ledger.produced, ledger.delivered, ledger.waiting), (5, 2, 2));
        assert!(ledger.is_balanced());
    }

    #[test]
    fn a_newer_one_is_refused_and_a_damaged_one_starts_over() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(LINEAGE_DELIVERY);
        std::fs::write(&file, r#"{"format_version":2,"what":"ever"}"#).unwrap();
        assert!(LineageCursor::load(dir.path()).is_err());
        std::fs::write(&file, r#"{"format_version":1,"dest"#).unwrap();
        assert_eq!(LineageCursor::load(dir.path()).unwrap(), LineageCursor::default());
        let damage = LineageCursor::damage(dir.path());
        assert!(matches!(damage, Some(ReadError::Damaged { .. })), "{damage:?}");
        std::fs::remove_file(&file).unwrap();
        assert!(LineageCursor::damage(dir.path()).is_none());
    }

    #[test]
    fn one_delivers_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = DeliveryLock::of_lineage(dir.path());
        assert!(first.is_some() && DeliveryLock::of_lineage(dir.path()).is_none());
        drop(first);
        assert!(DeliveryLock::of_lineage(dir.path()).is_some());
    }

    #[test]
    fn counts_of_a_damaged_file_have_a_largest_sum() {
        let all = |reason: &str| BTreeMap::from([(reason.to_owned(), u64::MAX), ("b".to_owned(), 7)]);
        let progress =
            LineageProgress { delivered: u64::MAX, dropped: all("full"), ..LineageProgress::default() };
        let ledger = progress.ledger(4, &all("full"));
        assert_eq!((ledger.produced, ledger.waiting, ledger.dropped_for("b")), (u64::MAX, 0, 14));
        assert!(ledger.is_balanced());
    }
}
