//! Builds a DAG, and rejects invalid descriptions.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{
    dag::{Code, Dag, Node, NodeKind},
    dag_name::{DagName, DagNameError},
    version::{code_hash, dag_hash},
};

/// Collects the nodes of a DAG.
#[derive(Clone, Debug)]
#[must_use]
pub struct DagBuilder {
    name: DagName,
    nodes: Vec<Node>,
    files: BTreeMap<String, String>,
    setup: Vec<String>,
}

impl Dag {
    /// Starts a description.
    ///
    /// # Errors
    /// When the name is not a valid DAG name.
    pub fn builder<N>(name: N) -> Result<DagBuilder, DagNameError>
    where
        N: TryInto<DagName>,
        DagNameError: From<N::Error>,
    {
        Ok(DagBuilder::new(name.try_into()?))
    }

    /// A DAG of nodes that were seen while they ran. Everything that would make it invalid is left out: nodes without a name, a
    /// second node with the same name, dependencies that are not nodes, and dependencies that close a cycle.
    pub fn of_seen(name: DagName, nodes: impl IntoIterator<Item = Node>) -> Self {
        let mut names = BTreeSet::new();
        let mut nodes: Vec<Node> = nodes
            .into_iter()
            .filter(|node| !node.name.trim().is_empty() && names.insert(node.name.clone()))
            .collect();
        for node in &mut nodes {
            let own = &node.name;
            node.dependencies.retain(|dependency| dependency != own && names.contains(dependency));
        }
        loop {
            match (DagBuilder { nodes: nodes.clone(), ..DagBuilder::new(name.clone()) }).build() {
                Ok(dag) => return dag,
                Err(DagError::Cycle { nodes: circle }) => open(&mut nodes, &circle),
                // No other error is possible.
                Err(_) => nodes.clear(),
            }
        }
    }
}

/// Breaks a cycle by removing one dependency. Consecutive nodes of `circle` depend on each other in one direction.
fn open(nodes: &mut [Node], circle: &[String]) {
    let [first, second, ..] = circle else { return };
    for node in nodes {
        let other = match &node.name {
            name if name == first => second,
            name if name == second => first,
            _ => continue,
        };
        node.dependencies.retain(|dependency| dependency != other);
    }
}

impl DagBuilder {
    fn new(name: DagName) -> Self {
        Self { name, nodes: Vec::new(), files: BTreeMap::new(), setup: Vec::new() }
    }

    /// Adds a node that reads data from outside the pipeline.
    pub fn loader(self, name: impl Into<String>) -> NodeBuilder {
        self.node(name, NodeKind::DataLoader, [] as [&str; 0])
    }

    /// Adds a node that computes something from other nodes.
    pub fn transform<D: Into<String>>(
        self,
        name: impl Into<String>,
        dependencies: impl IntoIterator<Item = D>,
    ) -> NodeBuilder {
        self.node(name, NodeKind::Transform, dependencies)
    }

    /// Adds a node that writes data to the outside.
    pub fn saver<D: Into<String>>(
        self,
        name: impl Into<String>,
        dependencies: impl IntoIterator<Item = D>,
    ) -> NodeBuilder {
        self.node(name, NodeKind::DataSaver, dependencies)
    }

    /// Adds a node of any kind. Its type is `table` unless [`NodeBuilder::output_type`] sets another one.
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

    /// Adds a source file with nodes' code.
    pub fn file(mut self, path: impl Into<String>, contents: impl Into<String>) -> Self {
        self.files.insert(path.into(), contents.into());
        self
    }

    /// Adds code outside nodes that affects results, such as session settings, without comments and layout.
    pub fn setup(mut self, normalized: impl Into<String>) -> Self {
        self.setup.push(normalized.into());
        self
    }

    /// Checks the description and computes its hashes.
    ///
    /// # Errors
    /// When two nodes have the same name, a dependency is not a node, or the dependencies have a cycle.
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
        // Before the nodes are sorted: the hash does its own sorting, and must not depend on how ties are broken here.
        let dag_hash = dag_hash(&self.nodes);
        let code_hash = code_hash(&self.nodes, &self.setup);
        let nodes = in_running_order(self.nodes)?;
        let positions: HashMap<String, usize> =
            nodes.iter().enumerate().map(|(position, node)| (node.name.clone(), position)).collect();
        let mut is_read = vec![false; nodes.len()];
        for dependency in nodes.iter().flat_map(|node| &node.dependencies) {
            is_read[positions[dependency]] = true;
        }
        Ok(Dag { name: self.name, nodes, positions, is_read, files: self.files, dag_hash, code_hash })
    }
}

/// A [`DagBuilder`] whose last node can still be given more details.
#[derive(Clone, Debug)]
#[must_use]
pub struct NodeBuilder {
    dag: DagBuilder,
    node: Node,
}

impl NodeBuilder {
    /// The documentation of the node.
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

    /// Like [`DagBuilder::loader`].
    pub fn loader(self, name: impl Into<String>) -> Self {
        self.end().loader(name)
    }

    /// Like [`DagBuilder::transform`].
    pub fn transform<D: Into<String>>(
        self,
        name: impl Into<String>,
        dependencies: impl IntoIterator<Item = D>,
    ) -> Self {
        self.end().transform(name, dependencies)
    }

    /// Like [`DagBuilder::saver`].
    pub fn saver<D: Into<String>>(
        self,
        name: impl Into<String>,
        dependencies: impl IntoIterator<Item = D>,
    ) -> Self {
        self.end().saver(name, dependencies)
    }

    /// Like [`DagBuilder::build`].
    ///
    /// # Errors
    /// Like [`DagBuilder::build`].
    pub fn build(self) -> Result<Dag, DagError> {
        self.end().build()
    }
}

