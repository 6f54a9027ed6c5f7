//! What a span of a run records itself. It is kept separately from the SDK's span, because any code that runs in the context of the
//! span can write to that one.

use std::{
    cell::RefCell,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use daglight_run_bundle::clock;
use opentelemetry::{
    KeyValue,
    trace::{Event, Status},
};
use opentelemetry_sdk::trace::SpanData;

/// The record of one open span.
#[derive(Debug, Default)]
pub(crate) struct OwnRecord {
    recorded: Mutex<Recorded>,
    max_events: usize,
    /// Whether the span ends as soon as it has started: nobody follows it meanwhile.
    pub(crate) is_past: bool,
}

/// What was recorded: facts, and values that the capture policy allowed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recorded {
    /// The name with which the span was started, even if it was renamed.
    pub(crate) name: &'static str,
    pub(crate) attributes: Vec<KeyValue>,
    /// Names that the author of the pipeline chose, such as that of a stage: they may contain anything.
    pub(crate) names: Vec<KeyValue>,
    pub(crate) events: Vec<Event>,
    /// The number of events that were left out because there were too many.
    pub(crate) dropped_events: u32,
    /// `None` if no status was set.
    pub(crate) status: Option<Status>,
}

impl OwnRecord {
    /// It keeps the first `max_events` events, and counts the others.
    pub(crate) fn new(recorded: Recorded, max_events: u32, is_past: bool) -> Arc<Self> {
        let max_events = usize::try_from(max_events).unwrap_or(usize::MAX);
        Arc::new(Self { recorded: Mutex::new(recorded), max_events, is_past })
    }

    /// If a key is set several times, the last value is kept.
    pub(crate) fn set(&self, attribute: KeyValue) {
        let mut recorded = self.lock();
        match recorded.attributes.iter_mut().find(|earlier| earlier.key == attribute.key) {
            Some(earlier) => *earlier = attribute,
            None => recorded.attributes.push(attribute),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "an event has the time at which it is recorded")]
    pub(crate) fn event(&self, name: &'static str, attributes: Vec<KeyValue>) {
        let event = Event::new(name, clock::now(), attributes, 0);
        let mut recorded = self.lock();
        if recorded.events.len() < self.max_events {
            recorded.events.push(event);
        } else {
            recorded.dropped_events = recorded.dropped_events.saturating_add(1);
        }
    }

    pub(crate) fn set_status(&self, status: Status) {
        self.lock().status = Some(status);
    }

    pub(crate) fn snapshot(&self) -> Recorded {
        self.lock().clone()
    }

    /// Takes everything, when the span has ended.
    pub(crate) fn take(&self) -> Recorded {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Recorded> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A span as a processor gets it, with its separate record. It is exported only through a [`crate::door::Door`].
#[derive(Debug, Clone)]
pub(crate) struct RawSpan {
    /// What any code may have written.
    pub(crate) data: SpanData,
    /// `None` for spans that a program creates itself.
    pub(crate) own: Option<Recorded>,
}

thread_local! {
    /// The record of the span that this thread is about to start.
    static STARTING: RefCell<Option<Arc<OwnRecord>>> = const { RefCell::new(None) };
}

/// Starts a span with `start`, which is associated with `record`.
pub(crate) fn starting_with<T>(record: Option<&Arc<OwnRecord>>, start: impl FnOnce() -> T) -> T {
    STARTING.set(record.cloned());
    let started = start();
    // If the span is not recorded, the processor that takes the record is not called.
    STARTING.take();
    started
}

/// The record of the span that this thread is starting.
pub(crate) fn of_starting_span() -> Option<Arc<OwnRecord>> {
    STARTING.take()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_bounded() {
        let record = OwnRecord::new(Recorded::default(), 2, false);
        for value in 0..5 {
            record.set(KeyValue::new("rows", value));
            record.event("progress", Vec::new());
        }
        let recorded = record.take();
        assert_eq!(recorded.attributes, [KeyValue::new("rows", 4)]);
        assert_eq!((recorded.events.len(), recorded.dropped_events), (2, 3));
    }
}
