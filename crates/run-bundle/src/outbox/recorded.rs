//! Counting the items of an outbox: all numbers about its delivery come from this count.

use std::{collections::BTreeMap, path::Path};

use serde_json::Value;

use super::{
    event::Event,
    reader::{OutboxError, OutboxReader, Read},
    record::Record,
};
use crate::sums::count_items;

/// The reason for losses through unreadable lines.
pub(crate) const UNREADABLE: &str = "unreadable line of the outbox";

/// The items of an outbox.
#[derive(Debug, Default)]
pub struct Recorded {
    /// All items, including lost ones.
    pub produced: u64,
    /// Items that will not be delivered because they are missing in the file, or cannot be read, by reason.
    pub lost: BTreeMap<String, u64>,
    /// Whether the file does not end with a line feed.
    pub unfinished: bool,
}

/// How to treat a last line without a line feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastLine {
    /// It may still be being written, and is not counted.
    MayGrow,
    /// Nobody is writing it any more: it counts like every other line, as if it had a line feed.
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
        self.produced = self.produced.saturating_add(event.items());
        match event {
            // This line represents missing items: it counts as that many items, and is not itself an event to deliver.
            Event::Lost { reason, items } => count_items(&mut self.lost, &reason, items),
            event => each(event),
        }
    }

    fn count_unreadable(&mut self) {
        // Its content is unknown. A line has at least one item, and damage must never make the number of recorded items smaller
        // than the number of accounted ones.
        self.produced = self.produced.saturating_add(1);
        count_items(&mut self.lost, UNREADABLE, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_that_a_damaged_file_tells_have_a_largest_sum() {
        let mut recorded = Recorded::default();
        for items in [u64::MAX, 7] {
            recorded.count(Event::Lost { reason: "full".to_owned(), items }, &mut |_| {});
        }
        recorded.count_unreadable();
        assert_eq!((recorded.produced, recorded.lost["full"]), (u64::MAX, u64::MAX));
        assert_eq!(recorded.lost[UNREADABLE], 1);
    }
}
