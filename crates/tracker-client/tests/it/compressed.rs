//! Servers that support compressed requests, and those that do not.

use daglight_run_bundle::DeliveryCounts;
use serde_json::{Value, json};

use crate::{
    recorded::*,
    server::{Reply, Reply::*, Request, Server},
};

/// Enough to make compressing the request worthwhile.
const ATTRIBUTES: usize = 400;

/// Delivers a run of one large node to a server that supports compressed requests, and returns the requests from the node on.
#[track_caller]
fn deliver(log: Vec<(&'static str, Reply)>) -> (DeliveryCounts, Vec<Request>) {
    let names: Vec<String> = (0..ATTRIBUTES).map(|number| format!("attribute_{number}")).collect();
    let recorded = Recorded::whole(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let start = vec![
        (PROJECT, JsonTakingGzip(project())),
        (FIND_VERSION, Json(Value::Null)),
        (CREATE_VERSION, Json(version())),
        (CREATE_RUN, Json(run(json!({})))),
    ];
    let server = Server::start([start, log, vec![(END_RUN, Json(run(json!({}))))]].concat());
    let tracker = recorded.start(Some(connection(&server)));
    let ledger = tracker.flush(TIMEOUT);
    drop(tracker);
    assert_eq!((ledger.delivered, ledger.waiting), (ledger.produced, 0), "{ledger:?}");
    let mut requests = server.finish();
    assert!(requests.drain(..4).all(|request| !is_compressed(&request)), "they are small");
    (ledger, requests)
}

fn is_compressed(request: &Request) -> bool {
    request.headers.iter().any(|header| header == "content-encoding: gzip")
}

#[track_caller]
fn check_log(request: &Request, compressed: bool) {
    assert_eq!(is_compressed(request), compressed);
    assert_eq!(request.body["attributes"].as_array().map(Vec::len), Some(ATTRIBUTES));
}

#[test]
fn large_requests_are_compressed_for_a_server_that_says_so() {
    let (_, requests) = deliver(vec![(LOG, Empty)]);
    check_log(&requests[0], true);
    assert!(!is_compressed(&requests[1]));
}

#[test]
fn a_server_that_does_not_take_them_after_all_gets_the_same_once_more_as_it_is() {
    for status in [400, 415] {
        let (ledger, requests) = deliver(vec![(LOG, Status(status, "")), (LOG, Empty)]);
        check_log(&requests[0], true);
        check_log(&requests[1], false);
        assert_eq!(ledger.delivered_by_kind.attributes, ATTRIBUTES as u64);
    }
}

#[test]
fn what_a_compressed_request_has_done_is_found_out_as_always() {
    let names: Vec<String> = (0..ATTRIBUTES).map(|number| format!("attribute_{number}")).collect();
    let there = node_with(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let (_, requests) = deliver(vec![(LOG, Close), (FIND_ATTRIBUTES, Json(there)), (LOG, Empty)]);
    check_log(&requests[0], true);
    assert_eq!(requests[2].body["attributes"], json!([]));
}