/// Why a description is not a DAG.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DagError {
    /// A node without a name.
    #[error("a {kind} has no name")]
    EmptyNodeName {
        /// The node's kind.
        kind: &'static str,
    },
    /// Two nodes with the same name.
    #[error("two nodes are called {name:?}: names must be unique in a DAG")]
    DuplicateNode {
        /// The name.
        name: String,
    },
    /// A dependency that is not a node.
    #[error("node {node:?} depends on {dependency:?}, which is not a node of this DAG")]
    UnknownDependency {
        /// The node.
        node: String,
        /// The dependency.
        dependency: String,
    },
    /// Nodes that depend on each other.
    #[error("nodes depend on each other in a circle: {}", nodes.join(" -> "))]
    Cycle {
        /// The cycle; the first node is repeated at the end.
        nodes: Vec<String>,
    },
}

/// Each node after its dependencies, otherwise in the order of declaration.
fn in_running_order(declared: Vec<Node>) -> Result<Vec<Node>, DagError> {
    let positions: HashMap<&str, usize> =
        declared.iter().enumerate().map(|(position, node)| (node.name.as_str(), position)).collect();
    let mut readers = vec![Vec::new(); declared.len()];
    let mut pending = vec![0_usize; declared.len()];
    for (reader, node) in declared.iter().enumerate() {
        for dependency in &node.dependencies {
            readers[positions[dependency.as_str()]].push(reader);
            pending[reader] += 1;
        }
    }
    let is_ready = |position: &usize| pending[*position] == 0;
    let mut ready: BTreeSet<usize> = (0..declared.len()).filter(is_ready).collect();
    let mut order = Vec::with_capacity(declared.len());
    // The first in the order of declaration, so that a DAG that was declared in running order keeps that order.
    while let Some(next) = ready.pop_first() {
        order.push(next);
        for reader in &readers[next] {
            pending[*reader] -= 1;
            if pending[*reader] == 0 {
                ready.insert(*reader);
            }
        }
    }
    // The remaining nodes depend on themselves.
    if order.len() < declared.len() {
        return Err(DagError::Cycle { nodes: circle(&declared, &positions, &pending) });
    }
    let mut declared: Vec<Option<Node>> = declared.into_iter().map(Some).collect();
    Ok(order.into_iter().filter_map(|position| declared[position].take()).collect())
}

/// Follows unmet dependencies from the first waiting node until a node is repeated. `pending` is the number of unmet dependencies
/// of each node.
fn circle(declared: &[Node], positions: &HashMap<&str, usize>, pending: &[usize]) -> Vec<String> {
    let mut path: Vec<usize> = Vec::new();
    let mut places: HashMap<usize, usize> = HashMap::new();
    let mut current = pending.iter().position(|count| *count > 0).unwrap_or_default();
    loop {
        // Every waiting node has a waiting dependency, so following them must return to a node that was already seen.
        if let Some(start) = places.insert(current, path.len()) {
            path.push(current);
            return path[start..].iter().rev().map(|position| declared[*position].name.clone()).collect();
        }
        path.push(current);
        let mut dependencies = declared[current].dependencies.iter().map(|name| positions[name.as_str()]);
        current = dependencies
            .find(|dependency| pending[*dependency] > 0)
            .expect("a node that waits has a dependency that waits");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_error(dag: NodeBuilder, expected: &str) {
        assert_eq!(dag.build().unwrap_err().to_string(), expected);
    }

    #[test]
    fn what_is_not_a_dag_is_refused_with_the_nodes() {
        let base = || Dag::builder("test::example_v1").unwrap();
        check_error(
            base().loader("a").loader("a"),
            "two nodes are called \"a\": names must be unique in a DAG",
        );
        check_error(
            base().transform("b", ["c"]),
            "node \"b\" depends on \"c\", which is not a node of this DAG",
        );
        check_error(
            base().loader("x").transform("a", ["x", "c"]).transform("b", ["a"]).transform("c", ["b"]),
            "nodes depend on each other in a circle: a -> b -> c -> a",
        );
    }

    #[test]
    fn nodes_run_after_those_they_depend_on_and_else_in_the_order_of_declaration() {
        let dag = Dag::builder("test::example_v1")
            .unwrap()
            .saver("d", ["b"])
            .loader("z")
            .transform("b", ["a"])
            .loader("a")
            .build()
            .unwrap();
        let names: Vec<&str> = dag.nodes().iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["z", "a", "b", "d"]);
    }

    #[test]
    fn what_was_seen_is_a_dag_without_what_can_be_in_none() {
        let node = |name: &str, dependencies: &[&str]| Node {
            name: name.to_owned(),
            kind: NodeKind::Transform,
            output_type: "table".to_owned(),
            dependencies: dependencies.iter().map(|&name| name.to_owned()).collect(),
            tags: BTreeMap::new(),
            documentation: None,
            code: None,
        };
        let name: DagName = "test::seen_v1".parse().unwrap();
        let seen = [
            node("c", &["b", "c"]),
            node(" ", &[]),
            node("b", &["a", "no"]),
            node("a", &[]),
            node("a", &["b"]),
        ];
        let dag = Dag::of_seen(name.clone(), seen);
        let names: Vec<_> =
            dag.nodes().iter().map(|node| (&*node.name, node.dependencies.join(","))).collect();
        assert_eq!(names, [("a", String::new()), ("b", "a".into()), ("c", "b".into())]);
        let circles =
            [node("a", &["b"]), node("b", &["c"]), node("c", &["a"]), node("d", &["e"]), node("e", &["d"])];
        assert_eq!(Dag::of_seen(name, circles).nodes().len(), 5);
    }
}
