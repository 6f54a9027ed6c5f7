//! The crate as its users see it: a run records, a receiver answers, a later process delivers the rest.
#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

mod delivered;
mod events;
mod other_reader;
mod receiver;

use std::{sync::LazyLock, time::Duration};

use chrono::{DateTime, Utc};
use daglight_capture_policy::{Captured, Policy, Profile, Secret};
use daglight_openlineage::{Ending, ErrorFacts, LineageRun, NodeFacts, RunFacts, Target};
use daglight_run_bundle::{Bundle, DeliveryCounts, LedgerDestination, LedgerSignal};
use daglight_run_identity::RunId;
use daglight_settings::OpenLineageSettings;
use serde_json::Value;

const NAMESPACE: &str = "shop";

/// A time, in seconds.
fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000 + seconds, 0).unwrap()
}

fn captured(text: &str) -> Captured {
    Policy::of_profile(Profile::Dev).capture(text)
}

/// The run of the bundles and of their events.
static RUN_ID: LazyLock<RunId> = LazyLock::new(RunId::new);

fn bundle() -> (tempfile::TempDir, Bundle) {
    let out = tempfile::tempdir().unwrap();
    let bundle = Bundle::create(out.path(), *RUN_ID).unwrap();
    (out, bundle)
}

fn target(change: impl FnOnce(&mut OpenLineageSettings)) -> Target {
    let mut settings = OpenLineageSettings::of_profile(Profile::Dev);
    change(&mut settings);
    Target::from_settings(&settings).unwrap().unwrap()
}

/// A receiver at that address, with a key and half a second for each request.
fn at_url(url: &str) -> Target {
    target(|settings| {
        settings.url = Some(url.to_owned());
        settings.api_key = Some(Secret::new("sesame-17"));
        settings.timeout_seconds = 0.5;
    })
}

fn run_facts() -> RunFacts {
    RunFacts {
        run_id: *RUN_ID,
        dag: "sales::daily_v1".to_owned(),
        namespace: NAMESPACE.to_owned(),
        parent: None,
        root: None,
        nominal_time: None,
        engine_version: "55.2.0".to_owned(),
        source: None,
        owner: None,
    }
}

fn node_facts(name: &str) -> NodeFacts {
    NodeFacts {
        run_id: RunId::new(),
        name: name.to_owned(),
        sql: Some(captured("SELECT 1")),
        documentation: None,
        path: None,
    }
}

fn failure() -> Ending {
    Ending::Fail(ErrorFacts { message: captured("no such column"), stack: None })
}

/// A run of one node, which makes four events.
fn run_of_one_node(run: &LineageRun) {
    run.run_started(at(0)).unwrap();
    let node = node_facts("orders");
    run.node_started(&node, at(1)).unwrap();
    run.node_ended(&node, at(2), &Ending::Complete, Vec::new(), Vec::new()).unwrap();
    run.run_ended(at(3), &Ending::Complete).unwrap();
}

/// The counts towards the destination.
fn counts(run: &LineageRun) -> DeliveryCounts {
    let accounts = run.accounts();
    let account = accounts.iter().find(|account| account.destination == LedgerDestination::OpenLineage);
    let account = account.unwrap().clone();
    assert_eq!(account.signal, LedgerSignal::Lineage);
    assert!(account.ledger.is_balanced(), "{account:?}");
    account.ledger
}

fn events_of(bundle: &Bundle) -> Vec<Value> {
    let text = std::fs::read_to_string(bundle.lineage_events()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["eventType"].as_str().unwrap()).collect()
}

const FLUSH: Duration = Duration::from_secs(20);
