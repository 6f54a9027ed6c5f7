//! What can happen in a run, as the outbox records it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use daglight_capture_policy::Captured;
use daglight_run_identity::{Dag, Node, NodeKind, RunId};
use serde::{Deserialize, Serialize};

use super::event_time;

/// The tag of a run on the server by which a delivery recognises it.
pub const RUN_ID_TAG: &str = "run_id";

/// Something that happened in a run.
///
/// Values of user data reach an event only as [`Captured`], inside an [`Attribute`]. What a server has no column for is
/// made to fit on delivery; nothing is refused here.
///
/// `V` is how values are held: `Captured` in a program that records, plain JSON where an outbox is read back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event<V = Captured> {
    /// The pipeline, as it is about to run.
    Version(Box<Version>),
    /// In the place of [`Event::Version`]: what the pipeline is, is seen while it runs. It is what [`Event::NodeSeen`] says in
    /// all, once the run has ended.
    Observed {
        /// The DAG's name.
        dag_name: String,
    },
    /// A node was seen for the first time, or more of it: the last one of a node counts. In front of what happens to it.
    NodeSeen(Box<Node>),
    /// A run began.
    RunStarted {
        /// The run's own id. It becomes the tag [`RUN_ID_TAG`], by which a delivery recognises its run on the server.
        run_id: RunId,
        /// Tags of the run.
        tags: BTreeMap<String, String>,
        /// What the run is given, by name. Outboxes of earlier versions have none.
        #[serde(default = "BTreeMap::new", skip_serializing_if = "BTreeMap::is_empty")]
        inputs: BTreeMap<String, V>,
        /// When it began.
        #[serde(with = "event_time")]
        time: DateTime<Utc>,
    },
    /// A node began.
    TaskStarted {
        /// The node's name.
        node: String,
        /// When it began.
        #[serde(with = "event_time")]
        time: DateTime<Utc>,
    },
    /// A node ended.
    TaskFinished {
        /// The node's name.
        node: String,
        /// When it ended.
        #[serde(with = "event_time")]
        time: DateTime<Utc>,
        /// How it ended.
        status: Outcome,
        /// What is known of it, in the order in which the page shows it.
        attributes: Vec<Attribute<V>>,
    },
    /// The run got more tags, or other values of tags it had.
    TagsUpserted {
        /// The tags.
        tags: BTreeMap<String, String>,
        /// When.
        #[serde(with = "event_time")]
        time: DateTime<Utc>,
    },
    /// The run ended.
    RunFinished {
        /// How it ended.
        status: Outcome,
        /// When it ended.
        #[serde(with = "event_time")]
        time: DateTime<Utc>,
    },
    /// Events could not be written, and are missing in front of this one. The outbox itself records that.
    Lost {
        /// Why.
        reason: String,
        /// How many items they were, as [`Event::items`] counts them.
        items: u64,
    },
}

impl Event {
    /// The pipeline `dag`, under tags of the version (not of a run).
    ///
    /// The texts of [`Dag::files`] are sent as they are, for the page's code view. They are not part of the hashes, so a
    /// front-end that may not show its code puts in what its policy lets through.
    pub fn version(dag: &Dag, tags: BTreeMap<String, String>) -> Self {
        Self::Version(Box::new(Version::of_dag(dag, tags)))
    }
}

impl<V> Event<V> {
    /// How many things this is in [`DeliveryCounts`](crate::DeliveryCounts): the event itself, and each of its attributes.
    pub fn items(&self) -> u64 {
        match self {
            Self::TaskFinished { attributes, .. } => 1 + attributes.len() as u64,
            Self::Lost { items, .. } => *items,
            // A part of the version, which [`Event::Observed`] stands for.
            Self::NodeSeen(_) => 0,
            _ => 1,
        }
    }
}

/// How a run or a node ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As it should.
    Success,
    /// With an error.
    Failure,
}

/// The version of a pipeline: what the page shows of a DAG.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Version {
    /// The DAG's name.
    pub dag_name: String,
    /// The hash of its shape, 64 hexadecimal characters.
    pub dag_hash: String,
    /// The hash of its code.
    pub code_hash: String,
    /// The nodes, each after those it depends on.
    pub nodes: Vec<VersionNode>,
    /// The files that the nodes' code points into, by path.
    pub files: BTreeMap<String, String>,
    /// Tags of the version.
    pub tags: BTreeMap<String, String>,
}

/// A node of a [`Version`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VersionNode {
    /// Unique in its DAG.
    pub name: String,
    /// What it does.
    pub kind: NodeKind,
    /// The type of its output.
    pub output_type: String,
    /// The names of the nodes it reads.
    pub dependencies: Vec<String>,
    /// Free labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documentation: Option<String>,
    /// Where its code stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<CodePlace>,
}

/// Lines of a file of a [`Version`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CodePlace {
    /// The file, by its path in [`Version::files`].
    pub path: String,
    /// The first line, from 1.
    pub first_line: usize,
    /// The last line, included.
    pub last_line: usize,
}

