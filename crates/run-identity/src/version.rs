//! The hashes that define the version of a DAG: the same on every machine and for every order of declaration.

use std::collections::BTreeSet;

use crate::{dag::Node, hash::FieldHasher};

/// Hash of the shape: names, kinds, types, dependencies and tags of the nodes.
pub(crate) fn dag_hash(nodes: &[Node]) -> String {
    sorted(nodes)
        .into_iter()
        .fold(FieldHasher::new("daglight.dag.v1"), |hasher, node| {
            // As a set: neither their order nor a repetition makes a different version.
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

/// Hash of the code of all nodes, and of the setup code outside nodes.
pub(crate) fn code_hash(nodes: &[Node], setup: &[String]) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        dag::{Code, Dag, NodeKind},
        dag_builder::{DagBuilder, NodeBuilder},
    };

    fn code(normalized: &str) -> Code {
        Code {
            path: "a.sql".into(),
            first_line: 1,
            last_line: 1,
            text: format!("-- why\n{normalized}"),
            normalized: normalized.into(),
        }
    }

    fn builder() -> DagBuilder {
        Dag::builder("test::example_v1").unwrap()
    }

    fn example() -> Dag {
        let dag = builder().loader("orders").code(code("CREATE EXTERNAL TABLE orders"));
        dag.transform("risk", ["orders"]).tag("layer", "gold").code(code("SELECT 1")).build().unwrap()
    }

    fn hashes(dag: &Dag) -> (&str, &str) {
        (dag.dag_hash(), dag.code_hash())
    }

    #[test]
    fn hashes_are_the_same_everywhere() {
        let dag = example();
        assert_eq!(dag.dag_hash(), "a10fba1ff990a509f5d31bc5dadde6ffa3b8fa45de229a0f511ac785e42ea1d6");
        assert_eq!(dag.code_hash(), "cd7ff8a85f78a39ca989d8970aa26926e30f4c4a21b6a8545743ca110defe894");
    }

    #[test]
    fn hashes_of_every_kind_of_node_are_the_same_everywhere() {
        let dag = builder()
            .setup("SET datafusion.execution.batch_size = 1024")
            .node("day", NodeKind::Input, [] as [&str; 0])
            .output_type("text")
            .loader("Größe")
            .transform("late orders", ["day", "Größe"])
            .tags([("layer", "gold"), ("owner", "risk")])
            .code(code("SELECT '日' FROM \"Größe\" WHERE day = $day"))
            .saver("late_parquet", ["late orders"])
            .output_type("parquet")
            .build()
            .unwrap();
        assert_eq!(
            hashes(&dag),
            (
                "bb4efd17565d72cb728e58ec40659f5946ef8a9951323d0a31cc8aec00e4ae4e",
                "181e630ac629e3086196615e86cb236788b87b657f3a82b6e5d0962e4b1713f0"
            )
        );
    }

    /// Declares four nodes in the given order, each with its dependencies and tags in either order.
    fn in_order(order: [usize; 4], reversed: bool) -> Dag {
        let declare = |dag: DagBuilder, index: usize| -> NodeBuilder {
            let mut read = vec!["a", "b"];
            let mut tags = vec![("x", "1"), ("y", "2")];
            if reversed {
                read.reverse();
                tags.reverse();
            }
            match index {
                0 => dag.loader("a").code(code("A")),
                1 => dag.loader("b").code(code("B")),
                2 => dag.transform("c", read).tags(tags).code(code("C")),
                _ => dag.saver("d", ["c"]).documentation(if reversed { "late" } else { "" }),
            }
        };
        order.into_iter().fold(builder(), |dag, index| declare(dag, index).end()).build().unwrap()
    }

    #[test]
    fn order_and_documentation_make_no_version() {
        let expected = in_order([0, 1, 2, 3], false);
        let orders = (0..256).map(|n| [n & 3, n >> 2 & 3, n >> 4 & 3, n >> 6]);
        let orders: Vec<_> = orders.filter(|order| BTreeSet::from(*order).len() == 4).collect();
        assert_eq!(orders.len(), 24);
        for order in orders {
            for reversed in [false, true] {
                assert_eq!(hashes(&in_order(order, reversed)), hashes(&expected), "{order:?}");
            }
        }
    }

    #[track_caller]
    fn check_differs(change: impl FnOnce(NodeBuilder) -> NodeBuilder, is_shape: bool) {
        let node = || builder().loader("a").transform("b", ["a"]).tag("layer", "gold").code(code("B"));
        let (before, after) = (node().build().unwrap(), change(node()).build().unwrap());
        assert_eq!(before.dag_hash() != after.dag_hash(), is_shape);
        assert_eq!(before.code_hash() == after.code_hash(), is_shape);
    }

    #[test]
    fn code_and_shape_make_a_version() {
        check_differs(|node| node.tag("layer", "silver"), true);
        check_differs(|node| node.tag("owner", "risk"), true);
        check_differs(|node| node.output_type("parquet"), true);
        check_differs(|node| node.code(code("B2")), false);
        let base = || builder().loader("a");
        let (before, after) = (base().build().unwrap(), base().end().setup("SET a = 1").build().unwrap());
        assert_ne!(before.code_hash(), after.code_hash());
        assert_eq!(before.dag_hash(), after.dag_hash());
        let renamed = builder().loader("a2").build().unwrap();
        assert_ne!(before.dag_hash(), renamed.dag_hash());
    }
}
