//! The content of `manifest.json`: what ran, how it ended, and what became of its records.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use daglight_run_identity::RunId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    check_record::CheckRecord,
    delivery_counts::Delivery,
    file_entry::{FileEntry, FileUse},
    layout::MANIFEST_FORMAT,
    node_kind::RecordedKind,
    own_time::OwnTime,
    warning::Warning,
};

/// The version of `manifest.json`.
///
/// - 1: identity, policy, status, nodes, files, delivery, warnings, links. `format`, `tracking`, `own_time`, and for nodes
///   `queries_summed`, `error`, `attempts`, `earlier_attempts`, `recovered` and `checks` were added later: bundles without them
///   have this version, too.
/// - 2: runs and nodes may be `interrupted`; `interrupted_at` was added later.
/// - 3: `warnings` have a code and a message; before, each was a text. Added later: `files[].sha256`, `checksum` (the SHA-256 of
///   the text of the file up to the comma before it), `process_ended_at`, and a code for each kind of warning, most of which were
///   `other` at first; and `retry`.
///
/// Fields that a newer Daglight adds without a new version number have defaults, so that every reader of this version can read
/// them.
pub const MANIFEST_VERSION: u32 = 3;

/// The first file to read in a bundle. It is written when the run starts, and again when it ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Manifest {
    /// Always [`MANIFEST_FORMAT`].
    #[serde(default = "manifest_format")]
    pub format: String,
    /// The version of this format: [`MANIFEST_VERSION`].
    pub format_version: u32,
    /// The version of Daglight that made the run.
    pub daglight_version: String,
    /// What ran.
    pub identity: Identity,
    /// What the attribute names in the signal files start with.
    pub namespace: String,
    /// The profile: dev, ci or prod.
    pub profile: String,
    /// The policy in force, as the settings say it.
    #[serde(default)]
    pub policy: Value,
    /// What it did not have to do, where it retries an earlier run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// How the run ended, if it has.
    pub status: RunStatus,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    #[serde(default)]
    pub ended_at: Option<DateTime<Utc>>,
    /// When a signal asked it to end, if one did.
    #[serde(default)]
    pub interrupted_at: Option<DateTime<Utc>>,
    /// When its process was last seen, if that ended before the run did, and another process closed the run.
    #[serde(default)]
    pub process_ended_at: Option<DateTime<Utc>>,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<String>,
    /// Whether its pipeline was not known when it started, and was seen while it ran.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub observed: bool,
    /// The nodes of the DAG, in its order.
    #[serde(default)]
    pub nodes: Vec<NodeRecord>,
    /// The files of the bundle, as of the end of the run.
    #[serde(default)]
    pub files: Vec<FileEntry>,
    /// What was delivered, waits, or was dropped.
    #[serde(default)]
    pub delivery: Delivery,
    /// Whether the run was meant for a tracking server.
    #[serde(default)]
    pub tracking: Tracking,
    /// What went wrong in recording the run.
    #[serde(default)]
    pub warnings: Vec<Warning>,
    /// Where the run can be looked at.
    #[serde(default)]
    pub links: Links,
    /// The time that Daglight itself took; `None` before the run has ended.
    #[serde(default)]
    pub own_time: Option<OwnTime>,
}

/// What ran: the ids by which a run is found elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Identity {
    /// The run.
    #[schemars(with = "String")]
    pub run_id: RunId,
    /// The pipeline.
    pub dag_name: String,
    /// The hash of the DAG's shape.
    #[serde(default)]
    pub dag_hash: String,
    /// The hash of the code.
    #[serde(default)]
    pub code_hash: String,
    /// The trace, 32 hexadecimal digits.
    #[serde(default)]
    pub trace_id: Option<String>,
    /// The root span, 16 hexadecimal digits.
    #[serde(default)]
    pub root_span_id: Option<String>,
    /// The id that the tracking server gave the run.
    #[serde(default)]
    pub execution_run_id: Option<String>,
    /// The project on the tracking server.
    #[serde(default)]
    pub project_id: Option<String>,
    /// The tags of the run.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

