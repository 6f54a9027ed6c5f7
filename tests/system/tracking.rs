//! What the Hamilton UI holds of a run, read over its API.

use std::collections::BTreeMap;

use daglight_system_tests::{Checkout, Daglight, Hamilton};
use serde_json::{Value, json};

use crate::{
    observed::observed,
    pipelines::{SHOP, SHOP_NODES, SHOP_QUERIES},
};

/// The objects of a list by one of their texts.
fn by<'a>(list: &'a Value, key: &str) -> BTreeMap<&'a str, &'a Value> {
    let items = list.as_array().expect("a list");
    items.iter().map(|item| (item[key].as_str().expect("a text"), item)).collect()
}

#[test]
fn a_version_has_every_node_with_its_classification_and_dependencies() {
    let observed = observed();
    assert_eq!(observed.versions.len(), 1);
    assert_eq!(observed.version["name"], "shop::review_v1");
    let nodes = by(&observed.version["nodes"], "name");
    let found: Vec<(&str, Value, Vec<&str>)> = nodes
        .iter()
        .map(|(name, node)| {
            let mut dependencies: Vec<&str> =
                node["dependencies"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
            dependencies.sort_unstable();
            (*name, node["classifications"].clone(), dependencies)
        })
        .collect();
    let expected = SHOP_NODES.map(|(name, kind, dependencies)| (name, json!([kind]), dependencies.to_vec()));
    assert_eq!(found, expected);
}

#[test]
fn a_node_has_its_documentation_and_tags() {
    let nodes = by(&observed().version["nodes"], "name");
    assert_eq!(nodes["yearly_sales"]["documentation"], "Sales per year.");
    assert_eq!(nodes["yearly_sales"]["tags"]["layer"], "gold");
    assert_eq!(nodes["customer"]["documentation"], "Customers of the shop.");
    assert_eq!(nodes["customer"]["tags"]["owner"], "sales");
    assert_eq!(nodes["$segment"]["documentation"], "The market segment that is looked at.");
}

#[test]
fn the_code_view_shows_the_sql_of_a_node() {
    let observed = observed();
    let files = by(&observed.version["code"]["files"], "path");
    let artifacts = by(&observed.version["code_artifacts"], "name");
    for (node, first, last) in [
        ("segment_orders", "CREATE VIEW segment_orders AS", "WHERE c_mktsegment = $segment;"),
        ("yearly_sales", "CREATE TABLE yearly_sales AS", "GROUP BY 1;"),
    ] {
        let artifact = artifacts[node];
        let contents =
            files[artifact["path"].as_str().expect("a path")]["contents"].as_str().expect("a text");
        assert_eq!(contents, SHOP);
        let index = |key: &str| artifact[key].as_u64().expect("a line") as usize;
        let lines: Vec<&str> = contents.lines().collect();
        let shown = &lines[index("start")..index("end")];
        assert_eq!((shown[0], shown[shown.len() - 1]), (first, last), "{node}");
    }
}

#[test]
fn a_run_has_its_state_times_outputs_and_tags() {
    let observed = observed();
    assert_eq!(observed.runs.len(), 1);
    let run = &observed.run;
    assert_eq!(run["run_status"], "SUCCESS");
    let time = |key: &str| run[key].as_str().unwrap_or_else(|| panic!("no {key}: {run}")).to_owned();
    assert!(time("run_start_time") <= time("run_end_time"));
    let outputs = run["outputs"].as_array().expect("a list");
    for output in ["best_year", "yearly_file"] {
        assert!(outputs.contains(&json!(output)), "{outputs:?}");
    }

    let root = root_span();
    let tags = &observed.runs[0]["tags"];
    assert_eq!(tags["run_id"], observed.run_id());
    assert_eq!(tags["otel.trace_id"], root["traceId"]);
    assert_eq!(tags["otel.span_id"], root["spanId"]);
    assert_eq!(tags["environment"], "testing");
    assert_eq!(tags["commit"], observed.checkout.head());
    assert_eq!(tags["repo"], Checkout::REPO);
}

#[test]
fn what_may_change_from_run_to_run_is_a_tag_of_the_run_and_not_of_its_version() {
    let (checkout, hamilton) = (Checkout::new(), Hamilton::take());
    let project = hamilton.project("policies");
    let pipeline = checkout.pipeline("shop.sql", SHOP);
    for profile in ["dev", "prod"] {
        Daglight::run(&checkout, &pipeline)
            .args(["--profile", profile])
            .tracked_in(&project)
            .finish()
            .report(0);
    }
    let [version] = &hamilton.versions(&project)[..] else { panic!("two versions") };
    let tags = hamilton.version(&version["id"])["tags"].clone();
    assert!(!tags.to_string().contains("policy"), "{tags}");
    let runs = hamilton.runs(&project);
    let of = |rule: &str| runs.iter().map(|run| run["tags"][rule].as_str()).collect::<Vec<_>>();
    assert_eq!(of("policy.profile"), [Some("prod"), Some("dev")], "the newest first");
    assert_eq!(of("policy.sql_text"), [Some("without_literals"), Some("whole")]);
}

fn root_span() -> &'static Value {
    observed().spans.iter().find(|span| span["name"] == "pipeline.execute").expect("a root span")
}

