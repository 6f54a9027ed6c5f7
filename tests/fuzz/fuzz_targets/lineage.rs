//! Whatever is in the lineage events of a bundle and in the progress of their delivery, they are closed, delivered and counted.
//!
//! An input is these two files.

#![no_main]
#![allow(clippy::unwrap_used, reason = "a fuzz target ends at its first surprise")]

use std::{fs, time::Duration};

use chrono::DateTime;
use daglight_capture_policy::{Policy, Profile};
use daglight_fuzz::with_bundle;
use daglight_openlineage::{SyncLineageError, Target, close_open_events, sync_lineage};
use daglight_run_bundle::{Bundle, ReadError, count_lineage_events};
use libfuzzer_sys::fuzz_target;

const FILES: [&str; 2] = ["openlineage.jsonl", "openlineage.delivery.json"];
const TIMEOUT: Duration = Duration::from_secs(5);

fuzz_target!(|input: &[u8]| {
    with_bundle(&FILES, input, |out, bundle| {
        let path = out.join("received.jsonl");
        let _ = fs::remove_file(&path);
        read(bundle, &Target::File { path, append: true });
    });
});

fn read(bundle: &Bundle, target: &Target) {
    let Some(before) = count_lineage_events(bundle).unwrap() else { return };
    let reason = Policy::of_profile(Profile::Dev).capture_error("the process ended");
    let closed = close_open_events(bundle, DateTime::UNIX_EPOCH, &reason).unwrap();
    let written = count_lineage_events(bundle).unwrap().unwrap();
    // A piece of a line that was left becomes a line that cannot be read.
    let more = written - before - closed as u64;
    assert!(more <= 1, "{before} events, {closed} closed, {written} written");
    assert_eq!(close_open_events(bundle, DateTime::UNIX_EPOCH, &reason).unwrap(), 0);
    let first = match sync_lineage(bundle, target, TIMEOUT) {
        // A progress that a newer version has written.
        Err(SyncLineageError::Cursor(ReadError::Newer { .. })) => return,
        first => first.unwrap().unwrap(),
    };
    let second = sync_lineage(bundle, target, TIMEOUT).unwrap().unwrap();
    assert_eq!((second.delivered, &second.ledger), (0, &first.ledger));
}
