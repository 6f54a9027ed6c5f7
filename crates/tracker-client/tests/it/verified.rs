//! Requests with an unknown outcome: what the server is asked afterwards, and what is repaired.

use std::fs;

use chrono::{DateTime, TimeDelta, Utc};
use daglight_tracker_client::{Outcome, Sighting, SyncOutcome, sync_bundle};
use serde_json::{Value, json};

use crate::{
    recorded::*,
    server::{Reply, Reply::*, Request, Server},
};

const RUN: &str = "GET /api/v1/dag_runs/7";
const UPDATE_OTHER: &str = "PUT /api/v1/dag_runs/8/";

/// The run as the server has it, with its node.
fn on_server(recorded: &Recorded, id: i64, status: &str, node: &str) -> Value {
    let mut run = tagged(recorded, id, status);
    run["node_runs"] = json!([{ "node_name": "orders", "status": node, "attributes": [] }]);
    run
}

fn tagged(recorded: &Recorded, id: i64, status: &str) -> Value {
    let mut run = run(json!({ "run_id": recorded.run_id.to_string(), "environment": "test" }));
    (run["id"], run["run_status"]) = (json!(id), json!(status));
    run
}

fn updated(id: i64) -> Reply {
    let mut run = run(json!({}));
    run["id"] = json!(id);
    Json(run)
}

/// Synchronises a run that has no server yet.
fn sync(recorded: &Recorded, script: Vec<(&'static str, Reply)>) -> (SyncOutcome, Vec<Request>) {
    let server = Server::start(script);
    // The address stays the same, so that the progress of an earlier server counts.
    let cursor = recorded.tracker_dir().join("delivery.json");
    if let Ok(text) = fs::read(&cursor) {
        let mut stored: Value = serde_json::from_slice(&text).unwrap();
        stored["server"] = json!(server.url());
        // It belongs to the previous content.
        stored.as_object_mut().unwrap().remove("checksum");
        fs::write(&cursor, stored.to_string()).unwrap();
    }
    let outcome =
        sync_bundle(&recorded.tracker_dir(), &connection(&server), Sighting::UNKNOWN, TIMEOUT).unwrap();
    (outcome, server.finish())
}

/// Lets the unverified period end now.
fn let_time_pass(recorded: &Recorded) {
    change_cursor(recorded, |cursor| {
        assert!(cursor["unverified_until"].is_string(), "{cursor:#}");
        cursor["unverified_until"] = json!(Utc::now());
    });
}

fn change_cursor(recorded: &Recorded, change: impl FnOnce(&mut Value)) {
    let path = recorded.tracker_dir().join("delivery.json");
    let mut cursor: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut cursor);
    cursor.as_object_mut().unwrap().remove("checksum");
    fs::write(&path, cursor.to_string()).unwrap();
}

/// A failed node, whose status a late request could change.
fn recorded_failure() -> Recorded {
    let recorded = Recorded::new();
    let tracker = recorded.start(None);
    recorded.begin(&tracker);
    tracker.task_finished("orders", Outcome::Failure, vec![]);
    tracker.run_finished(Outcome::Failure);
    recorded
}

fn first_delivery(recorded: &Recorded) -> SyncOutcome {
    let script = script([
        until_run(),
        vec![
            (LOG, Status(503, "")),
            (LOG, Empty),
            (END_RUN, updated(7)),
            (RUN, Json(json!([on_server(recorded, 7, "FAILURE", "FAILURE")]))),
            (FIND_RUN, Json(json!([tagged(recorded, 7, "FAILURE")]))),
        ],
    ]);
    sync(recorded, script).0
}

#[test]
fn a_run_is_unverified_until_the_server_was_asked_late_enough() {
    let recorded = recorded_failure();
    let first = first_delivery(&recorded);
    assert_eq!(first.ledger.waiting, 0);
    let until = first.ledger.unverified_until.expect("the server can still carry it out");
    assert!(until - Utc::now() > TimeDelta::seconds(30), "{until}");
    let again = vec![
        (RUN, Json(json!([on_server(&recorded, 7, "FAILURE", "FAILURE")]))),
        (FIND_RUN, Json(json!([tagged(&recorded, 7, "FAILURE")]))),
    ];
    let (too_early, _) = sync(&recorded, again.clone());
    assert_eq!(too_early.ledger.unverified_until, Some(until));
    let_time_pass(&recorded);
    let (late_enough, _) = sync(&recorded, again);
    assert_eq!((late_enough.ledger.unverified_until, late_enough.delivered), (None, 0));
    // And then it is asked no more.
    sync(&recorded, vec![]);
}

