//! The example program, run as its reader runs it.

use std::{env, path::Path, process::Command};

use daglight_run_bundle::outbox::outbox_status;
use daglight_tracker_client::{Outcome, Sighting, sync_bundle};
use serde_json::{Value, json};

use crate::{
    recorded::*,
    server::{Reply::*, Server},
};

#[test]
fn a_run_of_another_engine_waits_in_its_folder_and_is_delivered_later() {
    let recorded = Recorded::new();
    let tests = env::current_exe().unwrap();
    let program = tests.parent().and_then(Path::parent).unwrap().join("examples/own_tracker");
    let output = Command::new(program).arg(recorded.tracker_dir()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "9 produced, 0 delivered, 9 wait\n");
    let status = outbox_status(&recorded.tracker_dir()).unwrap();
    assert_eq!(
        (status.dag_name.as_deref(), status.outcome),
        (Some("sales::orders_v1"), Some(Outcome::Success))
    );

    let server = Server::start(script([until_run(), vec![(LOG, Empty), (END_RUN, Json(run(json!({}))))]]));
    let synced =
        sync_bundle(&recorded.tracker_dir(), &connection(&server), Sighting::UNKNOWN, TIMEOUT).unwrap();
    assert_eq!((synced.ledger.delivered, synced.ledger.waiting), (9, 0));
    let requests = server.finish();
    assert_eq!(requests[3].body["tags"]["region"], "north");
    let logged = requests[4].body["attributes"].as_array().unwrap();
    let rows: Vec<&Value> = logged.iter().map(|attribute| &attribute["value"]["value"]).collect();
    assert_eq!(rows, ["1000", "285"], "{logged:?}");
}
