//! The log events of an exporter of `opentelemetry-otlp` during an export over gRPC.
//!
//! The exporter returns neither how many items the endpoint rejected of an accepted request, nor the endpoint's message for a
//! refused one, but emits both as `tracing` events. They are captured by a thread-local subscriber for the duration of the export,
//! so that the program's subscriber, and with it the log records of the run, does not see them.

use std::{
    fmt,
    mem::take,
    sync::{Arc, Mutex, PoisonError},
};

use tracing::{
    Dispatch, Event, Metadata, Subscriber,
    dispatcher::with_default,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span,
    subscriber::Interest,
};

use crate::messages::Rejected;

/// The target of the events of `opentelemetry-otlp`.
const TARGET: &str = "opentelemetry-otlp";

/// Captures the events of one exporter.
#[derive(Debug)]
pub(crate) struct ExporterEvents {
    dispatch: Dispatch,
    seen: Arc<Mutex<Seen>>,
}

/// What was learned from the events of one export.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// What the endpoint rejected of a request that it accepted.
    pub(crate) rejected: Rejected,
    /// The code and the message of the status that ended the export.
    pub(crate) status: Option<(String, String)>,
}

impl ExporterEvents {
    pub(crate) fn new() -> Self {
        let seen = Arc::default();
        Self { dispatch: Dispatch::new(Listener(Arc::clone(&seen))), seen }
    }

    /// Whether this build of `tracing` has these events at all: a program can disable levels at compile time for all crates.
    pub(crate) fn are_compiled_in() -> bool {
        tracing::level_filters::STATIC_MAX_LEVEL >= LevelFilter::WARN
    }

    /// Runs `work` on this thread, and returns what was seen in the meantime.
    pub(crate) fn during<T>(&self, work: impl FnOnce() -> T) -> (T, Seen) {
        // Events that a task of the channel emitted since the last export do not belong to this one.
        take(&mut *lock(&self.seen));
        // Only for this thread: `block_on` polls the export here, and the events are emitted where it is polled.
        let result = with_default(&self.dispatch, work);
        (result, take(&mut *lock(&self.seen)))
    }
}

/// Runs `work` on this thread without any of its events being recorded.
pub(crate) fn unlogged<T>(work: impl FnOnce() -> T) -> T {
    with_default(&Dispatch::none(), work)
}

fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Listener(Arc<Mutex<Seen>>);

impl Subscriber for Listener {
    /// It ignores other call sites, including those of the program that are registered for the first time now.
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        // `tracing` asks once for each call site and caches the answer, combined with those of all other subscribers: with a
        // `sometimes`, every call site of the program would ask again each time.
        if self.enabled(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target() == TARGET
    }

    /// The message of a status is in a DEBUG event.
    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::DEBUG)
    }

    fn new_span(&self, _span: &span::Attributes<'_>) -> span::Id {
        // No span is enabled, and a span id must not be 0.
        span::Id::from_u64(1)
    }

    fn record(&self, _span: &span::Id, _values: &span::Record<'_>) {}

    fn record_follows_from(&self, _span: &span::Id, _follows: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let name = event.metadata().name();
        let mut fields = Fields::default();
        // The names are those of `otel_warn!` in `opentelemetry-otlp` 0.33.1: `src/exporter/tonic/trace.rs` line 123, `logs.rs`
        // line 120, and `mod.rs` line 494. A test exports to a server that rejects items, so that it fails if a later version
        // renames them.
        if name.ends_with(".PartialSuccess") {
            event.record(&mut fields);
            lock(&self.0).rejected = Rejected { items: fields.rejected, reason: fields.reason };
        } else if name.ends_with(".ExportFailed") {
            event.record(&mut fields);
            lock(&self.0).status = Some((fields.code, fields.message));
        }
    }

    fn enter(&self, _span: &span::Id) {}

    fn exit(&self, _span: &span::Id) {}
}

#[derive(Default)]
struct Fields {
    rejected: u64,
    reason: String,
    code: String,
    message: String,
}

impl Visit for Fields {
    fn record_i64(&mut self, field: &Field, value: i64) {
        if matches!(field.name(), "rejected_spans" | "rejected_log_records") {
            self.rejected = u64::try_from(value).unwrap_or_default();
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "error_message" => value.clone_into(&mut self.reason),
            "grpc_code" => value.clone_into(&mut self.code),
            "grpc_message" => value.clone_into(&mut self.message),
            _ => {}
        }
    }

    fn record_debug(&mut self, _field: &Field, _value: &dyn fmt::Debug) {}
}

#[cfg(test)]
mod tests {
    use tracing::{debug, subscriber::with_default as with_subscriber, warn};

    use super::*;

    /// Logs like an exporter.
    fn export(rejected: i64) {
        warn!(name: "X.PartialSuccess", target: TARGET, rejected_spans = rejected, error_message = "too old");
        debug!(name: "X.ExportFailed", target: TARGET, grpc_code = "Internal", grpc_message = "token=abc");
        warn!(name: "X.PartialSuccess", "of somebody else, with {rejected_spans}", rejected_spans = 7);
    }

    #[test]
    fn events_are_taken_in_and_not_passed_on() {
        let program = Arc::default();
        with_subscriber(Listener(Arc::clone(&program)), || {
            let events = ExporterEvents::new();
            let ((), seen) = events.during(|| export(3));
            assert_eq!(seen.rejected, Rejected { items: 3, reason: "too old".to_owned() });
            assert_eq!(seen.status, Some(("Internal".to_owned(), "token=abc".to_owned())));
            let ((), seen) = events.during(|| ());
            assert_eq!((seen.rejected, seen.status), (Rejected::default(), None), "it starts again");
            unlogged(|| export(4));
            assert_eq!(lock(&program).rejected, Rejected::default(), "the program has seen nothing");
            export(5);
            assert_eq!(lock(&program).rejected.items, 5, "the program would have seen it");
        });
    }

    #[test]
    fn a_number_below_zero_rejects_nothing() {
        let ((), seen) = ExporterEvents::new().during(|| export(-1));
        assert_eq!(seen.rejected.items, 0);
    }
}
