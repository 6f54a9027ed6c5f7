//! The Hamilton UI on PostgreSQL, which has limits that SQLite does not.

use std::{collections::BTreeMap, time::Duration};

use daglight_capture_policy::{Policy, Profile};
use daglight_run_bundle::Durability;
use daglight_run_identity::{Code, Dag, RunId};
use daglight_system_tests::TrackingServer;
use daglight_tracker_client::{
    Attribute, AttributeKind, AttributeRole, Connection, Outcome, ProjectRef, Tracker,
};
use dev_services::USER;
use serde_json::{Value, json};

use crate::{
    faults::{commit_late, refuse_the_user, restart_in_the_middle, spoil_requests, start_without_server},
    processes::register_one_version_together,
};

const WAIT_LIMIT: Duration = Duration::from_secs(60);

#[test]
fn everything_is_on_a_server_with_postgresql_once_whatever_happens() {
    let mut server = TrackingServer::on_postgres();
    spoil_requests(&server);
    commit_late(&server);
    start_without_server(&server);
    refuse_the_user(&server);
    register_one_version_together(&server, 2);
    nothing_is_too_long_or_strange(&server);
    restart_in_the_middle(&mut server);
}

/// Names, texts and numbers beyond what the columns take are made to fit, and nothing is refused.
fn nothing_is_too_long_or_strange(server: &TrackingServer) {
    let project = server.project("limits");
    let bundle = tempfile::tempdir().expect("a folder");
    let connection = Connection::new(server.url(), USER, ProjectRef::Id(project)).expect("an address");
    let tracker = Tracker::start(bundle.path(), Durability::Process, Some(connection));

    let long = |letter: &str| letter.repeat(400);
    let names =
        [long("a"), format!("{}b", long("a")), long("ä"), "nul\0nul".to_owned(), "🦀 \"'\\%/?&#".to_owned()];
    let code = Code {
        path: long("path/"),
        first_line: 1,
        last_line: 2,
        text: "SELECT '\0'\nFROM t".to_owned(),
        normalized: "SELECT ?".to_owned(),
    };
    let dag = Dag::builder("limits::strange_v1").expect("a name");
    let dag = names.iter().fold(dag, |dag, name| {
        let node = dag.loader(name).documentation(long("doc\0")).tag(long("k\0"), long("v\0"));
        node.output_type(long("type\0")).code(code.clone()).end()
    });
    let dag = dag.build().expect("nodes of different names");
    let tags = BTreeMap::from([(long("k\0"), long("v\0"))]);
    tracker.run_started(&dag, RunId::new(), tags.clone());

    let policy = Policy::of_profile(Profile::Dev);
    let strange = json!({
        "nul\0": "\0", "big": u64::MAX, "small": i64::MIN, "float": 1e308, "tiny": 5e-324, "list": [null, true, "\u{7f}\u{1}"],
        "emoji": "🦀", "not a character": "\u{ffff}", "empty": "",
    });
    let kinds = [
        AttributeKind::Primitive,
        AttributeKind::Dict,
        AttributeKind::Schema,
        AttributeKind::DagworksDescribe,
        AttributeKind::Error,
        AttributeKind::Html,
    ];
    for name in &names {
        tracker.task_started(name);
        let attributes = kinds.map(|kind| {
            let value = policy.capture(strange.clone());
            Attribute::new(long("attribute\0"), kind, AttributeRole::ResultSummary, value)
        });
        tracker.task_finished(name, Outcome::Success, attributes.into());
    }
    tracker.tags_upserted(tags);
    tracker.run_finished(Outcome::Success);
    let ledger = tracker.flush(WAIT_LIMIT);
    assert_eq!((ledger.waiting, ledger.dropped_total()), (0, 0), "{ledger:?}");

    let runs = server.list(&format!("dag_runs/latest/?project_id={project}"));
    assert_eq!((runs.len(), &runs[0]["run_status"]), (1, &json!("SUCCESS")));
    let run =
        server.list(&format!("dag_runs/{}?attr=primitive&attr=dict&attr=error", runs[0]["id"])).remove(0);
    let nodes = run["node_runs"].as_array().expect("a list");
    assert_eq!(nodes.len(), names.len(), "{run:#}");
    let version = server.list(&format!("dag_templates/{}", run["dag_template"])).remove(0);
    let node_names = |list: &Value| -> Vec<String> {
        let mut names: Vec<String> = list
            .as_array()
            .expect("a list")
            .iter()
            .map(|node| node["node_name"].as_str().or(node["name"].as_str()).expect("a name").to_owned())
            .collect();
        names.sort();
        names
    };
    assert_eq!(node_names(&run["node_runs"]), node_names(&version["nodes"]), "the page joins them by name");
    for node in nodes {
        let attributes = node["attributes"].as_array().expect("a list");
        assert!(attributes.len() >= 3, "{node:#}");
        for attribute in attributes {
            let name = attribute["name"].as_str().expect("a name");
            assert!(name.chars().count() <= 63 && name.starts_with("attribute\u{fffd}"), "{name}");
        }
    }
}