/// Which run is retried, and what had been done before. A retry can itself be retried when the bundles of the runs before it
/// are gone: so it has the nodes of all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Retry {
    /// The run that is retried.
    #[schemars(with = "String")]
    pub of: RunId,
    /// The nodes that had succeeded before the run started.
    #[serde(default)]
    pub done: Vec<DoneNode>,
}

/// A node that had succeeded before a retry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DoneNode {
    /// Its name in the run that ran it.
    pub name: String,
    /// The hash of its code there, where there is any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_hash: Option<String>,
    /// The run that ran it.
    #[schemars(with = "String")]
    pub run_id: RunId,
}

/// Whether a run was meant for a tracking server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Tracking {
    /// The manifest does not say: older versions did not write it.
    #[default]
    Unknown,
    /// The tracker was off. The bundle has no outbox.
    Off,
    /// The tracker was on and no server was configured. The outbox can be delivered when one is.
    NoServer,
    /// A server was configured.
    Server,
}

impl Tracking {
    /// Whether somebody expects the delivery of the records that wait in the outbox.
    pub fn is_expected(self) -> bool {
        matches!(self, Self::Server | Self::Unknown)
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// It has not ended, or its process died before it could say so.
    Running,
    /// It ended well.
    Success,
    /// It failed.
    Failure,
    /// It was asked to end before it was done, by ctrl-c for example.
    Interrupted,
}

/// A node as it ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodeRecord {
    /// Its name.
    pub name: String,
    /// transform, data_loader, data_saver or input.
    #[schemars(with = "String")]
    pub kind: RecordedKind,
    /// The nodes that it reads.
    #[serde(default)]
    pub dependencies: Vec<String>,
    /// How it ended.
    pub status: NodeStatus,
    /// When it started.
    #[serde(default)]
    pub started_at: Option<DateTime<Utc>>,
    /// How long it took.
    #[serde(default)]
    pub duration_ms: Option<f64>,
    /// Rows that it gave out.
    #[serde(default)]
    pub rows: Option<u64>,
    /// Bytes that it gave out.
    #[serde(default)]
    pub bytes: Option<u64>,
    /// Queries of which no plan is kept, because there were so many: they are in the sums only.
    #[serde(default)]
    pub queries_summed: u64,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<String>,
    /// How often it was run; what stands above is of the last time. 0 where it did not start, or nobody counted.
    #[serde(default)]
    pub attempts: u64,
    /// The attempts before the last one: the last twenty of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier_attempts: Vec<AttemptRecord>,
    /// Whether the program went on without it, so that its failure is not one of the run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recovered: bool,
    /// The fingerprints of its physical plans, sorted, each once; the first hundred. The next run of the DAG is compared with
    /// them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plan_hashes: Vec<String>,
    /// What became of the data checks of its rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<CheckRecord>,
    /// The beginning of the SHA-256 of its code, where there is any: a run that is tried again knows by it what was changed meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_hash: Option<String>,
}

impl NodeRecord {
    /// A node that has not run: only its name is known.
    pub fn not_run(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            kind: RecordedKind::Other(String::new()),
            dependencies: Vec::new(),
            status: NodeStatus::NotRun,
            started_at: None,
            duration_ms: None,
            rows: None,
            bytes: None,
            queries_summed: 0,
            error: None,
            attempts: 0,
            earlier_attempts: Vec::new(),
            recovered: false,
            plan_hashes: Vec::new(),
            checks: Vec::new(),
            code_hash: None,
        }
    }
}

/// An attempt at a node that was not the last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptRecord {
    /// Which one, from 1.
    pub attempt: u64,
    /// How it ended; unfinished where the next one started before that.
    pub status: NodeStatus,
    /// When it started.
    #[serde(default)]
    pub started_at: Option<DateTime<Utc>>,
    /// How long it took.
    #[serde(default)]
    pub duration_ms: Option<f64>,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<String>,
}