#[test]
fn a_run_stays_unverified_under_another_address_of_the_server() {
    let recorded = recorded_failure();
    let until = first_delivery(&recorded).ledger.unverified_until;
    assert!(until.is_some());
    let by_another_address = |script| {
        let server = Server::start(script);
        let connection = connection(&server);
        let outcome = sync_bundle(&recorded.tracker_dir(), &connection, Sighting::UNKNOWN, TIMEOUT).unwrap();
        server.finish();
        outcome.ledger
    };
    let whole = || {
        vec![
            (PROJECT, Json(project())),
            (FIND_VERSION, Json(version())),
            (FIND_RUN, Json(json!([tagged(&recorded, 7, "FAILURE")]))),
            (LOG, Empty),
            (END_RUN, updated(7)),
            (RUN, Json(json!([on_server(&recorded, 7, "FAILURE", "FAILURE")]))),
            (FIND_RUN, Json(json!([tagged(&recorded, 7, "FAILURE")]))),
        ]
    };
    assert_eq!(by_another_address(whole()).unverified_until, until);
    let_time_pass(&recorded);
    let verified = by_another_address(whole());
    assert_eq!((verified.unverified_until, verified.waiting), (None, 0));
}

#[test]
fn what_a_late_request_has_changed_is_put_right() {
    let recorded = recorded_failure();
    first_delivery(&recorded);
    let_time_pass(&recorded);
    let (outcome, requests) = sync(
        &recorded,
        vec![
            (RUN, Json(json!([on_server(&recorded, 7, "RUNNING", "RUNNING")]))),
            (LOG, Empty),
            (END_RUN, updated(7)),
            (FIND_RUN, Json(json!([tagged(&recorded, 8, "RUNNING"), tagged(&recorded, 7, "RUNNING")]))),
            (UPDATE_OTHER, updated(8)),
        ],
    );
    assert_eq!(outcome.ledger.unverified_until, None);
    let task = &requests[1].body["task_updates"][0];
    assert_eq!((&task["node_name"], &task["status"]), (&json!("orders"), &json!("FAILURE")));
    assert!(task["end_time"].is_string(), "{task}");
    assert_eq!(requests[1].body["attributes"], json!([]));
    assert_eq!(requests[2].body["run_status"], "FAILURE");
    let duplicate = &requests[4].body;
    assert_eq!(duplicate["run_status"], "FAILURE");
    assert_eq!(duplicate["upsert_tags"]["daglight.duplicate_of"], "7");
}

/// Delivers a run where the first request with this beginning gets this response, and checks whether it is unverified then.
#[track_caller]
fn check(start: &'static str, answer: Reply, is_unverified: bool) {
    let recorded = Recorded::whole(&[]);
    let mut all = vec![
        (PROJECT, Json(project())),
        (FIND_VERSION, Json(version())),
        (FIND_RUN, Json(json!([]))),
        (CREATE_RUN, Json(run(json!({})))),
        (LOG, Empty),
        (END_RUN, updated(7)),
    ];
    let place = all.iter().position(|(line, _)| *line == start).unwrap();
    if start == CREATE_RUN {
        // Before the run is created again, the server is asked for it, and has it.
        all[place] = (FIND_RUN, Json(json!([tagged(&recorded, 7, "RUNNING")])));
    }
    all.insert(place, (start, answer.clone()));
    if is_unverified {
        all.push((RUN, Json(json!([on_server(&recorded, 7, "SUCCESS", "SUCCESS")]))));
        all.push((FIND_RUN, Json(json!([tagged(&recorded, 7, "SUCCESS")]))));
    }
    let (outcome, _) = sync(&recorded, all);
    assert_eq!(outcome.ledger.waiting, 0, "{outcome:?}");
    assert_eq!(outcome.ledger.unverified_until.is_some(), is_unverified, "{start} {answer:?}");
}

#[test]
fn what_cannot_do_harm_when_it_comes_late_needs_no_verification() {
    // The run itself may be created twice.
    check(CREATE_RUN, Status(500, "oh"), true);
    check(CREATE_RUN, Status(503, ""), true);
    check(CREATE_RUN, Status(504, ""), true);
    check(CREATE_RUN, Json(json!("<html>")), true);
    check(CREATE_RUN, Close, true);
    // Nothing has reached the server, or repeating it is harmless.
    check(LOG, Status(429, ""), false);
    check(LOG, Json(json!({ "hello": "world" })), false);
    check(END_RUN, Status(503, ""), false);
    check(END_RUN, Json(json!({ "ok": true })), false);
    check(END_RUN, updated(9), false);
}

