//! The description of a pipeline: nodes, dependencies, documentation and code.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use crate::{dag_name::DagName, hash::FieldHasher};

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeKind {
    /// Computes something from other nodes.
    Transform,
    /// Reads data from outside the pipeline.
    DataLoader,
    /// Writes data to the outside.
    DataSaver,
    /// A value that is given to the pipeline.
    Input,
}

impl NodeKind {
    /// The name that hashes, the tracker and the report use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Transform => "transform",
            Self::DataLoader => "data_loader",
            Self::DataSaver => "data_saver",
            Self::Input => "input",
        }
    }
}

/// The code of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Code {
    /// The file, as it is named in [`Dag::files`].
    pub path: String,
    /// The first line, starting at 1.
    pub first_line: usize,
    /// The last line, inclusive.
    pub last_line: usize,
    /// The text as written.
    pub text: String,
    /// The code without comments and layout. Only this is part of the version.
    pub normalized: String,
}

/// One node of a DAG.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Unique in its DAG.
    pub name: String,
    /// Its kind.
    pub kind: NodeKind,
    /// The type of its output, such as `table` or `parquet`.
    pub output_type: String,
    /// The names of the nodes it reads, in the order of declaration.
    pub dependencies: Vec<String>,
    /// Free-form labels.
    pub tags: BTreeMap<String, String>,
    /// Its documentation.
    pub documentation: Option<String>,
    /// Its code, if any.
    pub code: Option<Code>,
}

impl Node {
    /// The first 16 hexadecimal characters of the SHA-256 of its code without comments and layout; `None` if it has no code.
    pub fn code_hash(&self) -> Option<String> {
        let code = self.code.as_ref()?;
        let mut hash = FieldHasher::new("daglight.node.v1").field(&code.normalized).finish();
        // Short is enough: it is compared only with hashes of the same pipeline.
        hash.truncate(16);
        Some(hash)
    }
}

/// A pipeline: its nodes in an order in which they can run, and its version.
///
/// ```
/// use daglight_run_identity::Dag;
///
/// let dag = Dag::builder("sales::orders_v1")?
///     .loader("orders")
///     .transform("order_risk", ["orders"]).documentation("Orders likely to be late").tag("layer", "gold")
///     .saver("order_risk_parquet", ["order_risk"])
///     .build()?;
/// assert_eq!(dag.nodes().len(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dag {
    pub(crate) name: DagName,
    pub(crate) nodes: Vec<Node>,
    /// The index of each node in `nodes`, by name.
    pub(crate) positions: HashMap<String, usize>,
    /// For each node, whether another node depends on it.
    pub(crate) is_read: Vec<bool>,
    pub(crate) files: BTreeMap<String, String>,
    pub(crate) dag_hash: String,
    pub(crate) code_hash: String,
}

impl Dag {
    /// The name.
    pub fn name(&self) -> &DagName {
        &self.name
    }