#[test]
fn every_node_that_ran_has_a_task_with_its_times() {
    let tasks = by(&observed().run["node_runs"], "node_name");
    let names: Vec<&str> = tasks.keys().copied().filter(|name| !name.starts_with('$')).collect();
    let expected: Vec<&str> =
        SHOP_NODES.iter().map(|(name, ..)| *name).filter(|name| !name.starts_with('$')).collect();
    assert_eq!(names, expected);
    for (name, task) in tasks {
        assert_eq!(task["status"], "SUCCESS", "{name}");
        let time = |key: &str| task[key].as_str().unwrap_or_else(|| panic!("{name} has no {key}"));
        assert!(time("start_time") <= time("end_time"), "{name}");
    }
}

#[test]
fn every_node_that_ran_a_query_has_a_data_summary_and_a_schema() {
    let tasks = by(&observed().run["node_runs"], "node_name");
    for name in SHOP_QUERIES {
        let attributes = by(&tasks[name]["attributes"], "type");
        let summary = attributes["dagworks_describe"];
        assert_eq!(
            (&summary["schema_version"], &summary["attribute_role"]),
            (&json!(3), &json!("result_summary"))
        );
        let schema = attributes["schema"];
        assert_eq!(schema["value"]["sales"]["name"], "sales", "{name}");
        assert_eq!(summary["value"]["sales"]["base_data_type"], "numeric", "{name}");
        let rows = if name == "best_year" { 1 } else { 7 };
        assert_eq!(summary["value"]["sales"]["count"], rows, "{name}");
    }
}

#[test]
fn the_same_pipeline_is_one_version_wherever_it_runs_and_a_changed_statement_makes_a_second() {
    let here = Checkout::new();
    let elsewhere = Checkout::new();
    let hamilton = Hamilton::take();
    let project = hamilton.project("versions");
    let run = |checkout: &Checkout, sql: &str| {
        let pipeline = checkout.pipeline("shop.sql", sql);
        Daglight::run(checkout, &pipeline).tracked_in(&project).finish().report(0);
        (hamilton.versions(&project).len(), hamilton.runs(&project).len())
    };
    assert_eq!(run(&here, SHOP), (1, 1));
    assert_eq!(run(&elsewhere, SHOP), (1, 2));
    // A comment that documents no node is not part of what runs.
    assert_eq!(run(&here, &format!("{SHOP}\n-- The end.\n")), (1, 3));
    assert_eq!(run(&here, &SHOP.replace("GROUP BY 1", "GROUP BY 1 HAVING count(*) > 1")), (2, 4));
}