impl Version {
    pub(crate) fn of_dag(dag: &Dag, tags: BTreeMap<String, String>) -> Self {
        let mut files = dag.files().clone();
        let nodes = dag
            .nodes()
            .iter()
            .map(|node| VersionNode {
                name: node.name.clone(),
                kind: node.kind,
                output_type: node.output_type.clone(),
                dependencies: node.dependencies.clone(),
                tags: node.tags.clone(),
                documentation: node.documentation.clone(),
                code: node.code.as_ref().map(|code| {
                    if dag.files().contains_key(&code.path) {
                        let (first_line, last_line) = (code.first_line, code.last_line);
                        return CodePlace { path: code.path.clone(), first_line, last_line };
                    }
                    // Code of a file that is not at hand becomes a file of its own.
                    let path = format!("{}:{}", code.path, node.name);
                    files.insert(path.clone(), code.text.clone());
                    CodePlace { path, first_line: 1, last_line: code.text.lines().count() }
                }),
            })
            .collect();
        Self {
            dag_name: dag.name().to_string(),
            dag_hash: dag.dag_hash().to_owned(),
            code_hash: dag.code_hash().to_owned(),
            nodes,
            files,
            tags,
        }
    }
}

/// Something known of a node that ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attribute<V = Captured> {
    /// The page's heading.
    pub name: String,
    /// How the page shows it.
    pub kind: AttributeKind,
    /// Where the page shows it.
    pub role: AttributeRole,
    /// What is known.
    pub value: V,
}

impl Attribute {
    /// An attribute with the page's heading `name` (snake case; unique for its node). The shape that `value` should have
    /// depends on its [`AttributeKind`]; a value of another shape is shown as plain text.
    pub fn new(name: impl Into<String>, kind: AttributeKind, role: AttributeRole, value: Captured) -> Self {
        Self { name: name.into(), kind, role, value }
    }

    /// The page's heading.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same under another heading.
    #[must_use]
    pub fn renamed(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// The error that ended a node: its lines, as one text or a list.
    pub fn error(stack: Captured) -> Self {
        Self::new("stack_trace", AttributeKind::Error, AttributeRole::Error, stack)
    }
}

/// How the page shows a value, and what shape it should have for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AttributeKind {
    /// A text or number.
    Primitive,
    /// A collapsible tree: an object.
    Dict,
    /// The data summary of a table: an object of columns, each `{name, pos, data_type, base_data_type, count, missing, ...}`.
    DagworksDescribe,
    /// The schema of a table: an object of columns, each `{name, type, nullable, metadata}`.
    Schema,
    /// An error: lines, as one text or a list.
    Error,
    /// HTML, inserted into the page **unescaped**: whoever makes it escapes all that is not its own.
    Html,
}

/// Where the page shows an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttributeRole {
    /// With the output.
    ResultSummary,
    /// With the errors.
    Error,
    /// What the node used.
    ResourceUtilization,
    /// What the node wrote.
    ArtifactLink,
    /// What the node logged.
    Logs,
}

#[cfg(test)]
mod tests {
    use daglight_capture_policy::{Policy, Profile};
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn an_event_is_read_back_as_it_was() {
        let value = json!({"rows": 3, "mean": 0.5, "big": u64::MAX});
        let attribute = Attribute::new(
            "rows",
            AttributeKind::Dict,
            AttributeRole::ResultSummary,
            Policy::of_profile(Profile::Dev).capture(value.clone()),
        );
        let event = Event::TaskFinished {
            node: "orders \"raw\"\n".into(),
            time: DateTime::UNIX_EPOCH,
            status: Outcome::Failure,
            attributes: vec![attribute],
        };
        let text = serde_json::to_string(&event).unwrap();
        assert!(text.starts_with(r#"{"event":"task_finished","node":"orders \"raw\"\n","#), "{text}");
        let back: Event<Value> = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&back).unwrap(), text);
        let Event::TaskFinished { attributes, .. } = back else { panic!("{back:?}") };
        assert_eq!(attributes[0].value, value);
    }

    #[test]
    fn code_without_a_file_becomes_one() {
        let dag = Dag::builder("test::event_v1")
            .unwrap()
            .loader("orders")
            .code(daglight_run_identity::Code {
                path: "lib.rs".into(),
                first_line: 40,
                last_line: 41,
                text: "SELECT 1\nFROM t".into(),
                normalized: "SELECT 1 FROM t".into(),
            })
            .build()
            .unwrap();
        let Event::Version(version) = Event::version(&dag, BTreeMap::new()) else { unreachable!() };
        let place = CodePlace { path: "lib.rs:orders".into(), first_line: 1, last_line: 2 };
        assert_eq!(version.nodes[0].code.as_ref(), Some(&place));
        assert_eq!(version.files[&place.path], "SELECT 1\nFROM t");
    }
}
