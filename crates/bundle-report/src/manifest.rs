//! `manifest.json`: what a run was, how it ended, and what became of its records.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use daglight_run_identity::RunId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Bundle, Delivery, WriteError, replace::replace_json};

/// The version of `manifest.json`.
///
/// - 1: identity, policy, status, nodes, files, delivery, warnings, links.
pub const MANIFEST_VERSION: u32 = 1;

/// The first file to read in a bundle. It is written when the run starts, and again when it ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Manifest {
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
    /// How the run ended, if it has.
    pub status: RunStatus,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    #[serde(default)]
    pub ended_at: Option<DateTime<Utc>>,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<String>,
    /// The nodes of the DAG, in its order.
    #[serde(default)]
    pub nodes: Vec<NodeRecord>,
    /// The files of the bundle, as of the end of the run.
    #[serde(default)]
    pub files: Vec<FileEntry>,
    /// What was delivered, waits, or was dropped.
    #[serde(default)]
    pub delivery: Delivery,
    /// What went wrong in recording the run.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Where the run can be looked at.
    #[serde(default)]
    pub links: Links,
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
}

/// A node as it ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodeRecord {
    /// Its name.
    pub name: String,
    /// transform, data_loader, data_saver or input.
    pub kind: String,
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
    /// It started and was not seen to end.
    Unfinished,
    /// It did not start.
    NotRun,
}

/// A file of the bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileEntry {
    /// The path in the bundle, with `/`.
    pub path: String,
    /// Its size.
    pub size_bytes: u64,
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

/// Why a manifest could not be read or replaced.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The file is not a manifest.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// A newer Daglight wrote the file.
    #[error(
        "{} has format {found}; this version of Daglight knows formats up to {MANIFEST_VERSION}: use a newer one",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// The file cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl Manifest {
    /// Reads the manifest of a bundle.
    ///
    /// # Errors
    ///
    /// When it is missing, damaged, or of a newer format.
    pub fn read(bundle: &Bundle) -> Result<Self, ManifestError> {
        let path = bundle.manifest();
        let text = fs::read(&path).map_err(|source| ManifestError::Read { path: path.clone(), source })?;
        check_version(&path, &text)?;
        serde_json::from_slice(&text).map_err(|source| ManifestError::Damaged { path, source })
    }

    /// Replaces the manifest of a bundle; a reader sees the old one or the new one.
    ///
    /// # Errors
    ///
    /// When the file cannot be written, or the one that is there has a newer format.
    pub fn write(&self, bundle: &Bundle) -> Result<(), ManifestError> {
        let path = bundle.manifest();
        if let Ok(text) = fs::read(&path)
            && let Err(error @ ManifestError::Newer { .. }) = check_version(&path, &text)
        {
            return Err(error);
        }
        Ok(replace_json(&path, self)?)
    }

    /// The JSON Schema of the format.
    pub fn json_schema() -> Value {
        schemars::schema_for!(Self).to_value()
    }
}

impl FileEntry {
    /// The files of a bundle with their sizes, by path. What cannot be read is left out, as is the manifest itself.
    pub fn of_bundle(bundle: &Bundle) -> Vec<Self> {
        let mut entries = Vec::new();
        list(bundle.dir(), "", &mut entries);
        entries.retain(|entry| entry.path != "manifest.json");
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        entries
    }
}

fn list(dir: &Path, prefix: &str, entries: &mut Vec<FileEntry>) {
    let Ok(listed) = fs::read_dir(dir) else { return };
    for entry in listed.flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if metadata.is_dir() {
            list(&entry.path(), &format!("{path}/"), entries);
        } else {
            entries.push(FileEntry { path, size_bytes: metadata.len() });
        }
    }
}

fn check_version(path: &Path, text: &[u8]) -> Result<(), ManifestError> {
    #[derive(Deserialize)]
    struct Version {
        format_version: u32,
    }
    match serde_json::from_slice(text) {
        Ok(Version { format_version: found }) if found > MANIFEST_VERSION => {
            Err(ManifestError::Newer { path: path.to_owned(), found })
        }
        Ok(_) => Ok(()),
        Err(source) => Err(ManifestError::Damaged { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    fn bundle() -> (tempfile::TempDir, Bundle) {
        let out = tempfile::tempdir().unwrap();
        let bundle = Bundle::create(out.path(), RunId::new()).unwrap();
        (out, bundle)
    }

    #[test]
    fn a_manifest_is_read_back() {
        let (_out, bundle) = bundle();
        let manifest = fixture::manifest();
        manifest.write(&bundle).unwrap();
        assert_eq!(Manifest::read(&bundle).unwrap(), manifest);
        let entries = FileEntry::of_bundle(&bundle);
        assert_eq!(entries, []);
    }

    #[test]
    fn a_newer_manifest_is_neither_read_nor_replaced() {
        let (_out, bundle) = bundle();
        let newer = r#"{"format_version": 99, "unheard_of": true}"#;
        fs::write(bundle.manifest(), newer).unwrap();
        assert!(matches!(Manifest::read(&bundle), Err(ManifestError::Newer { found: 99, .. })));
        assert!(matches!(fixture::manifest().write(&bundle), Err(ManifestError::Newer { .. })));
        assert_eq!(fs::read_to_string(bundle.manifest()).unwrap(), newer);
    }

    #[test]
    fn a_damaged_manifest_is_said_to_be_and_is_replaced() {
        let (_out, bundle) = bundle();
        fs::write(bundle.manifest(), "{\"format").unwrap();
        assert!(matches!(Manifest::read(&bundle), Err(ManifestError::Damaged { .. })));
        fixture::manifest().write(&bundle).unwrap();
        assert!(Manifest::read(&bundle).is_ok());
    }

    #[test]
    fn the_schema_names_what_a_manifest_holds() {
        let schema = Manifest::json_schema();
        let written = serde_json::to_value(fixture::manifest()).unwrap();
        for field in written.as_object().unwrap().keys() {
            assert!(schema["properties"][field].is_object(), "{field}");
        }
    }

    #[test]
    fn files_are_listed_with_their_sizes() {
        let (_out, bundle) = bundle();
        fs::write(bundle.traces(), "12345").unwrap();
        fs::write(bundle.plan_file(1, "a", "b"), "1").unwrap();
        let entry = |path: &str, size_bytes| FileEntry { path: path.into(), size_bytes };
        assert_eq!(
            FileEntry::of_bundle(&bundle),
            [entry("otel_traces.json", 5), entry("plans/001-a-b.json", 1)]
        );
    }
}
