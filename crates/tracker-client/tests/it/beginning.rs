//! Outboxes that have lost the start of their run, next to a manifest that has it.

use std::{fs, path::PathBuf};

use daglight_run_bundle::outbox::outbox_status;
use daglight_tracker_client::{Outcome, Sighting, SyncError, SyncOutcome, sync_bundle};
use serde_json::{Value, json};

use crate::{
    recorded::*,
    server::{Reply, Reply::*, Request, Server},
};

/// Writes the manifest of a run next to its outbox.
fn write_manifest(recorded: &Recorded) {
    let manifest = json!({
        "format": "daglight_run_bundle", "format_version": 3, "daglight_version": "0.1.0",
        "identity": {
            "run_id": recorded.run_id, "dag_name": "test::faults_v1", "dag_hash": "a", "code_hash": "b",
            "tags": { "environment": "test" },
        },
        "namespace": "daglight", "profile": "dev", "status": "running", "started_at": "2026-11-21T08:00:00Z",
        "nodes": [{ "name": "orders", "kind": "data_loader", "status": "success" }],
    });
    fs::write(recorded.bundle.path().join("manifest.json"), manifest.to_string()).unwrap();
}

fn outbox(recorded: &Recorded) -> PathBuf {
    recorded.tracker_dir().join("outbox.jsonl")
}

/// Damages the lines of an outbox with these numbers, from 0.
fn damage(recorded: &Recorded, lines: &[usize], how: fn(&[u8]) -> Vec<u8>) {
    let text = fs::read(outbox(recorded)).unwrap();
    let damaged: Vec<u8> = text
        .split_inclusive(|byte| *byte == b'\n')
        .enumerate()
        .flat_map(|(number, line)| if lines.contains(&number) { how(line) } else { line.to_vec() })
        .collect();
    fs::write(outbox(recorded), damaged).unwrap();
}

fn sync(recorded: &Recorded, script: Vec<(&'static str, Reply)>) -> (SyncOutcome, Vec<Request>) {
    let server = Server::start(script);
    let synced = sync_bundle(&recorded.tracker_dir(), &connection(&server), Sighting::UNKNOWN, TIMEOUT);
    (synced.unwrap(), server.finish())
}

fn rest() -> Vec<(&'static str, Reply)> {
    vec![(LOG, Empty), (END_RUN, Json(run(json!({}))))]
}

#[track_caller]
fn check(lines: &[usize], how: fn(&[u8]) -> Vec<u8>, delivered: u64) {
    let recorded = Recorded::whole(&["rows"]);
    write_manifest(&recorded);
    damage(&recorded, lines, how);
    let before = outbox_status(&recorded.tracker_dir()).unwrap();
    assert_eq!((before.run_id, before.outcome), (Some(recorded.run_id), Some(Outcome::Success)));
    let (outcome, requests) = sync(&recorded, script([until_run(), rest()]));
    assert_eq!((outcome.delivered, outcome.ledger.waiting), (delivered, 0), "{lines:?}");
    assert!(outcome.ledger.is_balanced(), "{:?}", outcome.ledger);
    assert_eq!(outcome.status, Some(Outcome::Success));
    let version = &requests[2].body;
    assert_eq!(version["nodes"][0]["name"], "orders");
    assert_eq!(requests[3].body["tags"]["run_id"], json!(recorded.run_id));
    assert_eq!(requests[3].body["tags"]["environment"], "test");
    // The result is still known afterwards.
    let (again, _) = sync_again(&recorded);
    assert_eq!((again.delivered, again.ledger), (0, outcome.ledger));
}

/// To the same address, where no request is expected.
fn sync_again(recorded: &Recorded) -> (SyncOutcome, Vec<Request>) {
    let cursor = recorded.tracker_dir().join("delivery.json");
    let server = Server::start([]);
    let mut stored: Value = serde_json::from_slice(&fs::read(&cursor).unwrap()).unwrap();
    stored["server"] = json!(server.url());
    // It belongs to the previous content.
    stored.as_object_mut().unwrap().remove("checksum");
    fs::write(&cursor, stored.to_string()).unwrap();
    let synced = sync_bundle(&recorded.tracker_dir(), &connection(&server), Sighting::UNKNOWN, TIMEOUT);
    (synced.unwrap(), server.finish())
}

#[test]
fn a_run_is_delivered_from_its_manifest_where_the_outbox_has_lost_the_beginning() {
    let torn = |line: &[u8]| line[line.len() / 2..].to_vec();
    let zeros = |line: &[u8]| [vec![0; line.len() - 1], b"\n".to_vec()].concat();
    let foreign = |_: &[u8]| b"\xff\xfe not a record\n".to_vec();
    let joined = |line: &[u8]| line[..line.len() / 2].to_vec();
    // Line 0 is the header, 1 the version, 2 the start of the run; 6 items follow in total.
    for how in [torn, zeros, foreign] {
        check(&[0], how, 6);
        check(&[0, 1], how, 5);
        check(&[1], how, 5);
        check(&[2], how, 5);
        check(&[0, 1, 2], how, 4);
    }
    // A line without its line feed takes the next one with it.
    check(&[0], joined, 5);
    check(&[1], joined, 4);
}

#[test]
fn an_outbox_without_a_beginning_and_without_a_manifest_says_so_and_stays() {
    let recorded = Recorded::whole(&["rows"]);
    damage(&recorded, &[1, 2], |_| b"x\n".to_vec());
    let before = fs::read(outbox(&recorded)).unwrap();
    let server = Server::start([]);
    let synced = sync_bundle(&recorded.tracker_dir(), &connection(&server), Sighting::UNKNOWN, TIMEOUT);
    let error = match synced {
        Err(SyncError::Delivery(error)) => error.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(error.contains("no manifest beside it") && error.contains("stay in the outbox"), "{error}");
    assert_eq!(fs::read(outbox(&recorded)).unwrap(), before);
    assert!(outbox_status(&recorded.tracker_dir()).unwrap().ledger.waiting > 0);
    server.finish();
}

#[test]
fn a_run_that_was_killed_is_closed_also_where_its_start_is_damaged() {
    let recorded = Recorded::new();
    let tracker = recorded.start(None);
    recorded.begin(&tracker);
    tracker.task_started("orders");
    drop(tracker);
    write_manifest(&recorded);
    damage(&recorded, &[1, 2], |_| b"x\n".to_vec());
    let end = || (END_RUN, Json(run(json!({}))));
    let server = Server::start(script([until_run(), vec![(LOG, Empty), end(), end()]]));
    let synced =
        sync_bundle(&recorded.tracker_dir(), &connection(&server), Sighting::gone(None), TIMEOUT).unwrap();
    assert_eq!((synced.closed, synced.status), (true, Some(Outcome::Failure)));
    assert_eq!(server.finish().last().unwrap().body["run_status"], "FAILURE");
}
