//! A synthetic run, and the check that a tracking server has all of it exactly once.

use std::collections::{BTreeMap, BTreeSet};

use daglight_capture_policy::{Policy, Profile};
use daglight_run_bundle::DeliveryCounts;
use daglight_run_identity::{Dag, RunId};
use daglight_tracker_client::{Attribute, AttributeKind, AttributeRole, Outcome, Tracker};
use serde_json::{Value, json};

use crate::TrackingServer;

/// A run of a chain of nodes, `n0`, `n1`, ..., each with three attributes; one in seven fails.
#[derive(Debug)]
pub struct Sample {
    dag: Dag,
    run_id: RunId,
    nodes: usize,
}

/// How far a sample was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// Nodes that began.
    pub started: usize,
    /// Nodes that ended; those that began and did not end are to be closed as failures.
    pub finished: usize,
    /// Whether the run ended by itself, after its tags were changed.
    pub ended: bool,
}

impl Sample {
    /// A run of that pipeline.
    ///
    /// # Panics
    /// When that is not a valid name of a pipeline.
    pub fn new(dag_name: &str, nodes: usize, run_id: RunId) -> Self {
        let dag = Dag::builder(dag_name).expect("a name");
        let dag =
            (1..nodes).fold(dag.loader(name(0)), |dag, node| dag.transform(name(node), [name(node - 1)]));
        Self { dag: dag.build().expect("a chain is a DAG"), run_id, nodes }
    }

    /// How many nodes it has.
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// All of it.
    pub fn whole(&self) -> Recorded {
        Recorded { started: self.nodes, finished: self.nodes, ended: true }
    }

    /// Records its start.
    pub fn begin(&self, tracker: &Tracker) {
        tracker.run_started(&self.dag, self.run_id, BTreeMap::from([("stage".into(), "early".into())]));
    }

    /// Records the start of a node.
    pub fn start(&self, tracker: &Tracker, node: usize) {
        tracker.task_started(&name(node));
    }

    /// Records the end of a node.
    pub fn finish(&self, tracker: &Tracker, node: usize) {
        let policy = Policy::of_profile(Profile::Dev);
        let attributes = attributes(node).map(|(name, kind, value)| {
            Attribute::new(name, kind, AttributeRole::ResultSummary, policy.capture(value))
        });
        tracker.task_finished(&name(node), outcome(node), attributes.into());
    }

    /// Records other tags, and its end.
    pub fn end(&self, tracker: &Tracker) {
        tracker
            .tags_upserted(BTreeMap::from([("stage".into(), "late".into()), ("more".into(), "yes".into())]));
        tracker.run_finished(Outcome::Success);
    }

    /// Checks that the server has the run once, with at least what was `recorded`; and of a run that ended, nothing
    /// else. The ledger must agree with what the server has.
    ///
    /// # Panics
    /// When something is missing, wrong, or there twice.
    pub fn check(&self, server: &TrackingServer, project: i64, recorded: Recorded, ledger: &DeliveryCounts) {
        assert_eq!(self.duplicates(server, project), 0, "runs with the run id of {}", self.dag.name());
        self.check_run(server, project, recorded, ledger);
    }

    /// How many runs with the run id of this one there are beside it.
    pub fn duplicates(&self, server: &TrackingServer, project: i64) -> usize {
        self.runs(server, project).len().saturating_sub(1)
    }

    /// The status of each run with the run id of this one.
    pub fn statuses(&self, server: &TrackingServer, project: i64) -> Vec<String> {
        self.runs(server, project).iter().map(|run| text(run, "run_status").to_owned()).collect()
    }

    fn runs(&self, server: &TrackingServer, project: i64) -> Vec<Value> {
        let run_id = self.run_id.to_string();
        let runs = server.list(&format!("dag_runs/latest/?project_id={project}&limit=1000"));
        runs.into_iter().filter(|run| run["tags"]["run_id"] == run_id).collect()
    }

