//! Runs whose pipeline is complete only at their end: nothing is sent before.

use std::{collections::BTreeMap, fs, time::Duration};

use chrono::Utc;
use daglight_run_bundle::outbox::{OUTBOX_VERSION, outbox_status};
use daglight_run_identity::{Code, Dag, Node, NodeKind};
use daglight_tracker_client::{Event, Liveness, Outcome, Sighting, SyncOutcome, Tracker, sync_bundle};
use serde_json::{Value, json};

use crate::{
    recorded::*,
    server::{Reply, Reply::*, Request, Server},
};

fn node(name: &str, dependencies: &[&str]) -> Node {
    Node {
        name: name.to_owned(),
        kind: NodeKind::Transform,
        output_type: "table".to_owned(),
        dependencies: dependencies.iter().map(|&name| name.to_owned()).collect(),
        tags: BTreeMap::new(),
        documentation: None,
        code: Some(Code {
            path: "plan".to_owned(),
            first_line: 1,
            last_line: 1,
            text: format!("TableScan: {name}"),
            normalized: format!("hash of {name}"),
        }),
    }
}

fn begin(recorded: &Recorded, tracker: &Tracker) {
    let name = "test::observed_v1".parse().unwrap();
    tracker.observed_run_started(&name, recorded.run_id, BTreeMap::new());
}

/// Two nodes, of which the second reads the first. The dependency is seen after its start.
fn two_nodes(tracker: &Tracker) {
    let seen = |node: Node| tracker.record(&Event::NodeSeen(Box::new(node)));
    seen(node("orders", &[]));
    tracker.task_started("orders");
    tracker.task_finished("orders", Outcome::Success, vec![attribute("rows")]);
    seen(node("late", &[]));
    tracker.task_started("late");
    seen(node("late", &["orders"]));
}

fn whole() -> Recorded {
    let recorded = Recorded::new();
    let tracker = recorded.start(None);
    begin(&recorded, &tracker);
    two_nodes(&tracker);
    tracker.task_finished("late", Outcome::Success, Vec::new());
    tracker.run_finished(Outcome::Success);
    recorded
}

fn everything() -> Vec<(&'static str, Reply)> {
    script([until_run(), vec![(LOG, Empty), (END_RUN, Json(run(json!({}))))]])
}

