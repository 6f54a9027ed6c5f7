//! One outbox, several servers: each gets what it lacks, whichever was the last.

use daglight_tracker_client::{Outcome, Sighting, SyncOutcome, sync_bundle};
use serde_json::{Value, json};

use crate::{
    recorded::*,
    server::{Reply, Reply::*, Request, Server},
};

const RUN: &str = "GET /api/v1/dag_runs/7";

/// The run as a server has it.
fn on_server(recorded: &Recorded) -> Value {
    let mut run = run(json!({ "run_id": recorded.run_id.to_string() }));
    run["node_runs"] = json!([{ "node_name": "orders", "status": "RUNNING", "attributes": [] }]);
    json!([run])
}

fn end() -> (&'static str, Reply) {
    (END_RUN, Json(run(json!({}))))
}

/// A server that goes away and comes back at the same address.
struct Place(String);

impl Place {
    fn new() -> Self {
        let server = Server::start([]);
        let address = server.url().strip_prefix("http://").unwrap().to_owned();
        server.finish();
        Self(address)
    }

    #[track_caller]
    fn sync(&self, recorded: &Recorded, script: Vec<(&'static str, Reply)>) -> (SyncOutcome, Vec<Request>) {
        let server = Server::start_at(std::net::TcpListener::bind(&self.0).unwrap(), script);
        let connection = connection(&server);
        let synced = sync_bundle(&recorded.tracker_dir(), &connection, Sighting::UNKNOWN, TIMEOUT);
        (synced.unwrap(), server.finish())
    }
}

#[test]
fn a_server_that_had_a_part_of_a_run_gets_the_rest_after_another_one_got_it_all() {
    let (one, other) = (Place::new(), Place::new());
    let recorded = Recorded::new();
    let tracker = recorded.start(None);
    recorded.begin(&tracker);
    tracker.task_started("orders");
    let (begun, _) = one.sync(&recorded, script([until_run(), vec![(LOG, Empty)]]));
    assert_eq!((begun.delivered, begun.status), (3, None));

    tracker.task_finished("orders", Outcome::Success, vec![attribute("rows")]);
    tracker.run_finished(Outcome::Success);
    drop(tracker);
    let all = script([until_run(), vec![(LOG, Empty), end()]]);
    let (elsewhere, _) = other.sync(&recorded, all);
    assert_eq!((elsewhere.delivered, elsewhere.ledger.waiting), (6, 0));

    // It is asked whether it still has the run, and gets only what it lacks.
    let (back, requests) = one.sync(&recorded, vec![(RUN, Json(on_server(&recorded))), (LOG, Empty), end()]);
    assert_eq!((back.delivered, back.ledger.waiting, back.status), (3, 0, Some(Outcome::Success)));
    assert_eq!(requests[1].body["task_updates"].as_array().unwrap().len(), 1);
    assert_eq!(requests[2].body["run_status"], "SUCCESS");

    // Both have everything now.
    for place in [&other, &one, &other] {
        let (again, _) = place.sync(&recorded, vec![]);
        assert_eq!((again.delivered, again.ledger.waiting, again.status), (0, 0, Some(Outcome::Success)));
    }
}
