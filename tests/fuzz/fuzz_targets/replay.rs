//! Whatever is in an outbox, what can be read of it is delivered to a server that takes everything, and only once.
//!
//! An input is the files of a `tracker` folder, as for the target `outbox`.

#![no_main]
#![allow(clippy::unwrap_used, reason = "a fuzz target ends at its first surprise")]

use std::{cell::OnceCell, time::Duration};

use daglight_fuzz::{Server, fill_tracker, scratch, tracker_answer};
use daglight_tracker_client::{Connection, Liveness, ProjectRef, Sighting, sync_bundle};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

/// More than a delivery takes: a server that takes everything is never waited for.
const TIMEOUT: Duration = Duration::from_secs(5);

thread_local! {
    static PLACE: OnceCell<(TempDir, Server, Connection)> = const { OnceCell::new() };
}

fuzz_target!(|input: &[u8]| {
    PLACE.with(|place| {
        let (folder, _, connection) = place.get_or_init(|| {
            let server = Server::start();
            server.says(tracker_answer);
            let connection = Connection::new(&server.url(), "me@example.com", ProjectRef::Id(1)).unwrap();
            (scratch(), server, connection)
        });
        fill_tracker(folder.path(), input);
        // The process that wrote it is gone: what it left open is closed.
        let sighting = Sighting { liveness: Liveness::Gone, ..Sighting::UNKNOWN };
        let sync = || sync_bundle(folder.path(), connection, sighting, TIMEOUT);
        // What is newer, or holds no run, is refused.
        let Ok(first) = sync() else { return };
        assert_eq!((first.ledger.waiting, &first.ledger.last_error), (0, &None));
        assert!(first.ledger.is_balanced(), "{:?}", first.ledger);
        let second = sync().unwrap();
        assert_eq!((second.closed, &second.ledger), (false, &first.ledger));
        // Until the server has the run, nothing that it was sent lasts.
        assert!(second.delivered == 0 || first.link.is_none(), "{second:?}");
    });
});
