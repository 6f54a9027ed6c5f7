//! The DAG of a run with the time of each node, as inline SVG.

use std::collections::HashMap;

use daglight_run_bundle::NodeStatus;
use maud::{Markup, html};

use crate::{
    display,
    drawn_nodes::{MAX_DRAWN, drawn_nodes},
    report::NodeReport,
};

/// The size of a box, and the distance between boxes, in pixels.
const BOX: (f64, f64) = (176.0, 38.0);
const GAP: (f64, f64) = (54.0, 12.0);
const MARGIN: f64 = 10.0;
/// The number of characters of a name that fit into a box.
const MAX_NAME_CHARS: usize = 23;

/// The position of each node: its column and its place in the column.
#[derive(Debug, PartialEq)]
struct Layout {
    places: Vec<(usize, usize)>,
    /// The inputs of each node that exist and are not part of a cycle.
    inputs: Vec<Vec<usize>>,
}

impl Layout {
    fn of(nodes: &[&NodeReport]) -> Self {
        let positions: HashMap<&str, usize> =
            nodes.iter().enumerate().map(|(position, node)| (node.name.as_str(), position)).collect();
        let mut inputs: Vec<Vec<usize>> = nodes
            .iter()
            .map(|node| {
                node.dependencies.iter().filter_map(|name| positions.get(name.as_str()).copied()).collect()
            })
            .collect();
        // Each node comes after its inputs. Remaining nodes form a cycle, and are ignored.
        let mut columns: Vec<Option<usize>> = vec![None; nodes.len()];
        loop {
            let mut is_done = true;
            for position in 0..nodes.len() {
                if columns[position].is_some() {
                    continue;
                }
                let behind = inputs[position].iter().map(|input| columns[*input].map(|column| column + 1));
                if let Some(behind) = behind.collect::<Option<Vec<usize>>>() {
                    columns[position] = Some(behind.into_iter().max().unwrap_or(0));
                    is_done = false;
                }
            }
            if is_done {
                break;
            }
        }
        for (inputs, column) in inputs.iter_mut().zip(&columns) {
            if column.is_none() {
                inputs.clear();
            }
        }
        let columns: Vec<usize> = columns.into_iter().map(Option::unwrap_or_default).collect();
        let last = columns.iter().copied().max().unwrap_or(0);
        let mut rows = vec![0.0; nodes.len()];
        for column in 0..=last {
            let mut own: Vec<usize> =
                (0..nodes.len()).filter(|position| columns[*position] == column).collect();
            // Near its inputs, so that few lines cross.
            let wanted = |position: usize| -> f64 {
                let inputs = &inputs[position];
                if inputs.is_empty() {
                    return position as f64;
                }
                inputs.iter().map(|input| rows[*input]).sum::<f64>() / inputs.len() as f64
            };
            own.sort_by(|a, b| wanted(*a).total_cmp(&wanted(*b)).then_with(|| a.cmp(b)));
            for (row, position) in own.into_iter().enumerate() {
                rows[position] = row as f64;
            }
        }
        Self { places: columns.into_iter().zip(rows.into_iter().map(|row| row as usize)).collect(), inputs }
    }
}

/// The drawing; `None` if no node reads another. If there are too many nodes, it has the most interesting ones.
pub(crate) fn drawing(all: &[NodeReport]) -> Option<Markup> {
    let nodes = drawn_nodes(all);
    let layout = Layout::of(&nodes);
    if layout.inputs.iter().all(Vec::is_empty) {
        return None;
    }
    let corner = |position: usize| {
        let (column, row) = layout.places[position];
        (MARGIN + column as f64 * (BOX.0 + GAP.0), MARGIN + row as f64 * (BOX.1 + GAP.1))
    };
    let corners: Vec<(f64, f64)> = (0..nodes.len()).map(corner).collect();
    let width = corners.iter().map(|(x, _)| x + BOX.0 + MARGIN).fold(0.0, f64::max);
    let height = corners.iter().map(|(_, y)| y + BOX.1 + MARGIN).fold(0.0, f64::max);
    let line = |from: usize, to: usize| {
        let (x1, y1) = (corners[from].0 + BOX.0, corners[from].1 + BOX.1 / 2.0);
        let (x2, y2) = (corners[to].0, corners[to].1 + BOX.1 / 2.0);
        let bend = (x2 - x1) / 2.0;
        format!("M{x1} {y1}C{} {y1} {} {y2} {x2} {y2}", x1 + bend, x2 - bend)
    };
    let edges =
        layout.inputs.iter().enumerate().flat_map(|(to, inputs)| inputs.iter().map(move |from| (*from, to)));
    Some(html! {
        @if all.len() > MAX_DRAWN {
            p.lead {
                "Drawn are " (display::count(nodes.len() as u64)) " of " (display::plural(all.len() as u64, "node"))
                ": those that did not end well, steps of the longest chain, the slowest, and some beside them. "
                (display::count((all.len() - nodes.len()) as u64)) " are left out."
            }
        }
        div.dag {
            svg width=(width) height=(height) viewBox=(format!("0 0 {width} {height}")) {
                @for (from, to) in edges {
                    @let is_on_path = nodes[from].on_critical_path && nodes[to].on_critical_path;
                    path class=[is_on_path.then_some("on-path")] d=(line(from, to)) {}
                }
                @for (node, (x, y)) in nodes.iter().zip(&corners) {
                    g class={ "node " (class(node)) } data-name=(node.name) tabindex="0" role="button" {
                        title { (node.name) }
                        rect x=(x) y=(y) width=(BOX.0) height=(BOX.1) rx="5" {}
                        text x=(x + 9.0) y=(y + 16.0) { (short(&node.name)) }
                        text.time x=(x + 9.0) y=(y + 31.0) { (facts(node)) }
                    }
                }
            }
        }
    })
}

