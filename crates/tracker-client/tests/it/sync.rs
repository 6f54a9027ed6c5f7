//! Delivering later.

use std::{fs, net::TcpListener, time::Duration};

use chrono::{TimeDelta, Utc};
use daglight_run_bundle::outbox::outbox_status;
use daglight_run_identity::RunId;
use daglight_tracker_client::{
    NodeEnd, Outcome, RunEnd, Sighting, SyncError, SyncOutcome, complete_outbox, sync_bundle,
};
use serde_json::{Value, json};

use crate::{
    recorded::*,
    server::{Reply, Reply::*, Request, Server},
};

#[track_caller]
fn sync(
    recorded: &Recorded,
    evidence: Sighting,
    script: Vec<(&'static str, Reply)>,
) -> (SyncOutcome, Vec<Request>) {
    let server = Server::start(script);
    // An infinite timeout must also end.
    let outcome =
        sync_bundle(&recorded.tracker_dir(), &connection(&server), evidence, Duration::MAX).unwrap();
    (outcome, server.finish())
}

fn end() -> (&'static str, Reply) {
    (END_RUN, Json(run(json!({}))))
}

#[test]
fn a_second_sync_asks_nothing() {
    let recorded = Recorded::whole(&["rows"]);
    let server = Server::start(script([until_run(), vec![(LOG, Empty), end()]]));
    let connection = connection(&server);
    let sync = || sync_bundle(&recorded.tracker_dir(), &connection, Sighting::UNKNOWN, TIMEOUT).unwrap();
    let first = sync();
    assert_eq!((first.delivered, first.ledger.waiting, first.closed), (6, 0, false));
    let second = sync();
    assert_eq!((second.delivered, &second.ledger, &second.link), (0, &first.ledger, &first.link));
    server.finish();
}

#[test]
fn a_lost_cursor_makes_nothing_twice() {
    let recorded = Recorded::whole(&["rows"]);
    let all = script([until_run(), vec![(LOG, Empty), end()]]);
    let (first, _) = sync(&recorded, Sighting::UNKNOWN, all);
    fs::remove_file(recorded.tracker_dir().join("delivery.json")).unwrap();
    let tag = json!({ "run_id": recorded.run_id.to_string() });
    let (second, requests) = sync(
        &recorded,
        Sighting::UNKNOWN,
        vec![
            (PROJECT, Json(project())),
            (FIND_VERSION, Json(version())),
            (FIND_RUN, Json(json!([run(tag)]))),
            (LOG, Status(500, "IntegrityError: UNIQUE constraint failed")),
            (FIND_ATTRIBUTES, Json(node_with(&["rows"]))),
            (LOG, Empty),
            end(),
        ],
    );
    assert_eq!(requests[5].body["attributes"], json!([]));
    assert_eq!(second.ledger, first.ledger);
    assert_eq!(second.link.unwrap().dag_run_id, first.link.unwrap().dag_run_id);
}

#[test]
fn a_run_that_may_still_appear_is_not_created_again_at_once() {
    let recorded = Recorded::whole(&[]);
    let cut_off = until_run().into_iter().take(3).chain([(CREATE_RUN, Close)]);
    let server = Server::start(cut_off);
    let no_time = Duration::ZERO;
    let sync = |server: &Server| {
        let connection = connection(server);
        sync_bundle(&recorded.tracker_dir(), &connection, Sighting::UNKNOWN, no_time).unwrap().ledger
    };
    assert!(sync(&server).last_error.is_some());
    let address = server.url().strip_prefix("http://").unwrap().to_owned();
    server.finish();

    // The ids of project and version are requested again, because the database may be another one by now.
    let found =
        || vec![(PROJECT, Json(project())), (FIND_VERSION, Json(version())), (FIND_RUN, Json(json!([])))];
    let server = Server::start_at(TcpListener::bind(&address).unwrap(), found());
    let error = sync(&server).last_error.unwrap();
    assert!(error.contains("cut off"), "{error}");
    server.finish();

    let cursor = recorded.tracker_dir().join("delivery.json");
    let mut settled: Value = serde_json::from_slice(&fs::read(&cursor).unwrap()).unwrap();
    assert!(settled["run_settles"].is_string());
    settled["run_settles"] = json!("2026-01-01T00:00:00Z");
    // It belongs to the previous content.
    settled.as_object_mut().unwrap().remove("checksum");
    fs::write(&cursor, settled.to_string()).unwrap();
    let again = script([found(), vec![(CREATE_RUN, Json(run(json!({}))))]]);
    let server = Server::start_at(TcpListener::bind(&address).unwrap(), again);
    assert_eq!(sync(&server).delivered_by_kind.runs, 1);
    server.finish();
}

#[test]
fn a_run_whose_process_is_gone_is_closed() {
    let recorded = Recorded::new();
    let tracker = recorded.start(None);
    recorded.begin(&tracker);
    tracker.task_started("orders");
    drop(tracker);
    let last_seen = Utc::now() + TimeDelta::seconds(5);
    let (outcome, requests) = sync(
        &recorded,
        Sighting::gone(Some(last_seen)),
        script([until_run(), vec![(LOG, Empty), end(), end()]]),
    );
    assert_eq!((outcome.closed, outcome.ledger.waiting), (true, 0));
    let task = &requests[4].body["task_updates"][0];
    assert_eq!((&task["status"], &task["end_time"]), (&json!("FAILURE"), &json!(last_seen)));
    let error = &requests[4].body["attributes"][0];
    assert_eq!(
        (&error["type"], &error["value"]["stack_trace"][0]),
        (&json!("error"), &json!("process ended"))
    );
    let cause = requests[5].body["upsert_tags"]["error"].as_str().unwrap();
    assert!(
        cause.starts_with("process ended: last seen at 20") && cause.ends_with(", while orders ran"),
        "{cause}"
    );
    let end = &requests[6].body;
    assert_eq!((&end["run_status"], &end["run_end_time"]), (&json!("FAILURE"), &json!(last_seen)));
    assert_eq!(outbox_status(&recorded.tracker_dir()).unwrap().outcome, Some(Outcome::Failure));
}

#[test]
fn an_outbox_without_its_end_is_completed_by_what_else_is_known() {
    let recorded = Recorded::new();
    let tracker = recorded.start(None);
    recorded.begin(&tracker);
    tracker.task_started("orders");
    let now = Utc::now();
    let node = |name: &str| NodeEnd {
        name: name.to_owned(),
        started_at: Some(now),
        ended_at: now,
        outcome: Outcome::Success,
        error: None,
    };
    let known = RunEnd {
        run_id: recorded.run_id,
        tags: [].into(),
        started_at: now,
        ended_at: now,
        outcome: Outcome::Success,
        error: None,
        nodes: vec![node("orders"), node("totals")],
    };
    let complete = |known: &RunEnd| complete_outbox(&recorded.tracker_dir(), known).unwrap();
    assert!(!complete(&known), "it is still written");
    drop(tracker);
    assert!(!complete(&RunEnd { run_id: RunId::new(), ..known.clone() }));
    assert!(complete(&known) && !complete(&known));
    let (outcome, requests) =
        sync(&recorded, Sighting::gone(None), script([until_run(), vec![(LOG, Empty), end()]]));
    assert_eq!((outcome.closed, outcome.status, outcome.ledger.waiting), (false, Some(Outcome::Success), 0));
    let tasks = requests[4].body["task_updates"].as_array().unwrap();
    assert!(tasks.len() == 2 && tasks.iter().all(|task| task["status"] == "SUCCESS"), "{tasks:#?}");
    assert_eq!(requests[5].body["run_status"], "SUCCESS");
}

/// One server already has the run, and another one gets it.
#[test]
fn what_another_server_got_is_reported_as_delivered() {
    let recorded = Recorded::whole(&[]);
    for _ in 0..2 {
        let all = script([until_run(), vec![(LOG, Empty), end()]]);
        let (outcome, _) = sync(&recorded, Sighting::UNKNOWN, all);
        assert_eq!((outcome.delivered, outcome.ledger.waiting), (5, 0));
    }
}

#[test]
fn a_run_that_is_still_written_is_not_closed() {
    let recorded = Recorded::new();
    let tracker = recorded.start(None);
    recorded.begin(&tracker);
    let (outcome, _) = sync(&recorded, Sighting::gone(None), until_run());
    assert_eq!((outcome.closed, outcome.ledger.delivered), (false, 2));
    let status = outbox_status(&recorded.tracker_dir()).unwrap();
    assert_eq!((status.is_open(), status.writer_alive), (true, Some(true)));
    assert_eq!(status.link, outcome.link);
}

#[test]
fn what_a_run_delivers_itself_is_left_to_it() {
    let recorded = Recorded::new();
    let server = Server::start([(PROJECT, Hang)]);
    let tracker = recorded.start(Some(connection(&server)));
    recorded.begin(&tracker);
    server.wait();
    let sync = sync_bundle(&recorded.tracker_dir(), &connection(&server), Sighting::UNKNOWN, TIMEOUT);
    assert!(matches!(sync, Err(SyncError::Busy { .. })), "{sync:?}");
    drop(tracker);
}

#[test]
fn a_server_that_is_away_is_not_an_error() {
    let recorded = Recorded::whole(&[]);
    let connection = connection_to("http://127.0.0.1:9");
    let outcome =
        sync_bundle(&recorded.tracker_dir(), &connection, Sighting::UNKNOWN, Duration::from_millis(300))
            .unwrap();
    assert_eq!((outcome.delivered, outcome.ledger.waiting), (0, 5));
    assert!(outcome.ledger.last_error.unwrap().contains("no connection"));
}

#[test]
fn unreadable_lines_are_counted_and_the_rest_is_delivered() {
    let recorded = Recorded::whole(&["rows"]);
    let path = recorded.tracker_dir().join("outbox.jsonl");
    let mut text = fs::read_to_string(&path).unwrap();
    let line = text.find("task_finished").unwrap();
    text.replace_range(line..line + 4, "TASK");
    fs::write(&path, text).unwrap();
    let (outcome, requests) =
        sync(&recorded, Sighting::UNKNOWN, script([until_run(), vec![(LOG, Empty), end()]]));
    assert_eq!(requests[4].body["task_updates"][0]["status"], "RUNNING");
    assert_eq!(requests[4].body["task_updates"][0]["end_time"], Value::Null);
    assert_eq!(outcome.ledger.dropped, [("unreadable line of the outbox".to_owned(), 1)].into());
    assert_eq!((outcome.ledger.produced, outcome.ledger.delivered, outcome.ledger.waiting), (5, 4, 0));
}
