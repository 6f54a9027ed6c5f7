//! The tracker on its own: the work of another engine becomes a run in the Hamilton UI. Without a server it waits in the folder.
//!
//! `cargo run -p daglight-tracker-client --example own_tracker -- FOLDER`

use std::{collections::BTreeMap, env, error::Error, path::PathBuf, time::Duration};

use daglight_capture_policy::{Policy, Profile};
use daglight_run_bundle::Durability;
use daglight_run_identity::{Dag, RunId};
use daglight_tracker_client::{
    Attribute, AttributeKind, AttributeRole, Connection, Outcome, ProjectRef, Tracker,
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("which folder? give it as the argument")?);
    // The address of a server, if there is one.
    let server = arguments.next();
    let connect = |url: String| Connection::new(&url, "me@example.com", ProjectRef::Id(1));
    let connection = server.map(connect).transpose()?;

    let dag = Dag::builder("sales::orders_v1")?.loader("orders").transform("late", ["orders"]).build()?;
    let tracker = Tracker::start(&folder, Durability::Process, connection);
    tracker.run_started(&dag, RunId::new(), BTreeMap::from([("region".into(), "north".into())]));
    let policy = Policy::of_profile(Profile::Dev);
    for (node, rows) in [("orders", 1_000), ("late", 285)] {
        tracker.task_started(node);
        let rows = policy.capture(rows);
        let rows = Attribute::new("rows", AttributeKind::Primitive, AttributeRole::ResultSummary, rows);
        tracker.task_finished(node, Outcome::Success, vec![rows]);
    }
    tracker.run_finished(Outcome::Success);
    let ledger = tracker.flush(Duration::from_secs(10));
    println!("{} produced, {} delivered, {} wait", ledger.produced, ledger.delivered, ledger.waiting);
    Ok(())
}
