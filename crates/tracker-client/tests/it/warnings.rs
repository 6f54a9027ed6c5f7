//! What a run logs about an unreachable server.

use std::sync::{Arc, Mutex};

use daglight_run_bundle::DeliveryCounts;
use tracing::{Event, Level, Metadata, Subscriber, span};

use crate::{
    recorded::*,
    server::{Reply, Server},
};

/// Counts warnings and errors of the threads for which it is the default subscriber.
#[derive(Debug, Clone, Default)]
struct Warnings(Arc<Mutex<u64>>);

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN && metadata.target().starts_with("daglight")
    }

    fn new_span(&self, _span: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _span: &span::Id, _values: &span::Record<'_>) {}

    fn record_follows_from(&self, _span: &span::Id, _follows: &span::Id) {}

    fn event(&self, _event: &Event<'_>) {
        *self.0.lock().unwrap() += 1;
    }

    fn enter(&self, _span: &span::Id) {}

    fn exit(&self, _span: &span::Id) {}
}

#[test]
fn a_server_that_is_away_is_one_warning() {
    let warnings = Warnings::default();
    let ledger: DeliveryCounts = tracing::subscriber::with_default(warnings.clone(), || {
        let recorded = Recorded::whole(&["rows"]);
        let tracker = recorded.start(Some(connection_to("http://127.0.0.1:9")));
        tracker.flush(TIMEOUT);
        tracker.flush(TIMEOUT)
    });
    assert_eq!(*warnings.0.lock().unwrap(), 1);
    assert_eq!((ledger.delivered, ledger.waiting), (0, 6));
}

#[track_caller]
fn check_one_warning(reply: Reply) {
    let server = Server::start(vec![(PROJECT, reply); 50]);
    let warnings = Warnings::default();
    let ledger = tracing::subscriber::with_default(warnings.clone(), || {
        let recorded = Recorded::whole(&["rows"]);
        let tracker = recorded.start(Some(connection(&server)));
        tracker.flush(TIMEOUT);
        tracker.flush(TIMEOUT)
    });
    assert_eq!(*warnings.0.lock().unwrap(), 1);
    assert_eq!((ledger.delivered, ledger.waiting), (0, 6));
}

#[test]
fn a_server_that_refuses_hangs_or_answers_garbage_is_one_warning() {
    check_one_warning(Reply::Status(401, "no"));
    check_one_warning(Reply::Hang);
    check_one_warning(Reply::Close);
    check_one_warning(Reply::Json(serde_json::json!({ "hello": "world" })));
    check_one_warning(Reply::Truncated);
}

#[test]
fn a_folder_that_cannot_be_written_is_one_warning() {
    let warnings = Warnings::default();
    let ledger = tracing::subscriber::with_default(warnings.clone(), || {
        let recorded = Recorded::new();
        std::fs::write(recorded.tracker_dir(), "a file where the folder should be").unwrap();
        let tracker = recorded.start(Some(connection_to("http://127.0.0.1:9")));
        recorded.begin(&tracker);
        recorded.complete(&tracker, &["rows"]);
        tracker.flush(TIMEOUT)
    });
    assert_eq!(*warnings.0.lock().unwrap(), 1);
    assert_eq!((ledger.produced, ledger.waiting, ledger.dropped_total()), (6, 0, 6));
}
