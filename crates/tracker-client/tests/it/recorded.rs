//! A small run, and the responses of a server about it.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use daglight_capture_policy::{Policy, Profile};
use daglight_run_bundle::Durability;
use daglight_run_identity::{Dag, RunId};
use daglight_tracker_client::{
    Attribute, AttributeKind, AttributeRole, Connection, Outcome, ProjectRef, Tracker,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::server::{Reply, Reply::Json, Server};

pub(crate) const PROJECT: &str = "GET /api/v1/projects/1";
pub(crate) const FIND_VERSION: &str = "GET /api/v1/dag_templates/exists/?project_id=1&dag_hash=";
pub(crate) const CREATE_VERSION: &str = "POST /api/v1/dag_templates?project_id=1";
pub(crate) const FIND_RUN: &str = "GET /api/v1/dag_runs/latest/?dag_template_id=5&limit=100&offset=0";
pub(crate) const CREATE_RUN: &str = "POST /api/v1/dag_runs?dag_template_id=5";
pub(crate) const LOG: &str = "PUT /api/v1/dag_runs_bulk?dag_run_id=7";
pub(crate) const FIND_ATTRIBUTES: &str = "GET /api/v1/node_runs/by_run_ids/7?node_name=orders";
pub(crate) const END_RUN: &str = "PUT /api/v1/dag_runs/7/";

/// Enough for every pause in these tests; it never elapses if everything works.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);

/// A folder, and a run in it that can be recorded at any time.
pub(crate) struct Recorded {
    pub(crate) bundle: TempDir,
    pub(crate) run_id: RunId,
}

impl Recorded {
    pub(crate) fn new() -> Self {
        Self { bundle: tempfile::tempdir().unwrap(), run_id: RunId::new() }
    }

    pub(crate) fn tracker_dir(&self) -> PathBuf {
        self.bundle.path().join("tracker")
    }

    pub(crate) fn start(&self, connection: Option<Connection>) -> Tracker {
        Tracker::start(&self.tracker_dir(), Durability::Process, connection)
    }

    pub(crate) fn begin(&self, tracker: &Tracker) {
        let dag = Dag::builder("test::faults_v1").unwrap().loader("orders").build().unwrap();
        let tags = BTreeMap::from([("environment".to_owned(), "test".to_owned())]);
        tracker.run_started(&dag, self.run_id, tags);
    }

    /// One node with these attributes, and the end.
    pub(crate) fn complete(&self, tracker: &Tracker, attributes: &[&str]) {
        tracker.task_started("orders");
        tracker.task_finished(
            "orders",
            Outcome::Success,
            attributes.iter().map(|name| attribute(name)).collect(),
        );
        tracker.run_finished(Outcome::Success);
    }

    /// Records a whole run without a server.
    pub(crate) fn whole(attributes: &[&str]) -> Self {
        let recorded = Self::new();
        let tracker = recorded.start(None);
        recorded.begin(&tracker);
        recorded.complete(&tracker, attributes);
        recorded
    }
}

pub(crate) fn attribute(name: &str) -> Attribute {
    let value = Policy::of_profile(Profile::Dev).capture(json!({ "rows": 3 }));
    Attribute::new(name, AttributeKind::Dict, AttributeRole::ResultSummary, value)
}

pub(crate) fn connection(server: &Server) -> Connection {
    connection_to(&server.url())
}

pub(crate) fn connection_to(url: &str) -> Connection {
    Connection::new(url, "me@example.com", ProjectRef::Id(1))
        .unwrap()
        .with_timeouts(Duration::from_secs(1), Duration::from_millis(400))
}

pub(crate) fn project() -> Value {
    json!({
        "id": 1, "name": "p", "description": "", "tags": {}, "role": "write", "attributes": [],
        "visibility": {"users_visible": [], "users_writable": [], "teams_visible": [], "teams_writable": []},
        "created_at": "2026-11-21T08:00:00Z", "updated_at": "2026-11-21T08:00:00Z"
    })
}

pub(crate) fn version() -> Value {
    json!({
        "id": 5, "project": null, "name": "test::faults_v1", "template_type": "HAMILTON", "config": {}, "tags": {},
        "dag_hash": "a", "code_hash": "b", "code_version_info_type": "ad_hoc", "code_log_store": "local",
        "created_at": "2026-11-21T08:00:00Z", "updated_at": "2026-11-21T08:00:00Z"
    })
}

pub(crate) fn run(tags: Value) -> Value {
    json!({
        "id": 7, "dag_template_id": 5, "run_status": "RUNNING", "tags": tags, "inputs": {}, "outputs": [],
        "created_at": "2026-11-21T08:00:00Z", "updated_at": "2026-11-21T08:00:00Z"
    })
}

pub(crate) fn node_with(attributes: &[&str]) -> Value {
    let attributes: Vec<Value> = attributes.iter().map(|name| json!({ "name": name, "value": {} })).collect();
    json!([{ "node_name": "orders", "attributes": attributes }])
}

/// The requests until the server knows a new version and its first run.
pub(crate) fn until_run() -> Vec<(&'static str, Reply)> {
    vec![
        (PROJECT, Json(project())),
        (FIND_VERSION, Json(Value::Null)),
        (CREATE_VERSION, Json(version())),
        (CREATE_RUN, Json(run(json!({})))),
    ]
}

pub(crate) fn script(parts: [Vec<(&'static str, Reply)>; 2]) -> Vec<(&'static str, Reply)> {
    parts.into_iter().flatten().collect()
}
