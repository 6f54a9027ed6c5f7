//! What the delivery does if something fails on the way.

use std::{net::TcpListener, time::Duration};

use daglight_run_bundle::DeliveryCounts;
use daglight_tracker_client::Outcome;
use serde_json::{Value, json};

use crate::{
    recorded::*,
    server::{Reply, Reply::*, Request, Server},
};

type Script = Vec<(&'static str, Reply)>;

/// Delivers a run whose node has these attributes. All of it must arrive, with exactly these requests.
#[track_caller]
fn check(attributes: &[&str], script: Script) -> Vec<Request> {
    let (ledger, requests) = deliver(attributes, script);
    assert_eq!(
        (ledger.delivered, ledger.waiting, ledger.dropped_total()),
        (ledger.produced, 0, 0),
        "{ledger:?}"
    );
    assert_eq!(ledger.last_error, None);
    requests
}

#[track_caller]
fn deliver(attributes: &[&str], script: Script) -> (DeliveryCounts, Vec<Request>) {
    let server = Server::start(script);
    let recorded = Recorded::whole(attributes);
    let tracker = recorded.start(Some(connection(&server)));
    let ledger = tracker.flush(TIMEOUT);
    drop(tracker);
    (ledger, server.finish())
}

fn then(rest: Script) -> Script {
    script([until_run(), rest])
}

fn names(request: &Request) -> (Vec<&str>, Vec<&str>) {
    let of = |list: &'static str, key: &'static str| {
        request.body[list].as_array().unwrap().iter().map(|item| item[key].as_str().unwrap()).collect()
    };
    (of("task_updates", "node_name"), of("attributes", "name"))
}

#[test]
fn a_run_is_delivered_in_order_and_in_few_requests() {
    let requests = check(&["rows", "schema"], then(vec![(LOG, Empty), (END_RUN, Json(run(json!({}))))]));
    assert!(requests[0].headers.iter().any(|header| header == "x-api-user: me@example.com"));
    let run = &requests[3].body;
    assert_eq!(run["tags"]["environment"], "test");
    assert!(run["tags"]["run_id"].is_string());
    assert_eq!(run["outputs"], json!(["orders"]));
    assert_eq!(names(&requests[4]), (vec!["orders"], vec!["rows", "schema"]));
    assert_eq!(requests[4].body["task_updates"][0]["status"], "SUCCESS");
    assert_eq!(requests[5].body["run_status"], "SUCCESS");
}

#[test]
fn a_server_error_is_followed_by_a_question() {
    let requests = check(
        &["rows"],
        then(vec![
            (LOG, Status(500, "Traceback\nOperationalError: database is locked")),
            (FIND_ATTRIBUTES, Json(json!([null]))),
            (LOG, Empty),
            (END_RUN, Json(run(json!({})))),
        ]),
    );
    assert_eq!(names(&requests[6]), (vec!["orders"], vec!["rows"]));
}

#[test]
fn what_got_in_before_the_connection_broke_is_not_sent_again() {
    let requests = check(
        &["rows", "schema"],
        then(vec![
            (LOG, Close),
            (FIND_ATTRIBUTES, Json(node_with(&["rows", "schema"]))),
            (LOG, Empty),
            (END_RUN, Json(run(json!({})))),
        ]),
    );
    assert_eq!(names(&requests[6]), (vec!["orders"], vec![]));
}

#[test]
fn for_many_nodes_the_whole_run_is_asked_for() {
    let recorded = Recorded::new();
    let record = recorded.start(None);
    recorded.begin(&record);
    let nodes: Vec<String> = (0..40).map(|node| format!("n{node}")).collect();
    for node in &nodes {
        record.task_finished(node, Outcome::Success, vec![attribute("rows")]);
    }
    let there: Vec<Value> = nodes[..39]
        .iter()
        .map(|node| json!({ "node_name": node, "attributes": [{ "name": "rows" }] }))
        .collect();
    let question = "GET /api/v1/dag_runs/7?attr=dict";
    let server = Server::start(then(vec![
        (LOG, Close),
        (question, Json(json!([{ "node_runs": there }]))),
        (LOG, Empty),
    ]));
    let tracker = recorded.start(Some(connection(&server)));
    let ledger = tracker.flush(TIMEOUT);
    drop(tracker);
    assert_eq!((ledger.delivered_by_kind.attributes, ledger.waiting), (40, 0));
    let requests = server.finish();
    assert_eq!(requests[6].body["attributes"][0]["node_name"], "n39");
    assert_eq!(names(&requests[6]).1, ["rows"]);
}

#[test]
fn a_timeout_is_followed_by_a_question() {
    check(
        &["rows"],
        then(vec![
            (LOG, Hang),
            (FIND_ATTRIBUTES, Json(node_with(&["rows"]))),
            (LOG, Empty),
            (END_RUN, Json(run(json!({})))),
        ]),
    );
}

#[test]
fn a_run_is_created_once_whatever_happens_to_the_answer() {
    for answer in [Close, Truncated, Status(502, "<html>"), Json(json!("nonsense"))] {
        let server = Server::start([
            (PROJECT, Json(project())),
            (FIND_VERSION, Json(Value::Null)),
            (CREATE_VERSION, Json(version())),
            (CREATE_RUN, answer),
        ]);
        let recorded = Recorded::new();
        let tracker = recorded.start(Some(connection(&server)));
        recorded.begin(&tracker);
        server.wait();
        let address = server.url();
        server.finish();

        let tag = json!({ "run_id": recorded.run_id.to_string() });
        let listener = TcpListener::bind(address.strip_prefix("http://").unwrap()).unwrap();
        let server = Server::start_at(listener, [(FIND_RUN, Json(json!([run(json!({})), run(tag)])))]);
        let ledger = tracker.flush(TIMEOUT);
        assert_eq!((ledger.delivered, ledger.waiting), (2, 0));
        assert_eq!(tracker.link().unwrap().dag_run_id, 7);
        drop(tracker);
        server.finish();
    }
}

#[test]
fn a_version_that_another_process_creates_at_the_same_moment_is_found() {
    check(
        &[],
        vec![
            (PROJECT, Json(project())),
            (FIND_VERSION, Json(Value::Null)),
            (CREATE_VERSION, Status(500, "IntegrityError: UNIQUE constraint failed")),
            (FIND_VERSION, Json(version())),
            (FIND_RUN, Json(json!([]))),
            (CREATE_RUN, Json(run(json!({})))),
            (LOG, Empty),
            (END_RUN, Json(run(json!({})))),
        ],
    );
}

#[test]
fn a_server_that_is_slow_with_a_version_is_not_given_up() {
    let requests = check(
        &["rows"],
        vec![
            (PROJECT, Json(project())),
            (FIND_VERSION, Json(Value::Null)),
            (CREATE_VERSION, Hang),
            (FIND_VERSION, Json(version())),
            (FIND_RUN, Json(json!([]))),
            (CREATE_RUN, Json(run(json!({})))),
            (LOG, Empty),
            (END_RUN, Json(run(json!({})))),
        ],
    );
    assert_eq!(names(&requests[6]), (vec!["orders"], vec!["rows"]));
}

#[test]
fn one_refused_attribute_does_not_hold_back_the_rest() {
    let no = Status(422, r#"{"detail": "value is too strange"}"#);
    let (ledger, requests) = deliver(
        &["rows", "strange", "schema"],
        then(vec![
            (LOG, no.clone()),
            (LOG, Empty),
            (LOG, no.clone()),
            (LOG, Empty),
            (LOG, no.clone()),
            (LOG, no),
            (LOG, Empty),
            (END_RUN, Json(run(json!({})))),
        ]),
    );
    let sent: Vec<_> = requests[4..11].iter().map(names).collect();
    assert_eq!(sent[1], (vec!["orders"], vec![]));
    assert_eq!(
        (sent[3].1.clone(), sent[5].1.clone(), sent[6].1.clone()),
        (vec!["rows"], vec!["strange"], vec!["schema"])
    );
    assert_eq!(ledger.waiting, 0);
    assert_eq!(ledger.dropped, [("attribute refused by the server".to_owned(), 1)].into());
}

#[test]
fn an_attribute_that_makes_the_server_fail_is_given_up_after_repeated_failures() {
    let no = || (LOG, Status(500, "DataError: bad"));
    let none = || (FIND_ATTRIBUTES, Json(json!([null])));
    let probe = || (LOG, Empty);
    let (ledger, requests) = deliver(
        &["bad"],
        then(vec![
            no(),
            none(),
            no(),
            probe(),
            (LOG, Empty),
            no(),
            none(),
            no(),
            none(),
            no(),
            probe(),
            (END_RUN, Json(run(json!({})))),
        ]),
    );
    assert_eq!(names(&requests[8]), (vec!["orders"], vec![]));
    assert_eq!(names(&requests[14]), (vec!["orders"], vec![]));
    assert_eq!((ledger.waiting, ledger.dropped_total()), (0, 1));
}

#[test]
fn a_refusal_ends_the_delivery_with_a_remedy() {
    let home = ("GET /api/v1/phone_home", Json(json!({ "success": true, "message": "" })));
    let refused = (PROJECT, Status(404, r#"{"detail": "no project 1"}"#));
    let (ledger, _) = deliver(&["rows"], vec![refused, home]);
    assert_eq!((ledger.delivered, ledger.waiting), (0, ledger.produced));
    let error = ledger.last_error.unwrap();
    assert!(error.contains("no project 1") && error.contains("/dashboard/projects"), "{error}");
}

#[test]
fn a_server_of_another_kind_ends_the_delivery_with_what_was_expected() {
    let page = |path| (path, Status(404, "<h1>Not Found</h1>"));
    let (ledger, _) = deliver(&["rows"], vec![page(PROJECT), page("GET /api/v1/phone_home")]);
    assert_eq!((ledger.delivered, ledger.waiting), (0, ledger.produced));
    let error = ledger.last_error.unwrap();
    assert!(error.contains("is not a Hamilton server") && error.contains("HAMILTON_API_URL"), "{error}");
}

#[test]
fn a_server_that_comes_back_gets_everything() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);

    let recorded = Recorded::whole(&["rows"]);
    let tracker = recorded.start(Some(connection_to(&format!("http://{address}"))));
    let ledger = tracker.flush(TIMEOUT);
    assert_eq!((ledger.delivered, ledger.waiting), (0, 6));
    assert!(ledger.last_error.unwrap().contains("no connection"));

    let server = Server::start_at(
        TcpListener::bind(address).unwrap(),
        then(vec![(LOG, Empty), (END_RUN, Json(run(json!({}))))]),
    );
    server.wait();
    let ledger = tracker.flush(TIMEOUT);
    assert_eq!((ledger.delivered, ledger.waiting, ledger.last_error), (6, 0, None));
    drop(tracker);
    server.finish();
}

#[test]
fn a_long_run_is_seen_while_it_goes_on() {
    let server = Server::start(then(vec![(LOG, Empty)]));
    let recorded = Recorded::new();
    let tracker = recorded.start(Some(connection(&server)));
    recorded.begin(&tracker);
    tracker.task_started("orders");
    server.wait();
    drop(tracker);
    let requests = server.finish();
    assert_eq!(requests[4].body["task_updates"][0]["status"], "RUNNING");
}

#[test]
fn a_failed_node_keeps_its_status() {
    let server = Server::start(then(vec![(LOG, Empty), (END_RUN, Json(run(json!({}))))]));
    let recorded = Recorded::new();
    let record = recorded.start(None);
    recorded.begin(&record);
    record.task_finished("orders", Outcome::Failure, vec![attribute("rows"), attribute("rows")]);
    record.run_finished(Outcome::Failure);
    let tracker = recorded.start(Some(connection(&server)));
    assert_eq!(tracker.flush(TIMEOUT).waiting, 0);
    drop(tracker);
    let requests = server.finish();
    assert_eq!(requests[4].body["task_updates"][0]["status"], "FAILURE");
    assert_eq!(names(&requests[4]).1, ["rows", "rows_2"]);
    assert_eq!(requests[5].body["run_status"], "FAILURE");
}

#[test]
fn flushing_does_not_block_a_runtime() {
    let server = Server::start(then(vec![(LOG, Empty), (END_RUN, Json(run(json!({}))))]));
    let recorded = Recorded::whole(&[]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let ledger = runtime.block_on(async {
        let tracker = recorded.start(Some(connection(&server)));
        let flush = tracker.flush_async(TIMEOUT);
        let ticks = async {
            loop {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! { ledger = flush => ledger, () = ticks => unreachable!() }
    });
    assert_eq!(ledger.waiting, 0);
    server.finish();
}

#[test]
fn a_step_is_kept_when_the_question_after_a_404_fails_too() {
    let question = "GET /api/v1/dag_runs/7";
    let recorded = Recorded::whole(&["rows"]);
    let mut there = run(json!({ "run_id": recorded.run_id.to_string() }));
    there["node_runs"] = json!([]);
    let server = Server::start(then(vec![
        (LOG, Empty),
        (END_RUN, Status(404, "{}")),
        (question, Status(503, "")),
        (question, Json(json!([there]))),
        (END_RUN, Json(run(json!({})))),
    ]));
    let tracker = recorded.start(Some(connection(&server)));
    server.wait();
    let ledger = tracker.flush(TIMEOUT);
    drop(tracker);
    assert_eq!((ledger.delivered, ledger.waiting), (ledger.produced, 0), "{ledger:?}");
    server.finish();
}
