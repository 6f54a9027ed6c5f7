//! Which nodes of a large DAG are drawn: the interesting ones, and their neighbours.

use std::{cmp::Reverse, collections::HashMap};

use daglight_run_bundle::NodeStatus;

use crate::report::NodeReport;

/// How many nodes are drawn at most: a drawing of more would not be readable.
pub(crate) const MAX_DRAWN: usize = 300;
/// Of these, the maximum number of nodes that did not succeed, and of steps of the longest chain.
const MAX_FAILED: usize = 100;
const MAX_STEPS: usize = 100;
/// The maximum number of neighbours drawn on each side of a node: a hub has thousands.
const MAX_BESIDE: usize = 3;

/// The nodes to draw, in order.
pub(crate) fn drawn_nodes(nodes: &[NodeReport]) -> Vec<&NodeReport> {
    if nodes.len() <= MAX_DRAWN {
        return nodes.iter().collect();
    }
    let beside = beside(nodes);
    let mut drawn = Drawn { is_drawn: vec![false; nodes.len()], count: 0 };
    let by_time = |is_wanted: fn(&NodeReport) -> bool| {
        let mut found: Vec<usize> =
            (0..nodes.len()).filter(|position| is_wanted(&nodes[*position])).collect();
        // In whole microseconds: times are floats, which have no total order.
        let time = |position: &usize| nodes[*position].duration_ms.map_or(0, |ms| (ms.max(0.0) * 1e3) as u64);
        found.sort_by_key(|position| Reverse(time(position)));
        found
    };
    let failed = by_time(did_not_end_well);
    let steps = by_time(|node| node.on_critical_path);
    let named = failed.into_iter().take(MAX_FAILED).chain(steps.into_iter().take(MAX_STEPS));
    let named: Vec<usize> = named.collect();
    named.iter().for_each(|position| drawn.add(*position));
    for position in named.into_iter().chain(by_time(|_| true)) {
        drawn.add(position);
        beside[position].iter().for_each(|beside| drawn.add(*beside));
    }
    nodes.iter().zip(drawn.is_drawn).filter(|(_, is_drawn)| *is_drawn).map(|(node, _)| node).collect()
}

fn did_not_end_well(node: &NodeReport) -> bool {
    matches!(
        node.status,
        NodeStatus::Failure | NodeStatus::Interrupted | NodeStatus::Running | NodeStatus::Unfinished
    )
}

struct Drawn {
    is_drawn: Vec<bool>,
    count: usize,
}

impl Drawn {
    fn add(&mut self, position: usize) {
        if self.count < MAX_DRAWN && !self.is_drawn[position] {
            self.is_drawn[position] = true;
            self.count += 1;
        }
    }
}

/// The first inputs and the first readers of each node.
fn beside(nodes: &[NodeReport]) -> Vec<Vec<usize>> {
    let positions: HashMap<&str, usize> =
        nodes.iter().enumerate().map(|(position, node)| (node.name.as_str(), position)).collect();
    let mut beside = vec![Vec::new(); nodes.len()];
    let mut readers = vec![0; nodes.len()];
    for (position, node) in nodes.iter().enumerate() {
        for name in node.dependencies.iter().take(MAX_BESIDE) {
            let Some(input) = positions.get(name.as_str()).copied() else { continue };
            beside[position].push(input);
            if readers[input] < MAX_BESIDE {
                readers[input] += 1;
                beside[input].push(position);
            }
        }
    }
    beside
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_nodes_those_are_drawn_that_somebody_looks_for_and_what_is_beside_them() {
        let name = |position: usize| format!("n{position:04}");
        let mut nodes: Vec<NodeReport> = (0..2_000_usize)
            .map(|position| NodeReport {
                status: NodeStatus::Success,
                dependencies: position.checked_sub(1).map(name).into_iter().collect(),
                duration_ms: Some(1.0),
                ..NodeReport::of_name(&name(position))
            })
            .collect();
        nodes[700].status = NodeStatus::Failure;
        nodes[900].on_critical_path = true;
        nodes[1_500].duration_ms = Some(90.0);
        let drawn: Vec<&str> = drawn_nodes(&nodes).into_iter().map(|node| node.name.as_str()).collect();
        assert_eq!(drawn.len(), MAX_DRAWN);
        assert!(drawn.is_sorted());
        for position in [700, 900, 1_500] {
            for beside in [position - 1, position, position + 1] {
                assert!(drawn.contains(&&*name(beside)), "{beside}");
            }
        }
        assert_eq!(drawn_nodes(&nodes[..MAX_DRAWN]).len(), MAX_DRAWN);
    }

    #[test]
    fn a_hub_of_thousands_does_not_take_the_room_of_all_others() {
        let mut nodes: Vec<NodeReport> = (0..2_000)
            .map(|position| NodeReport {
                dependencies: vec!["hub".to_owned()],
                ..NodeReport::of_name(&format!("n{position}"))
            })
            .collect();
        nodes.push(NodeReport { status: NodeStatus::Failure, ..NodeReport::of_name("hub") });
        nodes.push(NodeReport { duration_ms: Some(9.0), ..NodeReport::of_name("slow") });
        let drawn = drawn_nodes(&nodes);
        assert!(["hub", "slow"].iter().all(|name| drawn.iter().any(|node| node.name == *name)));
    }
}
