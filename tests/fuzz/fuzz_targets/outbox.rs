//! Whatever is in the files of a `tracker` folder, reading them ends, and what is appended afterwards can be read.
//!
//! An input is these files; of `records` each line gets the checksum that a line of an outbox has.

#![no_main]
#![allow(clippy::unwrap_used, reason = "a fuzz target ends at its first surprise")]

use std::{cell::OnceCell, path::Path};

use chrono::DateTime;
use daglight_fuzz::{fill_tracker, scratch};
use daglight_run_bundle::{Durability, outbox::outbox_status};
use daglight_tracker_client::{Event, Outbox};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

thread_local! {
    static FOLDER: OnceCell<TempDir> = const { OnceCell::new() };
}

fuzz_target!(|input: &[u8]| {
    FOLDER.with(|folder| read_and_append(folder.get_or_init(scratch).path(), input));
});

fn read_and_append(folder: &Path, input: &[u8]) {
    fill_tracker(folder, input);
    // A newer version is refused, and nothing else is wrong with a file that is there.
    let Ok(before) = outbox_status(folder) else { return };
    let appended = Outbox::open(folder, Durability::Process).unwrap();
    let event = Event::TaskStarted { node: "appended".to_owned(), time: DateTime::UNIX_EPOCH };
    appended.append(&event).unwrap();
    // Whether someone writes is asked with a timeout.
    drop(appended);
    let after = outbox_status(folder).unwrap();
    // A piece of a line that was left becomes a line that cannot be read.
    let more = after.ledger.produced - before.ledger.produced;
    let is_most = after.ledger.produced == u64::MAX;
    assert!(is_most || (1..=2).contains(&more), "{more} items more");
    assert!(after.nodes.contains_key("appended"));
}
