//! `artifacts.json`: the catalog of what a run has written.

use chrono::{DateTime, Utc};
use daglight_run_identity::RunId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    bundle::Bundle,
    materialization::Materialization,
    versioned::{self, ReadError, WriteError},
};

/// The version of `artifacts.json`.
///
/// - 1: the entries of [`Artifact`]. `node` came later: catalogs without it are of this version as well.
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
    /// A catalog of these entries.
    pub fn new(artifacts: Vec<Artifact>) -> Self {
        Self { format_version: ARTIFACTS_VERSION, artifacts }
    }

    /// Reads the catalog of a bundle; one without the file has written nothing.
    ///
    /// # Errors
    ///
    /// When the file is there and cannot be read.
    pub fn read(bundle: &Bundle) -> Result<Self, ReadError> {
        match versioned::read(bundle.artifacts(), ARTIFACTS_VERSION) {
            Err(error) if error.is_not_found() => Ok(Self::new(Vec::new())),
            read => read.map_err(|error| error.shown_in(bundle)),
        }
    }

    /// Replaces the catalog of a bundle.
    ///
    /// # Errors
    ///
    /// When the file cannot be written, or the one that is there has a newer format.
    pub fn write(&self, bundle: &Bundle) -> Result<(), WriteError> {
        versioned::write(bundle, &bundle.artifacts(), self, ARTIFACTS_VERSION)
    }

    /// The JSON Schema of the format.
    pub fn json_schema() -> Value {
        schemars::schema_for!(Self).to_value()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn a_catalog_is_read_back_and_may_be_missing() {
        let out = tempfile::tempdir().unwrap();
        let bundle = Bundle::create(out.path(), RunId::new()).unwrap();
        assert_eq!(ArtifactCatalog::read(&bundle).unwrap().artifacts, []);
        let catalog = ArtifactCatalog::new(vec![fixture::artifact("orders")]);
        catalog.write(&bundle).unwrap();
        assert_eq!(ArtifactCatalog::read(&bundle).unwrap(), catalog);
        std::fs::write(bundle.artifacts(), "[").unwrap();
        assert!(matches!(ArtifactCatalog::read(&bundle), Err(ReadError::Damaged { .. })));
    }
}
