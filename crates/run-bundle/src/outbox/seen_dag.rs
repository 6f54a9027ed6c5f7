//! The pipeline of an observed run, assembled from its events.

use std::collections::{BTreeMap, HashMap};

use daglight_run_identity::{Dag, DagName, Node, NodeKind};

use super::event::{Event, Version};

/// The nodes of an observed run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenDag {
    name: String,
    nodes: Vec<Node>,
    positions: HashMap<String, usize>,
    has_ended: bool,
}

impl SeenDag {
    /// An empty pipeline with that name.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), nodes: Vec::new(), positions: HashMap::new(), has_ended: false }
    }

    /// Adds the information from an event.
    pub fn take<V>(&mut self, event: &Event<V>) {
        match event {
            Event::NodeSeen(node) => match self.positions.get(&node.name) {
                Some(position) => self.nodes[*position] = (**node).clone(),
                None => self.push((**node).clone()),
            },
            // The line that introduced the node is lost, and a server accepts nothing for a node that it does not know.
            Event::TaskStarted { node, .. } if !self.positions.contains_key(node) => self.push(unknown(node)),
            Event::RunFinished { .. } => self.has_ended = true,
            _ => {}
        }
    }

    fn push(&mut self, node: Node) {
        self.positions.insert(node.name.clone(), self.nodes.len());
        self.nodes.push(node);
    }

    /// Whether the run has ended, so that no more nodes will be seen.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// The nodes seen so far. `None` if the name is not a valid DAG name.
    pub fn dag(&self) -> Option<Dag> {
        let name: DagName = self.name.parse().ok()?;
        Some(Dag::of_seen(name, self.nodes.iter().cloned()))
    }

    /// Like [`Self::dag`], as a version.
    pub fn version(&self) -> Option<Version> {
        Some(Version::of_dag(&self.dag()?, BTreeMap::new()))
    }
}

fn unknown(name: &str) -> Node {
    Node {
        name: name.to_owned(),
        kind: NodeKind::Transform,
        output_type: "unknown".to_owned(),
        dependencies: Vec::new(),
        tags: BTreeMap::new(),
        documentation: None,
        code: None,
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn node(name: &str, dependencies: &[&str]) -> Event {
        let dependencies = dependencies.iter().map(|&name| name.to_owned()).collect();
        Event::NodeSeen(Box::new(Node { dependencies, ..unknown(name) }))
    }

    #[test]
    fn the_last_that_was_seen_of_a_node_counts_and_a_node_whose_line_is_lost_is_one() {
        let mut seen = SeenDag::new("test::seen_v1");
        let started = Event::TaskStarted { node: "c".into(), time: DateTime::UNIX_EPOCH };
        for event in [node("b", &[]), node("a", &[]), node("b", &["a", "lost"]), started] {
            seen.take(&event);
        }
        let dag = seen.dag().unwrap();
        let names: Vec<_> = dag.nodes().iter().map(|node| (&*node.name, node.dependencies.len())).collect();
        assert_eq!(names, [("a", 0), ("b", 1), ("c", 0)]);
        assert!(!seen.has_ended());
        assert_eq!(seen.version().unwrap().dag_hash, dag.dag_hash());
        assert_eq!(SeenDag::new("").dag(), None);
    }
}
