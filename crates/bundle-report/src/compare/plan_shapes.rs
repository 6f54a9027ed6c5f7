//! Plans as trees of operators, and their differences.
//!
//! A shape is how a query is executed: the operators, their tree, and the tables. Literals, partition counts and files are not part
//! of it, so that the same query over more data has the same shape, on any machine and in bundles of every version.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use daglight_capture_policy::operator_name;
use daglight_run_bundle::{PlanBundle, PlanMetrics};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::display;

/// The maximum number of plans of a run.
const MAX_PLANS: usize = 20_000;
/// The maximum number of operators of a plan.
const MAX_OPERATORS: usize = 2_000;
/// The maximum number of settings over all sessions.
const MAX_SETTINGS: usize = 1_000;
/// The maximum number of lines of a tree for a line-by-line comparison: the time grows with the product.
const MAX_DIFF_LINES: usize = 500;

/// A plan as lines, one per operator, indented by two spaces per level.
pub(crate) type Shape = Vec<String>;

/// The shapes of the plans of each node; plans without a node are under an empty name.
#[derive(Debug, Clone, Default)]
pub(crate) struct PlanShapes {
    of_node: BTreeMap<String, BTreeSet<Shape>>,
    /// The fingerprints of these plans.
    hashes: BTreeMap<String, BTreeSet<String>>,
    plans: usize,
    /// Compute time of operators, by node and operator.
    pub(crate) operators: BTreeMap<(String, String), f64>,
    /// The settings of all sessions that planned, each with its value in the last plan that was read.
    pub(crate) settings: BTreeMap<String, String>,
}

/// A plan of a node that is another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlanChange {
    /// The node; `None` for a query of none.
    pub node: Option<String>,
    /// The tree of operators: lines that begin with `- ` are gone, those with `+ ` are new.
    pub tree: Vec<String>,
}

impl PlanShapes {
    pub(crate) fn add(&mut self, plan: &PlanBundle) {
        self.plans += 1;
        if self.plans > MAX_PLANS {
            return;
        }
        for (name, value) in &plan.settings {
            if self.settings.len() < MAX_SETTINGS || self.settings.contains_key(name) {
                self.settings.insert(name.clone(), value.clone());
            }
        }
        if plan.metrics.operators.is_empty() {
            return;
        }
        let node = plan.node.clone().unwrap_or_default();
        for operator in plan.metrics.operators.iter().take(MAX_OPERATORS) {
            let Some(ms) = operator.computed_ms().filter(|ms| ms.is_finite()) else { continue };
            let name = operator_name(&operator.name, operator.table.as_deref());
            let ms = ms / operator.partition_count() as f64;
            *self.operators.entry((node.clone(), name)).or_default() += ms;
        }
        if let Some(hash) = &plan.plan_hash {
            self.hashes.entry(node.clone()).or_default().insert(hash.clone());
        }
        self.of_node.entry(node).or_default().insert(shape(&plan.metrics));
    }

    /// The shapes that only one of the runs has, by node, for nodes with plans in both.
    pub(crate) fn changes(&self, after: &Self) -> Vec<(String, Vec<String>)> {
        let mut changes = Vec::new();
        for (node, before) in &self.of_node {
            let Some(after) = after.of_node.get(node) else { continue };
            let gone: Vec<&Shape> = before.difference(after).collect();
            let new: Vec<&Shape> = after.difference(before).collect();
            for position in 0..gone.len().max(new.len()) {
                let lines = |shapes: &[&Shape]| shapes.get(position).map(|shape| (*shape).clone());
                let (gone, new) = (lines(&gone).unwrap_or_default(), lines(&new).unwrap_or_default());
                changes.push((node.clone(), difference(&gone, &new)));
            }
        }
        changes
    }

    /// Whether there are no plans at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.of_node.is_empty()
    }

    /// Whether this node and one of another run have the same plans.
    pub(crate) fn node_is_like(&self, node: &str, other: &Self, of_other: &str) -> bool {
        self.of_node.get(node).is_some_and(|shapes| other.of_node.get(of_other) == Some(shapes))
    }

    /// Whether there is a plan for a node.
    pub(crate) fn has(&self, node: &str) -> bool {
        self.of_node.contains_key(node)
    }

    /// Whether there are plans of a node for all of these fingerprints.
    pub(crate) fn has_all(&self, node: &str, hashes: &[String]) -> bool {
        self.hashes.get(node).is_some_and(|kept| hashes.iter().all(|hash| kept.contains(hash)))
    }
}

