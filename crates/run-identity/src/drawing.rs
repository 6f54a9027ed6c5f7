//! Drawings of a DAG as text: a tree for terminals, and source code for Mermaid and Graphviz.

use std::{
    collections::{BTreeSet, HashMap},
    fmt::Write as _,
};

use crate::dag::{Dag, Node, NodeKind};

/// The maximum indentation level of a tree. Deeper nodes are all shown at that level, because a long chain would otherwise take
/// space quadratic in its length.
const MAX_INDENT: usize = 100;

/// A drawing of a DAG, or of a part of it. Created by [`Dag::drawing`].
#[derive(Clone, Copy, Debug)]
pub struct Drawing<'a> {
    dag: &'a Dag,
    part: Option<&'a BTreeSet<String>>,
}

impl Dag {
    /// Prepares a drawing of the DAG: of the given nodes, or of all.
    pub fn drawing<'a>(&'a self, part: Option<&'a BTreeSet<String>>) -> Drawing<'a> {
        Drawing { dag: self, part }
    }
}

impl Drawing<'_> {
    /// A tree for each node that no other node reads, with its dependencies below it. A node that occurs several times has its
    /// dependencies only at the first place; later it is marked with `(above)`. `label` returns the text for a node; lines are free
    /// of control characters only if labels are.
    ///
    /// ```
    /// use daglight_run_identity::Dag;
    ///
    /// let dag = Dag::builder("sales")?.loader("orders").transform("risk", ["orders"]).build()?;
    /// assert_eq!(dag.drawing(None).tree(|node| node.name.clone()), "risk\n└─ orders\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn tree(&self, label: impl Fn(&Node) -> String) -> String {
        let mut tree = String::new();
        let mut shown = BTreeSet::new();
        // No recursion: a DAG may be deeper than the stack allows.
        let read: BTreeSet<&str> =
            self.nodes().flat_map(|node| &node.dependencies).map(String::as_str).collect();
        // Nodes that no other node reads are the purpose of the pipeline. Each is a root, with its dependencies below.
        let roots = self.nodes().filter(|node| !read.contains(node.name.as_str()));
        let mut waiting: Vec<Branch<'_>> =
            roots.map(|node| Branch { node, indent: String::new(), depth: 0, place: Place::Root }).collect();
        // The last one is taken first.
        waiting.reverse();
        while let Some(Branch { node, mut indent, depth, place }) = waiting.pop() {
            let is_new = shown.insert(node.name.as_str());
            let below: Vec<&Node> = self.below(node).collect();
            let again = if is_new || below.is_empty() { "" } else { " (above)" };
            let _ = writeln!(tree, "{indent}{}{}{again}", place.mark(), label(node));
            // A node with several readers is expanded only once. Otherwise a chain of diamonds would double the tree with each one.
            if !is_new {
                continue;
            }
            if depth < MAX_INDENT {
                indent.push_str(place.indent());
            }
            let last = below.len().saturating_sub(1);
            waiting.extend(below.into_iter().enumerate().rev().map(|(index, node)| Branch {
                node,
                indent: indent.clone(),
                depth: depth + 1,
                place: if index == last { Place::Last } else { Place::Between },
            }));
        }
        tree
    }

    /// A flowchart in the language of [Mermaid](https://mermaid.js.org/syntax/flowchart.html), with arrows from dependencies to
    /// their readers.
    pub fn mermaid(&self) -> String {
        let mut text = "flowchart LR\n".to_owned();
        let numbers = self.numbers();
        for node in self.nodes() {
            let (open, close) = match node.kind {
                NodeKind::Transform => ("[", "]"),
                NodeKind::DataLoader => ("[(", ")]"),
                NodeKind::DataSaver => ("[/", "/]"),
                NodeKind::Input => ("([", "])"),
            };
            let name = in_mermaid(&node.name);
            let _ = writeln!(text, "    n{}{open}\"{name}\"{close}", numbers[node.name.as_str()]);
        }
        for (from, to) in self.edges(&numbers) {
            let _ = writeln!(text, "    n{from} --> n{to}");
        }
        text
    }

    /// A graph in the language of [Graphviz](https://graphviz.org/doc/info/lang.html), with arrows from dependencies to their
    /// readers.
    pub fn dot(&self) -> String {
        let mut text = format!("digraph {} {{\n    rankdir = LR;\n", in_dot(self.dag.name().as_str()));
        let numbers = self.numbers();
        for node in self.nodes() {
            let shape = match node.kind {
                NodeKind::Transform => "box",
                NodeKind::DataLoader => "cylinder",
                NodeKind::DataSaver => "parallelogram",
                NodeKind::Input => "oval",
            };
            let (number, name) = (numbers[node.name.as_str()], in_dot(&node.name));
            let _ = writeln!(text, "    n{number} [label = {name}, shape = {shape}];");
        }
        for (from, to) in self.edges(&numbers) {
            let _ = writeln!(text, "    n{from} -> n{to};");
        }
        text + "}\n"
    }

    fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.dag.nodes().iter().filter(|node| self.shows(&node.name))
    }

    fn shows(&self, name: &str) -> bool {
        self.part.is_none_or(|part| part.contains(name))
    }

    /// The dependencies of a node, as far as they are drawn.
    fn below(&self, node: &Node) -> impl Iterator<Item = &Node> {
        let names = node.dependencies.iter().filter(|name| self.shows(name));
        names.filter_map(|name| self.dag.node(name))
    }

    fn numbers(&self) -> HashMap<&str, usize> {
        self.nodes().enumerate().map(|(number, node)| (node.name.as_str(), number)).collect()
    }

    fn edges(&self, numbers: &HashMap<&str, usize>) -> Vec<(usize, usize)> {
        self.nodes()
            .flat_map(|node| self.below(node).map(|read| (read.name.as_str(), node.name.as_str())))
            .map(|(read, reader)| (numbers[read], numbers[reader]))
            .collect()
    }
}