    /// The nodes, each after its dependencies, otherwise in the order of declaration.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node with that name.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.positions.get(name).map(|position| &self.nodes[*position])
    }

    /// The source files with the nodes' code, by path.
    pub fn files(&self) -> &BTreeMap<String, String> {
        &self.files
    }

    /// SHA-256 of the shape: names, kinds, types, dependencies and tags of the nodes. 64 hexadecimal characters.
    pub fn dag_hash(&self) -> &str {
        &self.dag_hash
    }

    /// SHA-256 of the code without comments and layout. 64 hexadecimal characters.
    pub fn code_hash(&self) -> &str {
        &self.code_hash
    }

    /// The same version with other texts to show: `shown` is called with the text of each file and of each node's code. The hashes
    /// do not change, because what may be shown does not affect what ran.
    #[must_use]
    pub fn with_code_text(mut self, shown: impl Fn(&str) -> String) -> Self {
        for contents in self.files.values_mut() {
            *contents = shown(contents);
        }
        for code in self.nodes.iter_mut().filter_map(|node| node.code.as_mut()) {
            code.text = shown(&code.text);
        }
        self
    }

    /// The same version under another name.
    #[must_use]
    pub fn with_name(self, name: DagName) -> Self {
        Self { name, ..self }
    }

    /// The same version with other documentation and tags to show: `documentation` is called with the documentation of each node,
    /// `tag` with the key and the value of each tag. The hashes do not change.
    #[must_use]
    pub fn with_notes(
        mut self,
        documentation: impl Fn(&str) -> Option<String>,
        tag: impl Fn(&str, &str) -> String,
    ) -> Self {
        for node in &mut self.nodes {
            node.documentation = node.documentation.as_deref().and_then(&documentation);
            for (key, value) in &mut node.tags {
                *value = tag(key, value);
            }
        }
        self
    }

    /// The same version with other node names and tag keys to show. If two would become equal, a number is appended to the second.
    /// The nodes can still be looked up by their original names. The hashes do not change.
    #[must_use]
    pub fn with_shown_names(mut self, shown: impl Fn(&str) -> String) -> Self {
        let mut names: HashMap<String, String> = HashMap::new();
        for (position, node) in self.nodes.iter_mut().enumerate() {
            let name = shown(&node.name);
            if name != node.name {
                let free = |name: &String| !self.positions.contains_key(name);
                let numbered = (2..).map(|number| format!("{name}_{number}"));
                let name = [name.clone()].into_iter().chain(numbered).find(free).unwrap_or(name);
                self.positions.insert(name.clone(), position);
                names.insert(std::mem::replace(&mut node.name, name.clone()), name);
            }
            if node.tags.keys().any(|key| shown(key) != *key) {
                node.tags = std::mem::take(&mut node.tags)
                    .into_iter()
                    .map(|(key, value)| (shown(&key), value))
                    .collect();
            }
        }
        if !names.is_empty() {
            for dependency in self.nodes.iter_mut().flat_map(|node| &mut node.dependencies) {
                if let Some(name) = names.get(dependency) {
                    dependency.clone_from(name);
                }
            }
        }
        self
    }

    /// Whether any node depends on the one with that name.
    pub fn is_read(&self, name: &str) -> bool {
        self.positions.get(name).is_some_and(|position| self.is_read[*position])
    }

    /// Every node that depends on `name`, directly or indirectly, in running order.
    pub fn downstream_of(&self, name: &str) -> Vec<&Node> {
        let mut reached = BTreeSet::from([name]);
        self.nodes
            .iter()
            .filter(|node| {
                let reads_reached =
                    node.dependencies.iter().any(|dependency| reached.contains(dependency.as_str()));
                if reads_reached {
                    reached.insert(&node.name);
                }
                reads_reached
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_makes_no_version() {
        let code = Code {
            path: "a.sql".into(),
            first_line: 1,
            last_line: 1,
            text: "SELECT 'Ann'".into(),
            normalized: "SELECT 'Ann'".into(),
        };
        let dag = Dag::builder("test::d_v1")
            .unwrap()
            .loader("risk")
            .tag("layer", "gold")
            .code(code)
            .build()
            .unwrap();
        let shown = dag
            .clone()
            .with_code_text(|_| "?".into())
            .with_notes(|_| None, |key, value| format!("{key}:{value}"));
        assert_eq!((dag.dag_hash(), dag.code_hash()), (shown.dag_hash(), shown.code_hash()));
        let risk = shown.node("risk").unwrap();
        assert_eq!(
            (risk.tags["layer"].as_str(), risk.code.as_ref().unwrap().text.as_str()),
            ("layer:gold", "?")
        );
    }

    #[test]
    fn names_that_are_shown_make_no_version_and_stay_apart() {
        let dag = Dag::builder("test::d_v1")
            .unwrap()
            .loader("x:secret@h")
            .loader("x:other@h")
            .saver("out", ["x:other@h", "x:secret@h"])
            .tag("x:secret@h", "gold")
            .build()
            .unwrap();
        let without = |name: &str| name.replace("x:secret", "x").replace("x:other", "x");
        let shown = dag.clone().with_shown_names(without);
        assert_eq!((dag.dag_hash(), dag.code_hash()), (shown.dag_hash(), shown.code_hash()));
        let names: Vec<&str> = shown.nodes().iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["x@h", "x@h_2", "out"]);
        assert_eq!(shown.node("out").unwrap().dependencies, ["x@h_2", "x@h"]);
        assert_eq!(shown.node("x:other@h").unwrap().name, "x@h_2");
        assert_eq!(shown.node("out").unwrap().tags["x@h"], "gold");
        assert!(shown.is_read("x@h") && !format!("{:?}", shown.nodes()).contains("secret"));
        assert_eq!(shown.clone().with_shown_names(without), shown);
    }

    #[test]
    fn downstream_nodes_are_found_through_others() {
        let dag = Dag::builder("test::d_v1")
            .unwrap()
            .loader("a")
            .transform("b", ["a"])
            .loader("z")
            .saver("c", ["b", "z"])
            .build()
            .unwrap();
        let names =
            |name: &str| dag.downstream_of(name).iter().map(|node| node.name.clone()).collect::<Vec<_>>();
        assert_eq!(names("a"), ["b", "c"]);
        assert_eq!(names("z"), ["c"]);
        assert!(names("c").is_empty());
        assert_eq!(
            ["a", "b", "z", "c", "no"].map(|name| dag.is_read(name)),
            [true, true, true, false, false]
        );
    }
}
