//! Combines many events of nodes into few requests.

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};
use daglight_run_bundle::{
    ItemsByKind,
    outbox::{Attribute, Outcome},
};
use serde_json::Value;

use crate::{
    encode::{self, wire_name},
    wire,
};

/// Large batches are faster: in a request with 1,000 nodes, each costs the server a third of what it does in one with 100.
const MAX_BATCH_NODES: usize = 1_000;

/// How many bytes of the outbox a batch has before it is sent, regardless of its number of events.
const MAX_BATCH_BYTES: u64 = 8 << 20;

/// Starts, ends and attributes of nodes, in the order of the outbox.
#[derive(Debug, Default)]
pub(crate) struct TaskBatch {
    first: Part,
    index: HashMap<String, usize>,
    bytes: u64,
}

/// The content of one request.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) body: wire::DagRunsBulkRequest,
    /// How many events were merged into each task update.
    events: Vec<u64>,
    /// Whether an earlier attempt may have succeeded.
    pub(crate) uncertain: bool,
    /// The number of attempts that failed although the server was working.
    pub(crate) failures: u32,
}

/// Facts about a node that do not come from its end.
#[derive(Debug, Default)]
pub(crate) struct NodeFacts {
    pub(crate) dependencies: Vec<Value>,
    pub(crate) started: Option<DateTime<Utc>>,
}

impl TaskBatch {
    pub(crate) fn is_empty(&self) -> bool {
        self.first.events.is_empty()
    }

    /// Full when one node more than the limit has started; until then, ends of batched nodes are still merged.
    pub(crate) fn is_full(&self) -> bool {
        self.first.events.len() > MAX_BATCH_NODES || self.bytes >= MAX_BATCH_BYTES
    }

    pub(crate) fn start(&mut self, node: &str, time: DateTime<Utc>, facts: NodeFacts, bytes: u64) {
        let task = self.task(node, facts, bytes);
        task.start_time.get_or_insert(time);
        task.status = wire::DagRunUpdateRunStatus::Running.to_string();
        // A node that is started again after its end, within one batch, must not keep the end of its first attempt.
        task.end_time = None;
    }

    pub(crate) fn finish(
        &mut self,
        node: &str,
        (status, time): (Outcome, DateTime<Utc>),
        attributes: Vec<Attribute<Value>>,
        facts: NodeFacts,
        bytes: u64,
    ) {
        let task = self.task(node, facts, bytes);
        // For a node that the server already knows, the server keeps its start.
        task.start_time.get_or_insert(time);
        task.status = wire_name(status).to_owned();
        task.end_time = Some(time);
        self.first.body.attributes.extend(encode::attributes(node, attributes));
    }

    fn task(&mut self, node: &str, facts: NodeFacts, bytes: u64) -> &mut wire::NodeRunIn {
        self.bytes += bytes;
        let Part { body: wire::DagRunsBulkRequest { task_updates, .. }, events, .. } = &mut self.first;
        // One update per node and request: fewer rows, and no ambiguity about which of two rows in a request wins.
        let index = *self.index.entry(node.to_owned()).or_insert_with(|| {
            task_updates.push(wire::NodeRunIn {
                node_name: encode::node_name(node),
                node_template_name: encode::node_name(node),
                realized_dependencies: Some(facts.dependencies),
                start_time: facts.started,
                end_time: None,
                status: String::new(),
            });
            events.push(0);
            events.len() - 1
        });
        // Counted per update, because a start and an end of a node may be merged into one: rejected and accepted items are counted
        // in events of the outbox.
        events[index] += 1;
        &mut task_updates[index]
    }

    pub(crate) fn into_part(self) -> Part {
        self.first
    }
}

impl Default for Part {
    fn default() -> Self {
        let body = wire::DagRunsBulkRequest { task_updates: Vec::new(), attributes: Vec::new() };
        Self { body, events: Vec::new(), uncertain: false, failures: 0 }
    }
}

impl Part {
    /// The number of task updates and attributes.
    pub(crate) fn len(&self) -> usize {
        self.events.len() + self.body.attributes.len()
    }

