//! The events of a run, as the outbox records them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use daglight_capture_policy::Captured;
use daglight_run_identity::{Dag, Node, NodeKind, RunId};
use serde::{Deserialize, Serialize};

use super::event_time;

/// The tag by which a delivery recognises a run on the server.
pub const RUN_ID_TAG: &str = "run_id";

/// Something that happened in a run.
///
/// Values from user data reach an event only as [`Captured`], inside an [`Attribute`]. Nothing is rejected here: what does not fit
/// the columns of a server is shortened on delivery.
///
/// `V` is the representation of values: `Captured` in a program that records, plain JSON when an outbox is read back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event<V = Captured> {
    /// The pipeline that is about to run.
    Version(Box<Version>),
    /// Replaces [`Event::Version`] if the pipeline is discovered while it runs. The version is then the sum of all
    /// [`Event::NodeSeen`] at the end of the run.
    Observed {
        /// The DAG's name.
        dag_name: String,
    },
    /// A node was seen for the first time, or more of it became known: the last event of a node counts. It precedes all other
    /// events of the node.
    NodeSeen(Box<Node>),
    /// A run began.
    RunStarted {
        /// The run's own id. It becomes the tag [`RUN_ID_TAG`], by which a delivery recognises its run on the server.
        run_id: RunId,
        /// Tags of the run.
        tags: BTreeMap<String, String>,
        /// The inputs of the run, by name. Outboxes of earlier versions have none.
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
        /// What is known about it, in the order in which the page shows it.
        attributes: Vec<Attribute<V>>,
    },
    /// The run got additional tags, or new values for existing tags.
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
    /// Events could not be written, and are missing before this one. The outbox itself records this event.
    Lost {
        /// Why.
        reason: String,
        /// How many items were lost, as counted by [`Event::items`].
        items: u64,
    },
}

impl Event {
    /// The version of the pipeline `dag`, with tags of the version (not of a run).
    ///
    /// The texts of [`Dag::files`] are sent unchanged, for the code view of the page. They are not part of the hashes, so a
    /// front-end that may not show its code can insert only what its policy allows.
    pub fn version(dag: &Dag, tags: BTreeMap<String, String>) -> Self {
        Self::Version(Box::new(Version::of_dag(dag, tags)))
    }
}

impl<V> Event<V> {
    /// The number of items in this event, as [`DeliveryCounts`](crate::DeliveryCounts) counts them: the event itself, and each of
    /// its attributes.
    pub fn items(&self) -> u64 {
        match self {
            Self::TaskFinished { attributes, .. } => 1 + attributes.len() as u64,
            Self::Lost { items, .. } => *items,
            // A part of the version, which [`Event::Observed`] already counts.
            Self::NodeSeen(_) => 0,
            _ => 1,
        }
    }
}

/// How a run or a node ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Without an error.
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
    /// Its kind.
    pub kind: NodeKind,
    /// The type of its output.
    pub output_type: String,
    /// The names of the nodes it reads.
    pub dependencies: Vec<String>,
    /// Free-form labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Its documentation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documentation: Option<String>,
    /// The location of its code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<CodePlace>,
}

/// A range of lines in a file of a [`Version`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CodePlace {
    /// The file, by its path in [`Version::files`].
    pub path: String,
    /// The first line, starting at 1.
    pub first_line: usize,
    /// The last line, inclusive.
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
                    // Code whose file is not available becomes a separate file.
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

/// A fact about a node that ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attribute<V = Captured> {
    /// The heading on the page.
    pub name: String,
    /// How the page shows it.
    pub kind: AttributeKind,
    /// Where the page shows it.
    pub role: AttributeRole,
    /// The value.
    pub value: V,
}

impl Attribute {
    /// An attribute with the page heading `name` (snake case; unique for its node). The expected shape of `value` depends on its
    /// [`AttributeKind`]; a value of another shape is shown as plain text.
    pub fn new(name: impl Into<String>, kind: AttributeKind, role: AttributeRole, value: Captured) -> Self {
        Self { name: name.into(), kind, role, value }
    }

    /// The heading on the page.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same attribute with another heading.
    #[must_use]
    pub fn renamed(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// The error that ended a node: its lines, as one text or a list.
    pub fn error(stack: Captured) -> Self {
        Self::new("stack_trace", AttributeKind::Error, AttributeRole::Error, stack)
    }
}

/// How the page shows a value, and the shape that it expects for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AttributeKind {
    /// A string or number.
    Primitive,
    /// A collapsible tree: an object.
    Dict,
    /// The data summary of a table: an object of columns, each `{name, pos, data_type, base_data_type, count, missing, ...}`.
    DagworksDescribe,
    /// The schema of a table: an object of columns, each `{name, type, nullable, metadata}`.
    Schema,
    /// An error: lines, as one text or a list.
    Error,
    /// HTML, inserted into the page **unescaped**: the code that creates it must escape everything that it did not write itself.
    Html,
}

/// Where the page shows an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttributeRole {
    /// With the result.
    ResultSummary,
    /// With the errors.
    Error,
    /// With the resources that the node used.
    ResourceUtilization,
    /// With the outputs that the node wrote.
    ArtifactLink,
    /// With the logs of the node.
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