fn shape(metrics: &PlanMetrics) -> Shape {
    let operators = metrics.operators.iter().zip(metrics.depths()).take(MAX_OPERATORS);
    operators
        .map(|(operator, depth)| {
            // Deeper indentation would not be visible.
            let indent = "  ".repeat(depth.min(40) as usize);
            format!("{indent}{}", operator_name(&operator.name, operator.table.as_deref()))
        })
        .collect()
}

/// A line of a difference with the operator name in its display form.
fn cut(line: &str) -> Cow<'_, str> {
    let operator = line.trim_start_matches([' ', '-', '+']);
    match display::name(operator) {
        Cow::Borrowed(_) => Cow::Borrowed(line),
        Cow::Owned(shown) => Cow::Owned(format!("{}{shown}", &line[..line.len() - operator.len()])),
    }
}

/// A difference with some lines around each change, and the number of lines left out in between.
pub(crate) fn shortened(lines: &[String]) -> Vec<Cow<'_, str>> {
    /// The number of lines shown before and after a change.
    const AROUND: usize = 3;
    let changed: Vec<usize> = lines
        .iter()
        .enumerate()
        .filter_map(|(position, line)| (line.starts_with("- ") || line.starts_with("+ ")).then_some(position))
        .collect();
    let is_near = |position: usize| {
        let behind = changed.partition_point(|changed| changed + AROUND < position);
        changed.get(behind).is_some_and(|changed| *changed <= position + AROUND)
    };
    let (mut shown, mut position) = (Vec::new(), 0);
    while position < lines.len() {
        let same = (position..lines.len()).take_while(|position| !is_near(*position)).count();
        match same {
            0 => {
                shown.push(cut(&lines[position]));
                position += 1;
                continue;
            }
            // A line that replaces a single one takes as much room as that one.
            1 => shown.push(cut(&lines[position])),
            _ => shown.push(Cow::Owned(format!("  … {same} operators that did not change"))),
        }
        position += same;
    }
    shown
}

/// The lines of both, marked with `- ` for removed, `+ ` for added, two spaces for unchanged.
fn difference(before: &[String], after: &[String]) -> Vec<String> {
    let marked = |mark: &str, lines: &[String]| -> Vec<String> {
        lines.iter().map(|line| format!("{mark}{line}")).collect()
    };
    let same_at_start = before.iter().zip(after).take_while(|(a, b)| a == b).count();
    let (start, before) = before.split_at(same_at_start);
    let after = &after[same_at_start..];
    let same_at_end = before.iter().rev().zip(after.iter().rev()).take_while(|(a, b)| a == b).count();
    let (before, end) = before.split_at(before.len() - same_at_end);
    let after = &after[..after.len() - same_at_end];
    let mut lines = marked("  ", start);
    if before.len() > MAX_DIFF_LINES || after.len() > MAX_DIFF_LINES {
        lines.extend(marked("- ", before).into_iter().chain(marked("+ ", after)));
    } else {
        lines.extend(middle(before, after));
    }
    lines.extend(marked("  ", end));
    lines
}