fn class(node: &NodeReport) -> &'static str {
    match node.status {
        NodeStatus::Failure | NodeStatus::Interrupted => "failed",
        NodeStatus::Unfinished => "unfinished",
        NodeStatus::NotRun => "not-run",
        NodeStatus::Success | NodeStatus::Running if node.on_critical_path => "on-path",
        NodeStatus::Success | NodeStatus::Running => "off-path",
    }
}

fn short(name: &str) -> String {
    if name.chars().count() <= MAX_NAME_CHARS {
        return name.to_owned();
    }
    name.chars().take(MAX_NAME_CHARS - 1).chain(['…']).collect()
}

fn facts(node: &NodeReport) -> String {
    let took = node.duration_ms.map(display::duration);
    let rows = node.rows_out.map(|rows| display::plural(rows, "row"));
    let facts: Vec<String> = took.into_iter().chain(rows).collect();
    if facts.is_empty() { "not run".to_owned() } else { facts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted;

    fn nodes(edges: &[(&str, &[&str])]) -> Vec<NodeReport> {
        let template = planted::report("x").nodes.remove(0);
        edges
            .iter()
            .map(|(name, inputs)| NodeReport {
                name: (*name).to_owned(),
                dependencies: inputs.iter().map(|&input| input.to_owned()).collect(),
                ..template.clone()
            })
            .collect()
    }

    #[test]
    fn a_node_is_drawn_after_everything_that_it_reads() {
        let nodes =
            nodes(&[("d", &["c", "b"]), ("a", &[]), ("b", &["a"]), ("c", &["b", "gone"]), ("e", &[])]);
        let layout = Layout::of(&nodes.iter().collect::<Vec<_>>());
        assert_eq!(layout.places, [(3, 0), (0, 0), (1, 0), (2, 0), (0, 1)]);
        assert_eq!(layout.inputs, [vec![3, 2], vec![], vec![1], vec![2], vec![]]);
    }

    #[test]
    fn a_circle_is_not_followed() {
        let circle = nodes(&[("a", &["b"]), ("b", &["a"]), ("c", &["c"])]);
        assert!(drawing(&circle).is_none());
        let with_more = nodes(&[("a", &["b"]), ("b", &["a"]), ("c", &[]), ("d", &["c"])]);
        assert_eq!(drawing(&with_more).unwrap().into_string().matches("<path").count(), 1);
    }

    #[test]
    fn a_long_chain_is_drawn_at_once_and_of_too_many_nodes_it_is_said_how_many_are_not() {
        let names: Vec<String> = (0..=MAX_DRAWN).map(|number| format!("n{number}")).collect();
        let chain = |count: usize| -> Vec<NodeReport> {
            let mut chain = nodes(&vec![("x", &[] as &[&str]); count]);
            for (position, node) in chain.iter_mut().enumerate() {
                node.name.clone_from(&names[position]);
                node.dependencies =
                    position.checked_sub(1).map(|before| names[before].clone()).into_iter().collect();
            }
            chain.reverse();
            chain
        };
        let drawn = drawing(&chain(MAX_DRAWN)).unwrap().into_string();
        assert_eq!(drawn.matches("<path").count(), MAX_DRAWN - 1);
        assert!(!drawn.contains("left out"));
        let drawn = drawing(&chain(MAX_DRAWN + 1)).unwrap().into_string();
        assert_eq!(drawn.matches("<rect").count(), MAX_DRAWN);
        assert!(
            drawn.contains("Drawn are 300 of 301 nodes") && drawn.contains(" 1 are left out."),
            "{}",
            &drawn[..400]
        );
    }
}