    /// Takes the content, if there is any, and leaves nothing.
    pub(crate) fn take(&mut self) -> Option<Self> {
        (self.len() > 0).then(|| std::mem::take(self))
    }

    /// The number of events that it represents.
    pub(crate) fn counts(&self) -> ItemsByKind {
        let (task_updates, attributes) = (self.events.iter().sum(), self.body.attributes.len() as u64);
        ItemsByKind { task_updates, attributes, ..ItemsByKind::default() }
    }

    pub(crate) fn attribute_nodes(&self) -> BTreeSet<&str> {
        self.body.attributes.iter().map(|attribute| attribute.node_name.as_str()).collect()
    }

    pub(crate) fn attribute_types(&self) -> BTreeSet<&str> {
        self.body.attributes.iter().map(|attribute| attribute.type_.as_str()).collect()
    }

    /// Removes the attributes that are already on the server, by node and name, and returns their number.
    pub(crate) fn remove_delivered(&mut self, there: &HashSet<(String, String)>) -> u64 {
        let before = self.body.attributes.len();
        self.body
            .attributes
            .retain(|attribute| !there.contains(&(attribute.node_name.clone(), attribute.name.clone())));
        (before - self.body.attributes.len()) as u64
    }

    /// Two parts with the same combined effect: nodes and their attributes, or else halves. A single item is returned unchanged.
    pub(crate) fn split(mut self) -> Result<(Self, Self), Self> {
        if self.len() < 2 {
            return Err(self);
        }
        // One failure of each half is already known: that of the whole.
        let mut second = Self { failures: 1, ..Self::default() };
        let Self { body, events, .. } = &mut self;
        if events.is_empty() {
            second.body.attributes = body.attributes.split_off(body.attributes.len() / 2);
        } else if body.attributes.is_empty() {
            second.events = events.split_off(events.len() / 2);
            second.body.task_updates = body.task_updates.split_off(events.len());
        } else {
            // Nodes first: an attribute refers to a node run that must exist.
            second.body.attributes = std::mem::take(&mut body.attributes);
        }
        self.failures = 1;
        Ok((self, second))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use daglight_run_bundle::outbox::{AttributeKind, AttributeRole};

    fn time(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    fn attribute() -> Attribute<Value> {
        let (kind, role) = (AttributeKind::Primitive, AttributeRole::ResultSummary);
        Attribute { name: "rows".into(), kind, role, value: json!(1) }
    }

    fn batch(nodes: usize) -> TaskBatch {
        let mut batch = TaskBatch::default();
        for node in 0..nodes {
            let name = format!("n{node}");
            batch.start(&name, time(1), NodeFacts::default(), 10);
            let end = (Outcome::Success, time(2));
            batch.finish(&name, end, vec![attribute()], NodeFacts::default(), 10);
        }
        batch
    }

    #[test]
    fn start_and_end_of_a_node_are_one_update() {
        let part = batch(2).into_part();
        let counts = ItemsByKind { task_updates: 4, attributes: 2, ..ItemsByKind::default() };
        assert_eq!((part.len(), part.counts()), (4, counts));
        let task = &part.body.task_updates[0];
        assert_eq!((task.start_time, task.end_time), (Some(time(1)), Some(time(2))));
        assert_eq!(task.status, "SUCCESS");
    }

    #[test]
    fn a_batch_has_room_for_so_many_nodes() {
        assert!(!batch(MAX_BATCH_NODES).is_full());
        assert!(batch(MAX_BATCH_NODES + 1).is_full());
    }

    #[test]
    fn splitting_loses_nothing_and_comes_to_an_end() {
        let whole = batch(5).into_part();
        let counts = whole.counts();
        let (mut parts, mut single) = (vec![whole], Vec::new());
        while let Some(part) = parts.pop() {
            match part.split() {
                Ok((first, second)) => parts.extend([first, second]),
                Err(part) => single.push(part),
            }
        }
        assert_eq!(single.len(), 10);
        let mut sum = ItemsByKind::default();
        single.iter().for_each(|part| sum.add(part.counts()));
        assert_eq!(sum, counts);
    }
}
