//! The description of a pipeline: nodes, dependencies, documentation, code, and the hashes that make it a version.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{DagName, DagNameError, hash::FieldHasher};

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeKind {
    /// Computes something from other nodes.
    Transform,
    /// Brings data in.
    DataLoader,
    /// Takes data out.
    DataSaver,
    /// A value given from outside.
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
    /// The first line, from 1.
    pub first_line: usize,
    /// The last line, included.
    pub last_line: usize,
    /// The text, as it was written.
    pub text: String,
    /// What the code says, without comments and layout. Only this goes into the version.
    pub normalized: String,
}

/// One node of a DAG.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Unique in its DAG.
    pub name: String,
    /// What it does.
    pub kind: NodeKind,
    /// The type of its output, such as `table` or `parquet`.
    pub output_type: String,
    /// The names of the nodes it reads, in the order of declaration.
    pub dependencies: Vec<String>,
    /// Free labels.
    pub tags: BTreeMap<String, String>,
    /// What it is for.
    pub documentation: Option<String>,
    /// Its code, where there is any.
    pub code: Option<Code>,
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
    name: DagName,
    nodes: Vec<Node>,
    files: BTreeMap<String, String>,
    dag_hash: String,
    code_hash: String,
}

impl Dag {
    /// Starts a description.
    ///
    /// # Errors
    /// When the name is none that a DAG can have.
    pub fn builder<N>(name: N) -> Result<DagBuilder, DagNameError>
    where
        N: TryInto<DagName>,
        DagNameError: From<N::Error>,
    {
        let name = name.try_into()?;
        Ok(DagBuilder { name, nodes: Vec::new(), files: BTreeMap::new(), setup: Vec::new() })
    }

    /// The name.
    pub fn name(&self) -> &DagName {
        &self.name
    }

    /// The nodes, each after those it depends on, otherwise in the order of declaration.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node of that name.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// The source files that the nodes' code points into, by path.
    pub fn files(&self) -> &BTreeMap<String, String> {
        &self.files
    }

    /// SHA-256 of the shape: names, kinds, types, dependencies and tags of the nodes. 64 hexadecimal characters.
    pub fn dag_hash(&self) -> &str {
        &self.dag_hash
    }

    /// SHA-256 of what the code says. 64 hexadecimal characters.
    pub fn code_hash(&self) -> &str {
        &self.code_hash
    }

    /// The same version with other texts to show: `shown` is given the text of each file and of each node's code. The
    /// hashes stay, because what may be shown does not change what ran.
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

    /// The same version with other documentation and tags to show: `shown` is given `documentation` or the key of a tag,
    /// and the text. The hashes stay.
    #[must_use]
    pub fn with_notes(mut self, shown: impl Fn(&str, &str) -> String) -> Self {
        for node in &mut self.nodes {
            if let Some(text) = &mut node.documentation {
                *text = shown("documentation", text);
            }
            for (key, value) in &mut node.tags {
                *value = shown(key, value);
            }
        }
        self
    }

    /// Every node that depends on `name`, directly or not, in running order.
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

/// Collects the nodes of a DAG.
#[derive(Clone, Debug)]
#[must_use]
pub struct DagBuilder {
    name: DagName,
    nodes: Vec<Node>,
    files: BTreeMap<String, String>,
    setup: Vec<String>,
}

impl DagBuilder {
    /// Adds a node that brings data in.
    pub fn loader(self, name: impl Into<String>) -> NodeBuilder {
        self.node(name, NodeKind::DataLoader, [] as [&str; 0])
    }

    /// Adds a node that computes something from others.
    pub fn transform<D: Into<String>>(
        self,
        name: impl Into<String>,
        dependencies: impl IntoIterator<Item = D>,
    ) -> NodeBuilder {
        self.node(name, NodeKind::Transform, dependencies)
    }

    /// Adds a node that takes data out.
    pub fn saver<D: Into<String>>(
        self,
        name: impl Into<String>,
        dependencies: impl IntoIterator<Item = D>,
    ) -> NodeBuilder {
        self.node(name, NodeKind::DataSaver, dependencies)
    }

    /// Adds a node of any kind. Its type is `table` unless [`NodeBuilder::output_type`] says another.
    pub fn node<D: Into<String>>(
        self,
        name: impl Into<String>,
        kind: NodeKind,
        dependencies: impl IntoIterator<Item = D>,
    ) -> NodeBuilder {
        NodeBuilder {
            dag: self,
            node: Node {
                name: name.into(),
                kind,
                output_type: "table".to_owned(),
                dependencies: dependencies.into_iter().map(Into::into).collect(),
                tags: BTreeMap::new(),
                documentation: None,
                code: None,
            },
        }
    }

    /// Adds a source file that nodes' code points into.
    pub fn file(mut self, path: impl Into<String>, contents: impl Into<String>) -> Self {
        self.files.insert(path.into(), contents.into());
        self
    }

