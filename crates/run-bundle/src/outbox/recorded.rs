//! Counting what an outbox holds: the one count behind every number about its delivery.

use std::{collections::BTreeMap, path::Path};

use serde_json::Value;

use super::{
    event::Event,
    reader::{OutboxError, OutboxReader, Read},
    record::Record,
};

/// Why lines that cannot be read are lost.
pub(crate) const UNREADABLE: &str = "unreadable line of the outbox";

/// The items of an outbox.
#[derive(Debug, Default)]
pub struct Recorded {
    /// All of them, those that are lost too.
    pub produced: u64,
    /// Items that will not be delivered because they are not in the file, or cannot be read, by reason.
    pub lost: BTreeMap<String, u64>,
    /// Whether the file does not end with a line feed.
    pub unfinished: bool,
}

/// What becomes of a line without a line feed at the end of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastLine {
    /// It is being written, perhaps, and left out.
    MayGrow,
    /// Nobody writes it any more: it counts as every other line does, once somebody has ended it.
    IsOver,
}

impl Recorded {
    /// Reads an outbox to its end, and passes each event to `each`.
    ///
    /// # Errors
    /// When it cannot be read, or is of a newer version.
    pub fn read(
        path: &Path,
        last_line: LastLine,
        mut each: impl FnMut(Event<Value>),
    ) -> Result<Self, OutboxError> {
        let mut reader = OutboxReader::open(path)?;
        let mut recorded = Self::default();
        loop {
            match reader.read()? {
                Read::Event { event, .. } => recorded.count(*event, &mut each),
                Read::Unreadable { .. } => recorded.count_unreadable(),
                Read::End { unfinished } => {
                    recorded.unfinished = unfinished;
                    break;
                }
            }
        }
        if recorded.unfinished && last_line == LastLine::IsOver {
            match reader.piece() {
                Some(Record::Event(event)) => recorded.count(*event, &mut each),
                Some(Record::Header(_)) => {}
                None => recorded.count_unreadable(),
            }
        }
        Ok(recorded)
    }

    fn count(&mut self, event: Event<Value>, each: &mut impl FnMut(Event<Value>)) {
        self.produced += event.items();
        match event {
            // The line stands for what is missing: it counts as that many items, and is not an event that anybody
            // receives.
            Event::Lost { reason, items } => *self.lost.entry(reason).or_default() += items,
            event => each(event),
        }
    }

    fn count_unreadable(&mut self) {
        // What was in it cannot be known. One line is one item at least, and a damage must never make the sum of what
        // was recorded smaller than what is accounted for.
        self.produced += 1;
        *self.lost.entry(UNREADABLE.to_owned()).or_default() += 1;
    }
}