    /// As [`Sample::check`], where a server has made other runs of requests that it carried out late: they have ended as
    /// failures, and say what they are.
    ///
    /// # Panics
    /// When something is missing, wrong, or there twice.
    pub fn check_run(
        &self,
        server: &TrackingServer,
        project: i64,
        recorded: Recorded,
        ledger: &DeliveryCounts,
    ) {
        let dag_name = self.dag.name().as_str();
        let versions = server.list(&format!("dag_templates/latest/?project_id={project}&limit=1000"));
        let own = versions.iter().filter(|version| version["name"] == dag_name).count();
        assert_eq!(own, 1, "versions of {dag_name}");

        let runs = self.runs(server, project);
        let is_duplicate = |run: &&Value| run["tags"]["daglight.duplicate_of"].is_string();
        let (duplicates, own): (Vec<&Value>, Vec<&Value>) = runs.iter().partition(is_duplicate);
        for duplicate in duplicates {
            assert_eq!(duplicate["run_status"], "FAILURE", "{duplicate:#}");
            assert_eq!(duplicate["tags"]["daglight.duplicate_of"], own[0]["id"].to_string());
        }
        let [run] = own[..] else { panic!("{} runs with the run id of {dag_name}", own.len()) };
        let (status, stage) = if recorded.ended { ("SUCCESS", "late") } else { ("FAILURE", "early") };
        assert_eq!(
            (&run["run_status"], &run["tags"]["stage"]),
            (&json!(status), &json!(stage)),
            "{dag_name}"
        );
        assert!(run["run_start_time"].is_string() && run["run_end_time"].is_string(), "{run}");

        let types = ["primitive", "dict", "schema", "error"].map(|name| format!("attr={name}")).join("&");
        let run = server.list(&format!("dag_runs/{}?{types}", run["id"])).remove(0);
        let nodes = run["node_runs"].as_array().expect("a list");
        let names: BTreeSet<&str> = nodes.iter().map(|node| text(node, "node_name")).collect();
        assert_eq!(names.len(), nodes.len(), "{dag_name}: a node is there twice");
        for node in 0..recorded.started {
            assert!(names.contains(&*name(node)), "{dag_name}: {} is missing", name(node));
        }
        let mut attributes_there = 0;
        for found in nodes {
            let node = text(found, "node_name").strip_prefix('n').and_then(|number| number.parse().ok());
            let node =
                node.filter(|node| *node < self.nodes).unwrap_or_else(|| panic!("{dag_name}: {found}"));
            attributes_there += check_node(found, node, recorded.finished > node);
        }
        // A kill in the middle of a write leaves a piece of a line, of which nobody was told that it is recorded.
        let torn = ledger.dropped.get("unreadable line of the outbox").copied().unwrap_or_default();
        assert!(torn <= u64::from(!recorded.ended), "{dag_name}: {ledger:?}");
        assert_eq!((ledger.waiting, ledger.dropped_total()), (0, torn), "{dag_name}: {ledger:?}");
        let counts = ledger.delivered_by_kind;
        assert_eq!((counts.versions, counts.runs, counts.ends), (1, 1, 1), "{dag_name}: {ledger:?}");
        assert_eq!(counts.attributes, attributes_there, "{dag_name}: {ledger:?}");
        if recorded.ended {
            let expected = (nodes.len() as u64 * 2, attributes_there, 1);
            assert_eq!((counts.task_updates, counts.attributes, counts.tags), expected, "{dag_name}");
            assert_eq!(nodes.len(), recorded.finished, "{dag_name}");
        }
    }
}

/// Checks a node on the server, and counts its attributes. Of one that may not have ended by itself the end may have been
/// recorded all the same.
fn check_node(found: &Value, node: usize, finished: bool) -> u64 {
    let mut attributes = found["attributes"].as_array().expect("a list").clone();
    // PostgreSQL returns them in the order of its storage; their ids are in the order in which they came.
    attributes.sort_by_key(|attribute| attribute["id"].as_u64());
    let there: Vec<&str> = attributes.iter().map(|attribute| text(attribute, "name")).collect();
    assert!(found["start_time"].is_string() && found["end_time"].is_string(), "{found}");
    if !finished && there == ["stack_trace"] {
        assert_eq!(found["status"], "FAILURE", "{found}");
        assert!(attributes[0]["value"].to_string().contains("process ended"), "{found}");
        return 1;
    }
    let expected = attributes_on_the_page(node);
    assert_eq!(there, expected.iter().map(|(name, _)| *name).collect::<Vec<_>>(), "{found}");
    for (attribute, (_, value)) in attributes.iter().zip(&expected) {
        assert_eq!(&attribute["value"], value, "{found}");
    }
    let status = if outcome(node) == Outcome::Success { "SUCCESS" } else { "FAILURE" };
    assert_eq!(found["status"], status, "{found}");
    expected.len() as u64
}

fn attributes(node: usize) -> [(&'static str, AttributeKind, Value); 3] {
    let column = json!({ "name": "id", "type": "Int64", "nullable": false, "metadata": {} });
    [
        ("rows", AttributeKind::Primitive, json!(node)),
        ("facts", AttributeKind::Dict, json!({ "node": node, "text": "größe \"x\"\n" })),
        ("schema", AttributeKind::Schema, json!({ "id": column })),
    ]
}

fn attributes_on_the_page(node: usize) -> Vec<(&'static str, Value)> {
    let [(rows, ..), (facts, _, object), (schema, _, columns)] = attributes(node);
    vec![
        (rows, json!({ "type": "number", "value": node.to_string() })),
        (facts, json!({ "type": "dict", "value": object })),
        (schema, columns),
    ]
}

fn outcome(node: usize) -> Outcome {
    if node % 7 == 3 { Outcome::Failure } else { Outcome::Success }
}

fn name(node: usize) -> String {
    format!("n{node}")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value}"))
}
