//! The counts of the status, the running run and its delivery agree, whatever the file looks like.

use std::fs;

use daglight_run_bundle::{DeliveryCounts, Durability, outbox::outbox_status};
use daglight_tracker_client::{Event, Outbox, Outcome, Sighting, sync_bundle};
use serde_json::json;
use tempfile::TempDir;

use crate::{
    recorded::*,
    server::{Reply::*, Server},
};

#[track_caller]
fn check_balanced(ledger: &DeliveryCounts) {
    assert_eq!(ledger.produced, ledger.delivered + ledger.waiting + ledger.dropped_total(), "{ledger:?}");
}

/// The counts of an outbox with that content: before it is opened for writing, and from the process that opened it.
fn accounts(content: &[u8]) -> (TempDir, DeliveryCounts, DeliveryCounts) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("outbox.jsonl"), content).unwrap();
    let before = outbox_status(folder.path()).unwrap().ledger;
    let outbox = Outbox::open(folder.path(), Durability::Process).unwrap();
    let own = outbox.ledger();
    drop(outbox);
    assert_eq!(outbox_status(folder.path()).unwrap().ledger, own);
    (folder, before, own)
}

fn whole() -> Vec<u8> {
    let recorded = Recorded::whole(&["rows", "schema"]);
    fs::read(recorded.tracker_dir().join("outbox.jsonl")).unwrap()
}

#[test]
fn everybody_counts_the_same_wherever_the_file_ends() {
    let whole = whole();
    for length in 1..whole.len() {
        let (_folder, before, own) = accounts(&whole[..length]);
        assert_eq!(before, own, "{length} bytes");
        check_balanced(&own);
    }
    let (_folder, before, own) = accounts(&whole);
    assert_eq!((before.produced, before.waiting), (7, 7));
    assert_eq!(before, own);
}

#[test]
fn a_delivery_counts_what_the_status_does_wherever_the_file_ends() {
    let whole = whole();
    let lines: Vec<usize> =
        whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1).collect();
    // From the line that starts the run on, each line complete and torn.
    let cuts: Vec<usize> = lines[2..].iter().flat_map(|end| [*end - 1, *end, *end + 9]).collect();
    for length in cuts.into_iter().filter(|length| *length <= whole.len()) {
        let (folder, before, _) = accounts(&whole[..length]);
        let has = |event: &str| {
            String::from_utf8_lossy(&whole[..length])
                .lines()
                .any(|line| line.contains(event) && line.ends_with("}}"))
        };
        let mut all = until_run();
        if has("\"task_") {
            all.push((LOG, Empty));
        }
        if has("run_finished") {
            all.push((END_RUN, Json(run(json!({})))));
        }
        let server = Server::start(all);
        let sync =
            || sync_bundle(folder.path(), &connection(&server), Sighting::UNKNOWN, TIMEOUT).unwrap().ledger;
        let ledger = sync();
        check_balanced(&ledger);
        assert_eq!((ledger.produced, ledger.waiting), (before.produced, 0), "{length} bytes: {ledger:?}");
        assert_eq!(ledger.dropped, before.dropped, "{length} bytes");
        assert_eq!(outbox_status(folder.path()).unwrap().ledger, ledger, "{length} bytes");
        server.finish();
    }
}

#[test]
fn what_is_lost_stands_in_the_outbox_and_is_counted_once() {
    let recorded = Recorded::new();
    let server = Server::start(script([
        until_run(),
        vec![(LOG, Empty), (LOG, Empty), (END_RUN, Json(run(json!({}))))],
    ]));
    let tracker = recorded.start(Some(connection(&server)));
    recorded.begin(&tracker);
    tracker.task_started("orders");
    tracker.record(&Event::Lost { reason: "no space".to_owned(), items: 4 });
    tracker.task_finished("orders", Outcome::Success, vec![]);
    tracker.run_finished(Outcome::Success);
    let status = outbox_status(&recorded.tracker_dir()).unwrap().ledger;
    assert_eq!((status.produced, &status.dropped), (9, &[("no space".to_owned(), 4)].into()));
    tracker.flush(TIMEOUT);
    drop(tracker);
    let status = outbox_status(&recorded.tracker_dir()).unwrap().ledger;
    assert_eq!((status.produced, status.delivered, status.waiting), (9, 5, 0));
    check_balanced(&status);
}