#[test]
fn a_process_that_ends_during_a_request_leaves_it_unverified() {
    let recorded = Recorded::new();
    let server = Server::start(script([until_run(), vec![(LOG, Hang)]]));
    let slow = connection(&server).with_timeouts(TIMEOUT, TIMEOUT);
    let tracker = recorded.start(Some(slow));
    recorded.begin(&tracker);
    tracker.task_started("orders");
    server.wait();
    let status = daglight_run_bundle::outbox::outbox_status(&recorded.tracker_dir()).unwrap();
    assert!(status.ledger.unverified_until.is_some(), "{:?}", status.ledger);
    drop(tracker);
}

/// Delivers a run, replaces it with another one on the server, and records one more event.
#[track_caller]
fn replaced(answer: Reply) -> Vec<Request> {
    let recorded = Recorded::new();
    let record = recorded.start(None);
    recorded.begin(&record);
    record.task_started("orders");
    let (first, _) = sync(&recorded, script([until_run(), vec![(LOG, Empty)]]));
    assert_eq!(first.ledger.delivered, 3);
    recorded.complete(&record, &["rows"]);
    let (second, requests) = sync(
        &recorded,
        vec![
            (RUN, answer),
            (PROJECT, Json(project())),
            (FIND_VERSION, Json(Value::Null)),
            (CREATE_VERSION, Json(version())),
            (CREATE_RUN, updated(9)),
            ("PUT /api/v1/dag_runs_bulk?dag_run_id=9", Empty),
            ("PUT /api/v1/dag_runs/9/", updated(9)),
        ],
    );
    assert_eq!((second.ledger.waiting, second.ledger.delivered), (0, 7), "{:?}", second.ledger);
    assert_eq!((second.ledger.redelivered, second.delivered), (3, 7));
    assert_eq!(second.link.unwrap().dag_run_id, 9);
    requests
}

#[test]
fn nothing_is_sent_to_a_run_that_is_another_by_now() {
    replaced(Status(404, r#"{"detail": "DAG run with ID 7 does not exist."}"#));
    let mut foreign = run(json!({ "run_id": "of somebody else" }));
    foreign["node_runs"] = json!([]);
    let requests = replaced(Json(json!([foreign.clone()])));
    assert!(requests.iter().all(|request| !request.line.contains("=7") && !request.line.ends_with("/7/")));
    foreign["tags"] = json!({});
    replaced(Json(json!([foreign])));
}

#[test]
fn a_server_without_the_project_keeps_the_progress() {
    let recorded = Recorded::new();
    let record = recorded.start(None);
    recorded.begin(&record);
    sync(&recorded, until_run());
    record.task_started("orders");
    let gone = || Status(404, r#"{"detail": "no"}"#);
    let server = Server::start(vec![
        (RUN, gone()),
        (PROJECT, gone()),
        ("GET /api/v1/phone_home", Json(json!({ "success": true, "message": "" }))),
    ]);
    change_cursor(&recorded, |cursor| cursor["server"] = json!(server.url()));
    let result = sync_bundle(&recorded.tracker_dir(), &connection(&server), Sighting::UNKNOWN, TIMEOUT);
    assert!(result.unwrap_err().to_string().contains("404"));
    server.finish();
    let status = daglight_run_bundle::outbox::outbox_status(&recorded.tracker_dir()).unwrap();
    assert_eq!((status.ledger.delivered, status.ledger.waiting), (2, 1));
}

#[test]
fn a_database_that_is_replaced_during_the_run_gets_all_of_it() {
    let recorded = Recorded::new();
    let server = Server::start(until_run());
    let tracker = recorded.start(Some(connection(&server)));
    recorded.begin(&tracker);
    server.wait();
    let address = server.url().strip_prefix("http://").unwrap().to_owned();
    server.finish();
    recorded.complete(&tracker, &["rows"]);
    let wait = || tracker.ledger().last_error.is_none();
    let begun: DateTime<Utc> = Utc::now();
    while wait() {
        assert!(Utc::now() - begun < TimeDelta::seconds(20));
        std::thread::yield_now();
    }
    let listener = std::net::TcpListener::bind(&address).unwrap();
    let server = Server::start_at(
        listener,
        vec![
            (RUN, Status(404, "")),
            (PROJECT, Json(project())),
            (FIND_VERSION, Json(Value::Null)),
            (CREATE_VERSION, Json(version())),
            (CREATE_RUN, updated(7)),
            (LOG, Empty),
            (END_RUN, updated(7)),
        ],
    );
    let ledger = tracker.flush(TIMEOUT);
    assert_eq!((ledger.waiting, ledger.redelivered), (0, 2), "{ledger:?}");
    drop(tracker);
    server.finish();
}
