//! What a span of a run records by itself. It is kept beside the span of the SDK, because every piece of code that runs
//! in the span's context can write on that one.

use std::{
    cell::RefCell,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use opentelemetry::{
    KeyValue,
    trace::{Event, Status},
};
use opentelemetry_sdk::trace::SpanData;

/// The record of one open span.
#[derive(Debug, Default)]
pub(crate) struct OwnRecord(Mutex<Recorded>);

/// What was recorded: facts, and values that the capture policy has let through.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recorded {
    /// The name that the span was started with, whatever it was renamed to.
    pub(crate) name: &'static str,
    pub(crate) attributes: Vec<KeyValue>,
    /// Names that the author of the pipeline chose, such as that of a stage: they may hold anything.
    pub(crate) names: Vec<KeyValue>,
    pub(crate) events: Vec<Event>,
    /// `None` where nothing was said.
    pub(crate) status: Option<Status>,
}

impl OwnRecord {
    pub(crate) fn new(recorded: Recorded) -> Arc<Self> {
        Arc::new(Self(Mutex::new(recorded)))
    }

    /// Of several values under one key, the last one is exported.
    pub(crate) fn set(&self, attribute: KeyValue) {
        self.lock().attributes.push(attribute);
    }

    pub(crate) fn event(&self, name: &'static str, attributes: Vec<KeyValue>) {
        self.lock().events.push(Event::new(name, SystemTime::now(), attributes, 0));
    }

    pub(crate) fn set_status(&self, status: Status) {
        self.lock().status = Some(status);
    }

    pub(crate) fn snapshot(&self) -> Recorded {
        self.lock().clone()
    }

    /// Takes everything out, when the span has ended.
    pub(crate) fn take(&self) -> Recorded {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Recorded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A span as a processor gets it, and what was recorded beside it. It is exported only through a [`crate::door::Door`].
#[derive(Debug, Clone)]
pub(crate) struct RawSpan {
    /// What any code may have written.
    pub(crate) data: SpanData,
    /// `None` for spans that a program makes itself.
    pub(crate) own: Option<Recorded>,
}

thread_local! {
    /// The record of the span that this thread is about to start.
    static STARTING: RefCell<Option<Arc<OwnRecord>>> = const { RefCell::new(None) };
}

/// Starts a span with `start`, which belongs to `record`.
pub(crate) fn starting_with<T>(record: Option<&Arc<OwnRecord>>, start: impl FnOnce() -> T) -> T {
    STARTING.set(record.cloned());
    let started = start();
    // A span that is not recorded is not seen by the processor that takes it out.
    STARTING.take();
    started
}

/// The record of the span that this thread is starting.
pub(crate) fn of_starting_span() -> Option<Arc<OwnRecord>> {
    STARTING.take()
}
