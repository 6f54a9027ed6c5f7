//! Events of an outbox that do not fit on the disk, for the delivery.

use std::{
    fmt,
    sync::{Arc, Weak, atomic::Ordering},
};

use serde_json::Value;

use super::{
    event::Event,
    record::{Record, decode},
    shared::{Shared, lock},
    writer::Line,
};

/// The events of an outbox that do not fit on the disk.
#[derive(Clone)]
pub struct Unwritten(Weak<Shared>);

impl Unwritten {
    pub(super) fn of(outbox: &Arc<Shared>) -> Self {
        Self(Arc::downgrade(outbox))
    }

    /// An empty set, for code without an outbox.
    pub fn none() -> Self {
        Self(Weak::new())
    }

    /// The events that are not in the file, after the end of the run.
    pub fn hand_out(&self) -> Vec<Event<Value>> {
        let lines = self.0.upgrade().map(|inner| lock(&inner.writer).hand_out()).unwrap_or_default();
        // Decoded from the bytes of the line, so that the server gets exactly what the file would have held, and memory does not
        // hold a second form of an event.
        let event = |line: Line| match decode(line.bytes.strip_suffix(b"\n").unwrap_or(&line.bytes)) {
            Some(Record::Event(event)) => Some(*event),
            _ => None,
        };
        lines.into_iter().filter_map(event).collect()
    }

    /// Whether no warning was given yet that the run cannot be recorded. If true, the caller must warn.
    pub fn may_warn(&self) -> bool {
        self.0.upgrade().is_none_or(|inner| !inner.warned.swap(true, Ordering::Relaxed))
    }

    /// The server has accepted this many of them.
    pub fn taken(&self, events: usize) {
        if let Some(inner) = self.0.upgrade() {
            lock(&inner.writer).taken(events);
        }
    }

    /// They are no longer being sent.
    pub fn give_back(&self) {
        if let Some(inner) = self.0.upgrade() {
            lock(&inner.writer).give_back();
        }
    }

    /// Like [`Outbox::write_or_drop`](super::Outbox::write_or_drop).
    pub fn write_or_drop(&self) {
        if let Some(inner) = self.0.upgrade() {
            inner.write_or_drop();
        }
    }
}

impl fmt::Debug for Unwritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unwritten")
    }
}