    /// Adds code that is no node but decides results, such as a session's settings, without comments and layout.
    pub fn setup(mut self, normalized: impl Into<String>) -> Self {
        self.setup.push(normalized.into());
        self
    }

    /// Checks the description and computes its hashes.
    ///
    /// # Errors
    /// When two nodes have one name, a dependency is no node, or nodes depend on each other in a circle.
    pub fn build(self) -> Result<Dag, DagError> {
        let mut names = BTreeSet::new();
        for node in &self.nodes {
            if node.name.trim().is_empty() {
                return Err(DagError::EmptyNodeName { kind: node.kind.name() });
            }
            if !names.insert(node.name.as_str()) {
                return Err(DagError::DuplicateNode { name: node.name.clone() });
            }
        }
        for node in &self.nodes {
            if let Some(unknown) = node.dependencies.iter().find(|name| !names.contains(name.as_str())) {
                return Err(DagError::UnknownDependency {
                    node: node.name.clone(),
                    dependency: unknown.clone(),
                });
            }
        }
        let dag_hash = dag_hash(&self.nodes);
        let code_hash = code_hash(&self.nodes, &self.setup);
        let nodes = in_running_order(self.nodes)?;
        Ok(Dag { name: self.name, nodes, files: self.files, dag_hash, code_hash })
    }
}

/// A [`DagBuilder`] whose last node can still be described.
#[derive(Clone, Debug)]
#[must_use]
pub struct NodeBuilder {
    dag: DagBuilder,
    node: Node,
}

impl NodeBuilder {
    /// What the node is for.
    pub fn documentation(mut self, text: impl Into<String>) -> Self {
        self.node.documentation = Some(text.into());
        self
    }

    /// Adds a label.
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.node.tags.insert(key.into(), value.into());
        self
    }

    /// Adds labels.
    pub fn tags<K, V>(mut self, tags: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: Into<String>,
        V: Into<String>,
    {
        self.node.tags.extend(tags.into_iter().map(|(key, value)| (key.into(), value.into())));
        self
    }

    /// The type of the node's output.
    pub fn output_type(mut self, name: impl Into<String>) -> Self {
        self.node.output_type = name.into();
        self
    }

    /// The node's code.
    pub fn code(mut self, code: Code) -> Self {
        self.node.code = Some(code);
        self
    }

    /// Ends the node's description.
    pub fn end(mut self) -> DagBuilder {
        self.dag.nodes.push(self.node);
        self.dag
    }

    /// As [`DagBuilder::loader`].
    pub fn loader(self, name: impl Into<String>) -> Self {
        self.end().loader(name)
    }

    /// As [`DagBuilder::transform`].
    pub fn transform<D: Into<String>>(
        self,
        name: impl Into<String>,
        dependencies: impl IntoIterator<Item = D>,
    ) -> Self {
        self.end().transform(name, dependencies)
    }

    /// As [`DagBuilder::saver`].
    pub fn saver<D: Into<String>>(
        self,
        name: impl Into<String>,
        dependencies: impl IntoIterator<Item = D>,
    ) -> Self {
        self.end().saver(name, dependencies)
    }

    /// As [`DagBuilder::build`].
    ///
    /// # Errors
    /// As [`DagBuilder::build`].
    pub fn build(self) -> Result<Dag, DagError> {
        self.end().build()
    }
}

/// Why a description is no DAG.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DagError {
    /// A node without a name.
    #[error("a {kind} has no name")]
    EmptyNodeName {
        /// The node's kind.
        kind: &'static str,
    },
    /// Two nodes of one name.
    #[error("two nodes are called {name:?}: names must be unique in a DAG")]
    DuplicateNode {
        /// The name.
        name: String,
    },
    /// A dependency that is no node.
    #[error("node {node:?} depends on {dependency:?}, which is no node of this DAG")]
    UnknownDependency {
        /// The node.
        node: String,
        /// What it names.
        dependency: String,
    },
    /// Nodes that wait for each other.
    #[error("nodes depend on each other in a circle: {}", nodes.join(" -> "))]
    Cycle {
        /// The circle; the first node stands at the end again.
        nodes: Vec<String>,
    },
}

fn dag_hash(nodes: &[Node]) -> String {
    sorted(nodes)
        .into_iter()
        .fold(FieldHasher::new("daglight.dag.v1"), |hasher, node| {
            let dependencies: BTreeSet<&str> = node.dependencies.iter().map(String::as_str).collect();
            let tags = node.tags.iter().flat_map(|(key, value)| [key.as_str(), value.as_str()]);
            hasher
                .field(&node.name)
                .field(node.kind.name())
                .field(&node.output_type)
                .fields(dependencies)
                .fields(tags)
        })
        .finish()
}

fn code_hash(nodes: &[Node], setup: &[String]) -> String {
    let hasher = FieldHasher::new("daglight.code.v1").fields(setup.iter().map(String::as_str));
    sorted(nodes)
        .into_iter()
        .fold(hasher, |hasher, node| {
            let code = node.code.as_ref().map(|code| code.normalized.as_str());
            hasher.field(&node.name).fields(code)
        })
        .finish()
}

