//! The start of a run whose outbox has lost it, reconstructed from the manifest next to it.

use std::{collections::BTreeMap, path::Path};

use chrono::{DateTime, Utc};
use daglight_run_identity::{NodeKind, RunId};

use super::event::{Version, VersionNode};
use crate::{bundle::Bundle, manifest::Manifest};

/// The output type of every node, because manifests do not contain types.
const UNKNOWN_TYPE: &str = "unknown";

/// The pipeline and the start of a run, as in its manifest: without code, documentation and types.
#[derive(Debug, Clone, PartialEq)]
pub struct Beginning {
    /// The pipeline. Its hashes are those of the run, so a server that knows the version has all of it.
    pub version: Version,
    /// The run.
    pub run_id: RunId,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// When it began.
    pub started_at: DateTime<Utc>,
}

impl Beginning {
    /// Reads the manifest of the bundle that contains this `tracker` folder. `None` if it cannot be read.
    pub fn from_manifest(tracker_dir: &Path) -> Option<Self> {
        let manifest = Manifest::read(&Bundle::open(tracker_dir.parent()?).ok()?).ok()?;
        let identity = manifest.identity;
        // The server accepts no version without hashes.
        if identity.dag_hash.is_empty() || identity.code_hash.is_empty() {
            return None;
        }
        let node = |node: crate::NodeRecord| VersionNode {
            // The server does not accept kinds of later versions, and it shows a transform without anything special.
            kind: node.kind.known().unwrap_or(NodeKind::Transform),
            name: node.name,
            output_type: UNKNOWN_TYPE.to_owned(),
            dependencies: node.dependencies,
            tags: BTreeMap::new(),
            documentation: None,
            code: None,
        };
        Some(Self {
            version: Version {
                dag_name: identity.dag_name,
                dag_hash: identity.dag_hash,
                code_hash: identity.code_hash,
                nodes: manifest.nodes.into_iter().map(node).collect(),
                files: BTreeMap::new(),
                tags: BTreeMap::new(),
            },
            run_id: identity.run_id,
            tags: identity.tags,
            started_at: manifest.started_at,
        })
    }
}