struct Branch<'a> {
    node: &'a Node,
    indent: String,
    depth: usize,
    place: Place,
}

/// The position of a branch among its siblings.
#[derive(Clone, Copy)]
enum Place {
    Root,
    Between,
    Last,
}

impl Place {
    fn mark(self) -> &'static str {
        match self {
            Self::Root => "",
            Self::Between => "├─ ",
            Self::Last => "└─ ",
        }
    }

    fn indent(self) -> &'static str {
        match self {
            Self::Root => "",
            Self::Between => "│  ",
            Self::Last => "   ",
        }
    }
}

/// A text within quotes, with entities for quotes and markup.
fn in_mermaid(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '"' | '#' | '&' | '<' | '>' | '`' | ';' => {
                let _ = write!(escaped, "#{};", u32::from(c));
            }
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A text as a quoted id.
fn in_dot(text: &str) -> String {
    let mut quoted = "\"".to_owned();
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push('\u{fffd}'),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dag() -> Dag {
        Dag::builder("sales")
            .unwrap()
            .node("$day", NodeKind::Input, [""; 0])
            .loader("orders")
            .transform("joined", ["orders", "$day"])
            .transform("risk", ["joined"])
            .saver("risk_csv", ["risk"])
            .saver("joined_csv", ["joined"])
            .build()
            .unwrap()
    }

    fn name(node: &Node) -> String {
        node.name.clone()
    }

    #[test]
    fn a_tree_shows_what_is_below_a_node_once() {
        let expected = "\
risk_csv
└─ risk
   └─ joined
      ├─ orders
      └─ $day
joined_csv
└─ joined (above)
";
        assert_eq!(dag().drawing(None).tree(name), expected);
        let part = ["risk", "joined"].map(str::to_owned).into();
        assert_eq!(dag().drawing(Some(&part)).tree(name), "risk\n└─ joined\n");
    }

    #[test]
    fn a_deep_dag_is_drawn() {
        let mut builder = Dag::builder("deep").unwrap().loader("n0");
        for index in 1..2_000 {
            builder = builder.transform(format!("n{index}"), [format!("n{}", index - 1)]);
        }
        let dag = builder.build().unwrap();
        assert_eq!(dag.drawing(None).tree(name).lines().count(), 2_000);
    }

    #[test]
    fn mermaid_and_graphviz_read_any_name() {
        let dag = Dag::builder("sales")
            .unwrap()
            .loader("a\"b#<i>\\")
            .transform("t", ["a\"b#<i>\\"])
            .build()
            .unwrap();
        assert_eq!(
            dag.drawing(None).mermaid(),
            "flowchart LR\n    n0[(\"a#34;b#35;#60;i#62;\\\")]\n    n1[\"t\"]\n    n0 --> n1\n"
        );
        assert_eq!(
            dag.drawing(None).dot(),
            "digraph \"sales\" {\n    rankdir = LR;\n    n0 [label = \"a\\\"b#<i>\\\\\", shape = cylinder];\n    \
             n1 [label = \"t\", shape = box];\n    n0 -> n1;\n}\n"
        );
    }
}