/// The shortest difference, computed with the longest common subsequence.
fn middle(before: &[String], after: &[String]) -> Vec<String> {
    let mut common = vec![vec![0_usize; after.len() + 1]; before.len() + 1];
    for a in (0..before.len()).rev() {
        for b in (0..after.len()).rev() {
            common[a][b] = if before[a] == after[b] {
                common[a + 1][b + 1] + 1
            } else {
                common[a + 1][b].max(common[a][b + 1])
            };
        }
    }
    let (mut a, mut b, mut lines) = (0, 0, Vec::new());
    while a < before.len() || b < after.len() {
        if a < before.len() && b < after.len() && before[a] == after[b] {
            lines.push(format!("  {}", before[a]));
            (a, b) = (a + 1, b + 1);
        } else if a < before.len() && (b == after.len() || common[a + 1][b] >= common[a][b + 1]) {
            lines.push(format!("- {}", before[a]));
            a += 1;
        } else {
            lines.push(format!("+ {}", after[b]));
            b += 1;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plan(node: &str, operators: &[(&str, Option<u64>)]) -> PlanBundle {
        let operators = operators.iter().enumerate().map(|(id, (name, parent))| {
            json!({"id": id, "name": name, "parent": parent, "partitions": 2, "elapsed_compute_ms": 4.0})
        });
        let metrics = json!({"operators": operators.collect::<Vec<_>>()});
        serde_json::from_value(json!({"node": node, "metrics": metrics})).unwrap()
    }

    fn shapes(plans: &[PlanBundle]) -> PlanShapes {
        let mut shapes = PlanShapes::default();
        plans.iter().for_each(|plan| shapes.add(plan));
        shapes
    }

    #[test]
    fn a_plan_that_changed_is_a_tree_with_marks() {
        let before =
            plan("a", &[("Sort", None), ("HashJoin", Some(0)), ("Scan a", Some(1)), ("Scan b", Some(1))]);
        let after = plan(
            "a",
            &[
                ("Sort", None),
                ("NestedLoopJoin", Some(0)),
                ("Scan a", Some(1)),
                ("Filter", Some(1)),
                ("Scan b", Some(3)),
            ],
        );
        let changes = shapes(std::slice::from_ref(&before)).changes(&shapes(&[after]));
        let lines = [
            "  Sort",
            "-   HashJoin",
            "+   NestedLoopJoin",
            "      Scan a",
            "-     Scan b",
            "+     Filter",
            "+       Scan b",
        ];
        assert_eq!(changes, [("a".to_owned(), lines.map(str::to_owned).to_vec())]);
        assert_eq!(
            shapes(std::slice::from_ref(&before)).changes(&shapes(&[before.clone(), before.clone()])),
            []
        );
    }

    #[test]
    fn the_difference_holds_both_and_is_the_shortest() {
        // Every pair of words of up to five letters from a two-letter alphabet, compared with all common subsequences.
        let words: Vec<Vec<String>> = (0..=5_u32)
            .flat_map(|length| (0..1_u32 << length).map(move |bits| (length, bits)))
            .map(|(length, bits)| (0..length).map(|at| (bits >> at & 1).to_string()).collect())
            .collect();
        let is_part = |part: &[&String], of: &[String]| {
            let mut of = of.iter();
            part.iter().all(|letter| of.any(|other| other == *letter))
        };
        for before in &words {
            for after in words.iter().step_by(3) {
                let lines = difference(before, after);
                let of = |marks: [&str; 2]| -> Vec<String> {
                    let lines = lines.iter().filter(|line| marks.contains(&&line[..2]));
                    lines.map(|line| line[2..].to_owned()).collect()
                };
                assert_eq!((&of(["  ", "- "]), &of(["  ", "+ "])), (before, after));
                let longest = (0..1_u32 << before.len())
                    .map(|chosen| (0..before.len()).filter(move |at| chosen >> at & 1 == 1))
                    .map(|chosen| chosen.map(|at| &before[at]).collect::<Vec<_>>())
                    .filter(|part| is_part(part, after))
                    .map(|part| part.len())
                    .max();
                assert_eq!(Some(of(["  ", "  "]).len()), longest, "{before:?} {after:?}");
            }
        }
    }

    #[test]
    fn of_a_large_difference_what_changed_is_shown() {
        let mut before: Vec<String> =
            (0..200).map(|at| format!("{}Filter {at}", "  ".repeat(at % 40))).collect();
        let after = before.clone();
        before[100] = "Sort".to_owned();
        before.remove(150);
        let lines = difference(&before, &after);
        assert_eq!(lines.len(), 201);
        let shown = shortened(&lines);
        assert_eq!(shown.len(), 1 + 3 + 2 + 3 + 1 + 3 + 1 + 3 + 1, "{shown:#?}");
        assert_eq!(shown[0], "  … 97 operators that did not change");
        assert_eq!((&*shown[4], shown[5].trim_start_matches("+ ").trim()), ("- Sort", "Filter 100"));
        assert!(shown[13].starts_with("+ ") && shown[13].ends_with("Filter 150"), "{shown:#?}");
        let small: Vec<String> = ["  a", "- b", "  c"].map(str::to_owned).into();
        assert_eq!(shortened(&small), small);
        assert_eq!(shortened(&[]), Vec::<String>::new());
    }

    #[test]
    fn operators_are_summed_as_time_in_one_partition() {
        let shapes = shapes(&[plan("a", &[("Sort", None)]), plan("a", &[("Sort", None)])]);
        assert_eq!(shapes.operators[&("a".to_owned(), "Sort".to_owned())], 4.0);
    }

    #[test]
    fn the_settings_of_many_sessions_are_bounded_and_the_last_counts() {
        let mut shapes = PlanShapes::default();
        let of = |session: usize, value: &str| -> PlanBundle {
            let settings = (0..600).map(|number| (format!("s{session}.{number}"), json!(value)));
            let settings: serde_json::Map<_, _> = settings.collect();
            serde_json::from_value(json!({"settings": settings})).unwrap()
        };
        for (session, value) in [(0, "a"), (1, "a"), (2, "a"), (0, "b")] {
            shapes.add(&of(session, value));
        }
        assert_eq!(shapes.settings.len(), MAX_SETTINGS);
        assert_eq!((&*shapes.settings["s0.7"], &*shapes.settings["s1.0"]), ("b", "a"));
    }
}
