//! An outbox written in the first version of the format, which all later versions must read.

use std::fs;

use daglight_run_bundle::{ItemsByKind, outbox::outbox_status};
use daglight_tracker_client::{Outcome, Sighting, sync_bundle};
use serde_json::{Value, json};

use crate::{recorded::*, server::Reply::*, server::Server};

/// One record of each kind, including attributes of several kinds. Never regenerate it.
const VERSION_1: &[u8] = include_bytes!("outbox_v1.jsonl");

#[test]
fn the_first_version_is_read_and_delivered() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("outbox.jsonl"), VERSION_1).unwrap();
    let status = outbox_status(folder.path()).unwrap();
    assert_eq!(
        (status.dag_name.as_deref(), status.outcome),
        (Some("shop::orders_v1"), Some(Outcome::Failure))
    );
    let outcomes: Vec<_> = status.nodes.values().map(|node| node.outcome).collect();
    assert_eq!(outcomes, [Some(Outcome::Success), Some(Outcome::Failure)]);

    let server = Server::start(script([
        until_run(),
        vec![(LOG, Empty), (END_RUN, Json(run(json!({})))), (END_RUN, Json(run(json!({}))))],
    ]));
    let outcome = sync_bundle(folder.path(), &connection(&server), Sighting::UNKNOWN, TIMEOUT).unwrap();
    let counts = ItemsByKind { versions: 1, runs: 1, task_updates: 4, attributes: 3, tags: 1, ends: 1 };
    assert_eq!((outcome.ledger.delivered_by_kind, outcome.ledger.waiting), (counts, 0));
    let requests = server.finish();
    let version = &requests[2].body;
    assert_eq!(version["nodes"][1]["documentation"], "Orders likely to be late");
    assert_eq!(
        version["code_log"]["files"][0]["contents"],
        "CREATE VIEW risk AS\nSELECT 'größe' FROM orders;\n"
    );
    let attributes = requests[4].body["attributes"].as_array().unwrap();
    let values: Vec<&Value> = attributes.iter().map(|attribute| &attribute["value"]).collect();
    let facts = json!({ "type": "dict", "value": { "path": "out/größe.parquet" } });
    let error = json!({ "stack_trace": ["Divide by zero"] });
    assert_eq!(values, [&json!({ "type": "number", "value": "3" }), &facts, &error]);
}