/// How a node ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NodeStatus {
    /// It ended well.
    Success,
    /// It failed.
    Failure,
    /// It ran when the run was asked to end.
    Interrupted,
    /// It runs now. A manifest has [`NodeStatus::Unfinished`] for it; whether its process lives shows only when that is read.
    Running,
    /// It started and was not seen to end.
    Unfinished,
    /// It did not start.
    NotRun,
}

/// Where a run can be looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Links {
    /// The run's page in the Hamilton UI.
    #[serde(default)]
    pub hamilton_run: Option<String>,
    /// The trace in the tracing backend.
    #[serde(default)]
    pub trace: Option<String>,
}

impl Manifest {
    /// Whether [`Manifest::files`] lists the files of the complete bundle. Only the last manifest of a run has hashes; earlier
    /// manifests and those of older bundles do not, and plans may have been written and removed since.
    pub fn lists_final_files(&self) -> bool {
        self.status != RunStatus::Running && self.files.iter().any(|entry| entry.sha256.is_some())
    }

    /// The files that are at least as long as the manifest says, unless something was lost: all files of a complete bundle, or,
    /// while the run is going and if its process ended before the last manifest, those that only grow.
    pub fn lasting_files(&self) -> impl Iterator<Item = &FileEntry> {
        let is_final = self.lists_final_files();
        let lasts = move |entry: &&FileEntry| is_final || entry.file_use() == FileUse::Appended;
        self.files.iter().filter(lasts)
    }

    /// Whether it ran every node that another run of the same pipeline ran, as far as it has them: only then do their results and times
    /// compare. A retry and a run of a part of the pipeline leave out nodes.
    pub fn ran_all_of(&self, other: &Self) -> bool {
        let ran = |node: &&NodeRecord| node.status != NodeStatus::NotRun;
        let left_out: BTreeSet<&str> =
            self.nodes.iter().filter(|node| !ran(node)).map(|node| &*node.name).collect();
        !other.nodes.iter().filter(ran).any(|node| left_out.contains(&*node.name))
    }

    /// The manifest of a run of this version that has just started: no nodes, no server, and the default profile and namespace.
    pub fn of_start(run_id: RunId, dag_name: impl Into<String>, started_at: DateTime<Utc>) -> Self {
        Self {
            format: MANIFEST_FORMAT.to_owned(),
            format_version: MANIFEST_VERSION,
            daglight_version: env!("CARGO_PKG_VERSION").to_owned(),
            identity: Identity {
                run_id,
                dag_name: dag_name.into(),
                dag_hash: String::new(),
                code_hash: String::new(),
                trace_id: None,
                root_span_id: None,
                execution_run_id: None,
                project_id: None,
                tags: BTreeMap::new(),
            },
            namespace: "daglight".to_owned(),
            profile: "dev".to_owned(),
            policy: Value::Null,
            retry: None,
            status: RunStatus::Running,
            started_at,
            ended_at: None,
            interrupted_at: None,
            process_ended_at: None,
            error: None,
            nodes: Vec::new(),
            files: Vec::new(),
            delivery: Delivery::default(),
            tracking: Tracking::Off,
            warnings: Vec::new(),
            links: Links::default(),
            own_time: None,
            observed: false,
        }
    }

    /// The JSON Schema of the format.
    pub fn json_schema() -> Value {
        schemars::schema_for!(Self).to_value()
    }
}

fn manifest_format() -> String {
    MANIFEST_FORMAT.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn the_schema_names_what_a_manifest_holds() {
        let schema = Manifest::json_schema();
        let written = serde_json::to_value(fixture::manifest()).unwrap();
        for field in written.as_object().unwrap().keys() {
            assert!(schema["properties"][field].is_object(), "{field}");
        }
    }
}