fn sorted(nodes: &[Node]) -> Vec<&Node> {
    let mut sorted: Vec<&Node> = nodes.iter().collect();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    sorted
}

fn in_running_order(mut waiting: Vec<Node>) -> Result<Vec<Node>, DagError> {
    let mut done: BTreeSet<String> = BTreeSet::new();
    let mut ordered = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let ready = waiting
            .iter()
            .position(|node| node.dependencies.iter().all(|dependency| done.contains(dependency)));
        match ready {
            Some(index) => {
                let node = waiting.remove(index);
                done.insert(node.name.clone());
                ordered.push(node);
            }
            None => return Err(DagError::Cycle { nodes: circle(&waiting, &done) }),
        }
    }
    Ok(ordered)
}

/// Follows unmet dependencies from the first waiting node until one comes a second time.
fn circle(waiting: &[Node], done: &BTreeSet<String>) -> Vec<String> {
    let mut path: Vec<&str> = Vec::new();
    let mut current = waiting[0].name.as_str();
    loop {
        if let Some(start) = path.iter().position(|name| *name == current) {
            path.push(current);
            return path[start..].iter().rev().map(|name| (*name).to_owned()).collect();
        }
        path.push(current);
        current = waiting
            .iter()
            .find(|node| node.name == current)
            .and_then(|node| node.dependencies.iter().find(|name| !done.contains(*name)))
            .expect("a node that waits has a dependency that waits");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(normalized: &str) -> Code {
        Code {
            path: "a.sql".into(),
            first_line: 1,
            last_line: 1,
            text: format!("-- why\n{normalized}"),
            normalized: normalized.into(),
        }
    }

    fn example() -> Dag {
        Dag::builder("test::example_v1")
            .unwrap()
            .loader("orders")
            .code(code("CREATE EXTERNAL TABLE orders"))
            .transform("risk", ["orders"])
            .tag("layer", "gold")
            .code(code("SELECT 1"))
            .build()
            .unwrap()
    }

    #[test]
    fn hashes_are_the_same_everywhere() {
        let dag = example();
        assert_eq!(dag.dag_hash(), "a10fba1ff990a509f5d31bc5dadde6ffa3b8fa45de229a0f511ac785e42ea1d6");
        assert_eq!(dag.code_hash(), "cd7ff8a85f78a39ca989d8970aa26926e30f4c4a21b6a8545743ca110defe894");
    }

    #[test]
    fn order_and_documentation_make_no_version() {
        let other = Dag::builder("test::example_v1")
            .unwrap()
            .transform("risk", ["orders"])
            .documentation("late")
            .tags([("layer", "gold")])
            .code(code("SELECT 1"))
            .loader("orders")
            .code(code("CREATE EXTERNAL TABLE orders"))
            .build()
            .unwrap();
        let dag = example();
        assert_eq!((dag.dag_hash(), dag.code_hash()), (other.dag_hash(), other.code_hash()));
        assert_eq!(other.nodes()[0].name, "orders");
    }

    #[test]
    fn code_setup_and_shape_make_a_version() {
        let dag = example();
        let base = || Dag::builder("test::example_v1").unwrap();
        let with_setup = base().setup("SET a = 1").loader("orders").build().unwrap();
        let without_setup = base().loader("orders").build().unwrap();
        assert_ne!(with_setup.code_hash(), without_setup.code_hash());
        assert_ne!(dag.dag_hash(), without_setup.dag_hash());
    }

    #[test]
    fn what_is_shown_makes_no_version() {
        let dag = example();
        let shown =
            dag.clone().with_code_text(|_| "?".into()).with_notes(|key, value| format!("{key}:{value}"));
        assert_eq!((dag.dag_hash(), dag.code_hash()), (shown.dag_hash(), shown.code_hash()));
        let risk = shown.node("risk").unwrap();
        assert_eq!(
            (risk.tags["layer"].as_str(), risk.code.as_ref().unwrap().text.as_str()),
            ("layer:gold", "?")
        );
    }

    #[track_caller]
    fn check_error(dag: NodeBuilder, expected: &str) {
        assert_eq!(dag.build().unwrap_err().to_string(), expected);
    }

    #[test]
    fn what_is_no_dag_is_refused_with_the_nodes() {
        let base = || Dag::builder("test::example_v1").unwrap();
        check_error(
            base().loader("a").loader("a"),
            "two nodes are called \"a\": names must be unique in a DAG",
        );
        check_error(
            base().transform("b", ["c"]),
            "node \"b\" depends on \"c\", which is no node of this DAG",
        );
        check_error(
            base().loader("x").transform("a", ["x", "c"]).transform("b", ["a"]).transform("c", ["b"]),
            "nodes depend on each other in a circle: a -> b -> c -> a",
        );
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
    }
}
