//! A test that the example script is presented well on the tracker's page.

use std::path::Path;

use daglight_run_identity::NodeKind;

use crate::{
    pipeline::{Pipeline, PipelineOptions},
    script::Script,
};

fn example() -> Pipeline {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/tpch.sql");
    let text = std::fs::read_to_string(&path).unwrap();
    Pipeline::new(Script::parse("examples/tpch.sql", &text).unwrap(), PipelineOptions::default()).unwrap()
}

#[test]
fn every_node_is_documented_and_labelled() {
    for node in example().dag().nodes() {
        assert!(node.documentation.is_some(), "{} has no documentation", node.name);
        let has_tags = ["layer", "owner"].iter().all(|key| node.tags.contains_key(*key));
        assert!(has_tags || node.kind == NodeKind::Input, "{} lacks tags", node.name);
    }
}

#[test]
fn dependencies_are_those_of_the_script() {
    let pipeline = example();
    let dag = pipeline.dag();
    let check = |node: &str, expected: &[&str]| {
        assert_eq!(
            dag.node(node).map(|node| node.dependencies.clone()).unwrap_or_default(),
            expected,
            "{node}"
        );
    };
    check("review_nations", &["region", "nation", "$region"]);
    check("order_lines", &["orders", "lineitem", "$from_date", "$to_date"]);
    check("monthly_revenue", &["review_lines"]);
    check("local_supplier_revenue", &["supplier", "review_nations", "review_lines"]);
    check("customer_ranking", &["review_lines", "returned_revenue"]);
    check("top_customers_parquet", &["customer_ranking"]);
    check("review", &["local_supplier_revenue", "customer_ranking"]);
    assert_eq!(dag.nodes().len(), 3 + 8 + 3 + 7 + 3 + 1);
}
