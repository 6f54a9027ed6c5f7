//! `nodes.jsonl`: the progress of the nodes of a run, while its manifest is still that of its start.

use std::{collections::HashMap, io};

use daglight_guarded_files::FileBelow;
use serde::{Deserialize, Serialize};

use crate::{
    append::append_lines, artifact::Artifact, bundle::Bundle, file_damage::FileDamage,
    json_lines::read_lines, layout::NODES, manifest::NodeRecord, versioned::WriteError,
};

/// A line of `nodes.jsonl`. When a run has ended, the last manifest and the catalog contain the same, and the file is removed. For
/// a run that is going or was killed, the file has what is known about the nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RunProgress {
    /// A node has started or ended. The last line of a node counts.
    Node(NodeRecord),
    /// An output was written.
    Artifact(Artifact),
}

/// The combined result of the lines.
#[derive(Debug, Default)]
pub(crate) struct ProgressMade {
    /// The nodes that have started, by name.
    pub(crate) nodes: HashMap<String, NodeRecord>,
    /// The outputs, in the order of writing.
    pub(crate) artifacts: Vec<Artifact>,
    /// The unreadable part of the file.
    pub(crate) damage: Option<FileDamage>,
}

impl RunProgress {
    /// Appends lines to the file of a bundle.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn append(bundle: &Bundle, lines: &[Self]) -> Result<(), WriteError> {
        let failed = |source| WriteError::Io { path: bundle.nodes(), source };
        let mut text = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut text, line).map_err(|error| failed(error.into()))?;
            text.push(b'\n');
        }
        append_lines(bundle, NODES, text)
    }

    /// Removes the file when its content is in the manifest and the catalog.
    ///
    /// # Errors
    ///
    /// When it exists and cannot be removed.
    pub fn remove(bundle: &Bundle) -> io::Result<()> {
        match FileBelow::new(bundle.dir(), NODES).remove() {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl ProgressMade {
    /// Reads the file of a bundle. Unreadable lines are reported and skipped: the spans of the nodes are still there.
    pub(crate) fn read(bundle: &Bundle) -> Self {
        let mut made = Self::default();
        if bundle.nodes().symlink_metadata().is_err() {
            return made;
        }
        let reading = read_lines(&bundle.nodes(), |line| {
            match serde_json::from_str(line)? {
                RunProgress::Node(record) => drop(made.nodes.insert(record.name.clone(), record)),
                RunProgress::Artifact(artifact) => made.artifacts.push(artifact),
            }
            Ok(())
        });
        made.damage = reading.problem.map(|problem| FileDamage::new(NODES, problem));
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        artifact::ArtifactCatalog,
        fixture::{self, bundle},
        manifest::{Manifest, NodeStatus, RunStatus},
    };

    fn node(name: &str, status: NodeStatus) -> RunProgress {
        RunProgress::Node(NodeRecord { status, rows: Some(7), ..NodeRecord::not_run(name) })
    }

    #[test]
    fn a_manifest_and_a_catalog_of_a_run_that_goes_on_say_how_far_it_has_come() {
        let (_out, bundle) = bundle();
        let not_run = |name: &str| NodeRecord::not_run(name);
        let nodes = vec![not_run("orders"), not_run("lines"), not_run("last")];
        let running = Manifest { status: RunStatus::Running, nodes, ..fixture::manifest() };
        running.clone().write(&bundle).unwrap();
        RunProgress::append(&bundle, &[node("orders", NodeStatus::Unfinished)]).unwrap();
        std::fs::write(bundle.nodes(), std::fs::read_to_string(bundle.nodes()).unwrap() + "{\"node\":")
            .unwrap();
        let orders =
            [RunProgress::Artifact(fixture::artifact("orders")), node("orders", NodeStatus::Success)];
        RunProgress::append(&bundle, &orders).unwrap();
        let others = [node("lines", NodeStatus::Unfinished), node("elsewhere", NodeStatus::Success)];
        RunProgress::append(&bundle, &others).unwrap();

        let read = Manifest::read(&bundle).unwrap();
        let statuses: Vec<_> = read.nodes.iter().map(|node| (&*node.name, node.status, node.rows)).collect();
        let expected = [
            ("orders", NodeStatus::Success, Some(7)),
            ("lines", NodeStatus::Unfinished, Some(7)),
            ("last", NodeStatus::NotRun, None),
        ];
        assert_eq!(statuses, expected);
        assert_eq!(ArtifactCatalog::read(&bundle).unwrap().artifacts, [fixture::artifact("orders")]);

        // If the pipeline is discovered while it runs, the manifest of the start cannot name any node.
        let observed = Manifest { observed: true, nodes: Vec::new(), ..running };
        observed.write(&bundle).unwrap();
        let names =
            |manifest: &Manifest| manifest.nodes.iter().map(|node| node.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&Manifest::read(&bundle).unwrap()), ["elsewhere", "lines", "orders"]);

        // The last manifest and the catalog take precedence, even if a process that died in between left the file.
        fixture::manifest().write(&bundle).unwrap();
        assert_eq!(Manifest::read(&bundle).unwrap(), fixture::manifest());
        let catalog = ArtifactCatalog::new(vec![fixture::artifact("lines")]);
        catalog.write(&bundle).unwrap();
        assert_eq!(ArtifactCatalog::read(&bundle).unwrap(), catalog);
        RunProgress::remove(&bundle).unwrap();
        RunProgress::remove(&bundle).unwrap();
        assert!(!bundle.nodes().exists());
    }
}