fn sync(
    recorded: &Recorded,
    process: Sighting,
    script: Vec<(&'static str, Reply)>,
) -> (SyncOutcome, Vec<Request>) {
    let server = Server::start(script);
    let synced = sync_bundle(&recorded.tracker_dir(), &connection(&server), process, TIMEOUT);
    (synced.unwrap(), server.finish())
}

fn expected_dag() -> Dag {
    let nodes = [node("orders", &[]), node("late", &["orders"])];
    Dag::of_seen("test::observed_v1".parse().unwrap(), nodes)
}

#[track_caller]
fn check_version(requests: &[Request]) {
    let version = &requests[2].body;
    let dag = expected_dag();
    assert_eq!(version["dag_hash"], dag.dag_hash(), "{version}");
    assert_eq!(version["code_hash"], dag.code_hash());
    let names: Vec<&Value> = version["nodes"].as_array().unwrap().iter().map(|node| &node["name"]).collect();
    assert_eq!(names, ["orders", "late"]);
    assert_eq!(version["nodes"][1]["dependencies"], json!(["orders"]));
}

#[test]
fn the_version_is_what_was_seen_and_goes_first() {
    let recorded = whole();
    let before = outbox_status(&recorded.tracker_dir()).unwrap();
    assert_eq!((before.ledger.produced, before.dag_name.as_deref()), (8, Some("test::observed_v1")));
    assert_eq!(before.seen.unwrap().dag(), Some(expected_dag()));
    let (outcome, requests) = sync(&recorded, Sighting::UNKNOWN, everything());
    check_version(&requests);
    assert_eq!(requests[4].body["task_updates"].as_array().unwrap().len(), 2);
    assert_eq!((outcome.ledger.delivered, outcome.ledger.waiting), (8, 0));
}

#[test]
fn a_delivery_waits_for_the_end_of_the_run_and_so_does_a_synchronisation() {
    let recorded = Recorded::new();
    let server = Server::start(everything());
    let tracker = recorded.start(Some(connection(&server)));
    begin(&recorded, &tracker);
    two_nodes(&tracker);
    // Everything before it was read, and nothing is sent.
    let ledger = tracker.flush(TIMEOUT);
    assert_eq!((ledger.delivered, ledger.waiting, ledger.dropped_total()), (0, 6, 0), "{ledger:?}");
    tracker.task_finished("late", Outcome::Success, Vec::new());
    tracker.run_finished(Outcome::Success);
    let ledger = tracker.flush(TIMEOUT);
    assert_eq!((ledger.delivered, ledger.waiting), (8, 0), "{ledger:?}");
    drop(tracker);
    check_version(&server.finish());

    let recorded = Recorded::new();
    let tracker = recorded.start(None);
    begin(&recorded, &tracker);
    two_nodes(&tracker);
    let (outcome, requests) = sync(&recorded, Sighting::UNKNOWN, Vec::new());
    assert_eq!((requests.len(), outcome.ledger.waiting, outcome.status), (0, 6, None));
}

#[test]
fn a_run_whose_process_was_killed_is_closed_with_the_nodes_that_were_seen() {
    let recorded = Recorded::new();
    let tracker = recorded.start(None);
    begin(&recorded, &tracker);
    two_nodes(&tracker);
    drop(tracker);
    let gone = Sighting { liveness: Liveness::Gone, last_seen: Some(Utc::now()) };
    let tags = (END_RUN, Json(run(json!({}))));
    let end = (END_RUN, Json(run(json!({}))));
    let (outcome, requests) = sync(&recorded, gone, script([until_run(), vec![(LOG, Empty), tags, end]]));
    assert!(outcome.closed);
    assert_eq!((outcome.status, outcome.ledger.waiting), (Some(Outcome::Failure), 0));
    check_version(&requests);
}

#[test]
fn a_delivery_that_goes_on_in_the_middle_knows_what_its_nodes_read() {
    let recorded = whole();
    let mut there = run(json!({ "run_id": recorded.run_id.to_string() }));
    there["node_runs"] = json!([]);
    let rest =
        vec![("GET /api/v1/dag_runs/7", Json(json!([there]))), (LOG, Empty), (END_RUN, Json(run(json!({}))))];
    let server = Server::start(script([until_run(), rest]));
    let connection = connection(&server);
    let sync =
        |timeout| sync_bundle(&recorded.tracker_dir(), &connection, Sighting::UNKNOWN, timeout).unwrap();
    // Until the server has the run.
    assert_eq!(sync(Duration::ZERO).ledger.delivered, 2);
    assert_eq!(sync(TIMEOUT).ledger.waiting, 0);
    let requests = server.finish();
    let tasks = requests[5].body["task_updates"].as_array().unwrap();
    let late = tasks.iter().find(|task| task["node_name"] == "late").unwrap();
    assert_eq!(late["realized_dependencies"], json!(["orders"]));
}

#[test]
fn a_line_that_has_shown_a_node_may_be_lost() {
    let recorded = whole();
    let outbox = recorded.tracker_dir().join("outbox.jsonl");
    let text = fs::read_to_string(&outbox).unwrap();
    let damaged: Vec<String> = text
        .lines()
        .map(|line| match line.contains("node_seen") && line.contains("\"orders\",\"kind\"") {
            true => line.replace("data", "date").replace("transform", "transf0rm"),
            false => line.to_owned(),
        })
        .collect();
    fs::write(&outbox, damaged.join("\n") + "\n").unwrap();
    let (outcome, requests) = sync(&recorded, Sighting::UNKNOWN, everything());
    let names: Vec<&Value> =
        requests[2].body["nodes"].as_array().unwrap().iter().map(|node| &node["name"]).collect();
    assert_eq!(names, ["orders", "late"]);
    assert_eq!((outcome.ledger.waiting, outcome.ledger.dropped_total()), (0, 1));
}

#[test]
fn the_format_has_a_version_that_earlier_ones_refuse() {
    let recorded = whole();
    let text = fs::read_to_string(recorded.tracker_dir().join("outbox.jsonl")).unwrap();
    assert_eq!(OUTBOX_VERSION, 3);
    assert!(text.lines().next().unwrap().contains("\"version\":3"));
    assert!(text.lines().nth(1).unwrap().contains(r#"{"event":"observed","dag_name":"test::observed_v1"}"#));
}
