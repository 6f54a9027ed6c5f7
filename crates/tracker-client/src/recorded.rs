//! Counting what an outbox holds: the one count that the account of a run is made of.

use std::{collections::BTreeMap, path::Path};

use serde_json::Value;

use crate::{
    Event, OutboxError,
    outbox_writer::UNREADABLE,
    reader::{OutboxReader, Read},
};

/// The items of an outbox.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    /// All of them, those that are lost too.
    pub(crate) produced: u64,
    /// Items that will not be delivered because they are not in the file, or cannot be read, by reason.
    pub(crate) lost: BTreeMap<String, u64>,
    /// Whether there is a piece of a line at the end, which is not counted.
    pub(crate) unfinished: bool,
}

impl Recorded {
    /// Reads an outbox to its end, and shows each event.
    ///
    /// # Errors
    /// When it cannot be read, or is of a newer version.
    pub(crate) fn read(path: &Path, mut each: impl FnMut(Event<Value>)) -> Result<Self, OutboxError> {
        let mut reader = OutboxReader::open(path)?;
        let mut recorded = Self::default();
        loop {
            match reader.read()? {
                Read::Event { event, .. } => {
                    recorded.produced += event.items();
                    if let Event::Lost { reason, items } = *event {
                        recorded.lose(&reason, items);
                    } else {
                        each(*event);
                    }
                }
                Read::Unreadable { .. } => {
                    recorded.produced += 1;
                    recorded.lose(UNREADABLE, 1);
                }
                Read::End { unfinished } => return Ok(Self { unfinished, ..recorded }),
            }
        }
    }

    /// Counts a piece of a line at the end as a line that cannot be read. Only where nobody is writing it just now.
    pub(crate) fn with_piece(mut self) -> Self {
        if std::mem::take(&mut self.unfinished) {
            self.produced += 1;
            self.lose(UNREADABLE, 1);
        }
        self
    }

    fn lose(&mut self, reason: &str, items: u64) {
        *self.lost.entry(reason.to_owned()).or_default() += items;
    }
}
