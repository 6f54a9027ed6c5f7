//! Counting what an outbox holds: the one count behind every number about its delivery.

use std::{collections::BTreeMap, path::Path};

use serde_json::Value;

use super::{
    event::Event,
    reader::{OutboxError, OutboxReader, Read},
    record::Record,
};
use crate::sums::count_items;

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
        self.produced = self.produced.saturating_add(event.items());
        match event {
            // The line stands for what is missing: it counts as that many items, and is not an event that anybody
            // receives.
            Event::Lost { reason, items } => count_items(&mut self.lost, &reason, items),
            event => each(event),
        }
    }

    fn count_unreadable(&mut self) {
        // What was in it cannot be known. One line is one item at least, and a damage must never make the sum of what
        // was recorded smaller than what is accounted for.
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
