//! `artifacts.json`: the catalog of the outputs of a run.

use chrono::{DateTime, Utc};
use daglight_run_identity::RunId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::materialization::Materialization;

/// The version of `artifacts.json`.
///
/// - 1: the entries of [`Artifact`]. `node` and `files_before` were added later: catalogs without them have this version, too.
pub const ARTIFACTS_VERSION: u32 = 1;

/// The catalog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArtifactCatalog {
    /// The version of this format: [`ARTIFACTS_VERSION`].
    pub format_version: u32,
    /// What was written, in the order of writing.
    pub artifacts: Vec<Artifact>,
}

/// Something that a run has written and somebody will look for by its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Artifact {
    /// The external name.
    pub name: String,
    /// The node that wrote it; several may write to one table.
    #[serde(default)]
    pub node: Option<String>,
    /// table, view, parquet, csv, ndjson, arrow, param_table, or the name that a custom output has for it.
    pub materialization: Materialization,
    /// The path or URL, as the policy shows it.
    #[serde(default)]
    pub location: Option<String>,
    /// The file format.
    #[serde(default)]
    pub format: Option<String>,
    /// Rows written.
    #[serde(default)]
    pub rows: Option<u64>,
    /// Bytes written.
    #[serde(default)]
    pub bytes: Option<u64>,
    /// Files written.
    #[serde(default)]
    pub files: Option<u64>,
    /// Files of the same kind that were at the location before, and are still there: a reader of the folder reads those, too.
    #[serde(default)]
    pub files_before: Option<u64>,
    /// The columns.
    #[serde(default)]
    pub schema: Vec<ArtifactColumn>,
    /// The hash of the columns.
    #[serde(default)]
    pub schema_hash: Option<String>,
    /// The fingerprint of the plan that made it.
    #[serde(default)]
    pub plan_signature: Option<String>,
    /// The hash of the rows, for a set of parameters.
    #[serde(default)]
    pub signature: Option<String>,
    /// The run.
    #[schemars(with = "String")]
    pub run_id: RunId,
    /// When it was complete.
    pub written_at: DateTime<Utc>,
}

/// A column of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArtifactColumn {
    /// Its name.
    pub name: String,
    /// Its Arrow type.
    #[serde(rename = "type")]
    pub data_type: String,
    /// Whether it may hold nulls.
    pub nullable: bool,
}

impl ArtifactCatalog {
    /// A catalog with these entries.
    pub fn new(artifacts: Vec<Artifact>) -> Self {
        Self { format_version: ARTIFACTS_VERSION, artifacts }
    }

    /// The JSON Schema of the format.
    pub fn json_schema() -> Value {
        schemars::schema_for!(Self).to_value()
    }
}
