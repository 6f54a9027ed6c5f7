//! Whatever is in the files of a `tracker` folder, reading them ends, and what is appended afterwards can be read.
//!
//! ```text
//! cargo install cargo-fuzz
//! cd crates/tracker-client && RUSTC_BOOTSTRAP=1 cargo fuzz run outbox -- -max_total_time=60 -rss_limit_mb=512 -timeout=10
//! ```
//!
//! `RUSTC_BOOTSTRAP=1` is for the stable compiler; a nightly one does without. The first byte of an input says what the
//! rest is: the outbox as it is, the outbox as records that get a line and a checksum, or the progress of the delivery.

#![no_main]
#![allow(clippy::unwrap_used, reason = "a fuzz target ends at its first surprise")]

use std::{cell::OnceCell, fs, path::Path};

use chrono::DateTime;
use daglight_run_bundle::{Durability, outbox::{outbox_status}};
use daglight_tracker_client::{Event, Outbox};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

thread_local! {
    static FOLDER: OnceCell<TempDir> = const { OnceCell::new() };
}

fuzz_target!(|input: &[u8]| {
    FOLDER.with(|folder| read_and_append(folder.get_or_init(|| tempfile::tempdir().unwrap()).path(), input));
});

fn read_and_append(folder: &Path, input: &[u8]) {
    let (outbox, progress) = (folder.join("outbox.jsonl"), folder.join("delivery.json"));
    let _ = fs::remove_file(&progress);
    match input.split_first() {
        Some((0, bytes)) => fs::write(&outbox, bytes).unwrap(),
        Some((1, bytes)) => {
            fs::write(&outbox, bytes.split(|byte| *byte == b'\n').flat_map(line).collect::<Vec<_>>()).unwrap()
        }
        Some((_, bytes)) => {
            fs::write(&outbox, b"").unwrap();
            fs::write(&progress, bytes).unwrap();
        }
        None => return,
    }
    // A newer version is refused, and nothing else is wrong with a file that is there.
    let Ok(before) = outbox_status(folder) else { return };
    let appended = Outbox::open(folder, Durability::Process).unwrap();
    appended.append(&Event::TaskStarted { node: "appended".to_owned(), time: DateTime::UNIX_EPOCH });
    // Whether someone writes is asked with a timeout.
    drop(appended);
    let after = outbox_status(folder).unwrap();
    // A piece of a line that was left becomes a line that cannot be read.
    let more = after.ledger.produced - before.ledger.produced;
    assert!((1..=2).contains(&more), "{more} items more");
    assert!(after.nodes.contains_key("appended"));
}

/// A record as a line of an outbox.
fn line(record: &[u8]) -> Vec<u8> {
    let checksum = format!("{{\"crc32\":\"{:08x}\",\"record\":", crc32fast::hash(record));
    [checksum.as_bytes(), record, b"}\n"].concat()
}
