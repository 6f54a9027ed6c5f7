//! Outputs: in the catalog of the Hamilton UI under their names, in the bundle, and beside the semantic registry.

use std::{fs, path::PathBuf, sync::OnceLock};

use daglight_system_tests::{Checkout, Daglight, Hamilton, Page, Project};
use serde_json::{Value, json};

/// A node for each kind of output, and columns of each kind.
const OUTPUTS: &str = "\
-- The oldest day that counts.
-- param: from_day = 1995-01-01

-- Orders.
CREATE EXTERNAL TABLE orders STORED AS PARQUET LOCATION '.demo/tpch/sf0.1/orders.parquet';

-- What each run has found.
CREATE EXTERNAL TABLE history (day DATE, orders BIGINT) STORED AS JSON LOCATION 'history/';

CREATE SCHEMA semantic;

-- Orders with the weight of their priority.
CREATE TABLE facts AS
SELECT o_orderkey AS id, o_totalprice AS price, o_orderdate AS day, o_orderstatus = 'F' AS done, priority,
       o_comment AS comment, weight
FROM orders JOIN weights ON o_orderpriority = priority
WHERE o_orderdate >= $from_day;

CREATE VIEW semantic.v_done_v1 AS SELECT id, price FROM facts WHERE done;

COPY facts TO 'written/facts.parquet';
COPY facts TO 'written/facts.csv';
COPY facts TO 'written/lines.json';
-- tag: materialized_name=sales.facts_v1
COPY facts TO 'written/facts.arrow';
COPY facts TO 'written/parts' STORED AS PARQUET PARTITIONED BY (priority);
INSERT INTO history SELECT max(day), count(*) FROM facts;
";

/// The outputs of [`OUTPUTS`]: their nodes, how they are kept, and their external names.
const EXPECTED: [(&str, &str, &str); 9] = [
    ("facts", "table", "facts"),
    ("facts_arrow", "arrow", "sales.facts_v1"),
    ("facts_csv", "csv", "facts"),
    ("facts_parquet", "parquet", "facts"),
    ("history_insert", "ndjson", "history"),
    ("lines_json", "ndjson", "lines"),
    ("parts_parquet", "parquet", "parts"),
    ("semantic.v_done_v1", "view", "semantic.v_done_v1"),
    ("weights", "param_table", "weights"),
];

const CONFIGURATION: &str = "\
[param_tables.weights]
description = 'How much an order of each priority weighs.'
file = 'weights.csv'

[outputs.'semantic.v_done_v1']
owner = 'sales-analytics'
description = 'Orders that are done.'
tags = { domain = 'sales' }
columns = { id = 'BIGINT', price = 'DECIMAL(15, 2)' }
";

const WEIGHTS: &str = "priority,weight\n1-URGENT,3\n2-HIGH,2\n3-MEDIUM,1\n4-NOT SPECIFIED,1\n5-LOW,0.5\n";

fn checkout(configuration: &str) -> (Checkout, PathBuf) {
    let checkout = Checkout::new();
    fs::create_dir(checkout.path().join("history")).expect("a folder");
    checkout.pipeline("weights.csv", WEIGHTS);
    checkout.pipeline("daglight.toml", configuration);
    let pipeline = checkout.pipeline("outputs.sql", OUTPUTS);
    (checkout, pipeline)
}

fn artifacts(checkout: &Checkout, report: &Value) -> Vec<Value> {
    let bundle = checkout.path().join(report["bundle"].as_str().expect("a bundle"));
    let text = fs::read(bundle.join("artifacts.json")).expect("the catalog of the bundle");
    let mut catalog: Value = serde_json::from_slice(&text).expect("JSON");
    catalog["artifacts"].as_array_mut().map(std::mem::take).expect("a list")
}

/// Two runs of [`OUTPUTS`], which the tests look at.
struct Written {
    checkout: Checkout,
    project: Project,
    /// The finish reports.
    reports: [Value; 2],
    /// The version, and the runs with their nodes' records, the newest first.
    version: Value,
    runs: Vec<Value>,
}

fn written() -> &'static Written {
    static WRITTEN: OnceLock<Written> = OnceLock::new();
    WRITTEN.get_or_init(|| {
        let (checkout, pipeline) = checkout(CONFIGURATION);
        let hamilton = Hamilton::take();
        let project = hamilton.project("outputs");
        let reports =
            [(); 2].map(|()| Daglight::run(&checkout, &pipeline).tracked_in(&project).finish().report(0));
        let versions = hamilton.versions(&project);
        assert_eq!(versions.len(), 1);
        let version = hamilton.version(&versions[0]["id"]);
        let runs = hamilton.runs(&project).iter().map(|run| hamilton.run(&run["id"])).collect();
        Written { checkout, project, reports, version, runs }
    })
}

/// An attribute of a node in the newest run.
fn attribute<'a>(run: &'a Value, node: &str, name: &str) -> &'a Value {
    let found = |list: &'a Value, key: &str, wanted: &str| {
        list.as_array().and_then(|list| list.iter().find(|item| item[key] == wanted))
    };
    let node = found(&run["node_runs"], "node_name", node).unwrap_or_else(|| panic!("no node {node}"));
    found(&node["attributes"], "name", name).unwrap_or_else(|| panic!("no {name} in {node:#}"))
}

#[test]
fn every_output_has_the_tags_it_is_found_by() {
    let nodes = written().version["nodes"].as_array().expect("a list");
    let mut found: Vec<(&str, &str, &str)> = nodes
        .iter()
        .filter(|node| !node["tags"]["materialization"].is_null())
        .map(|node| {
            let text = |value: &'static Value| value.as_str().expect("a text");
            (
                text(&node["name"]),
                text(&node["tags"]["materialization"]),
                text(&node["tags"]["materialized_name"]),
            )
        })
        .collect();
    found.sort_unstable();
    assert_eq!(found, EXPECTED);
}

#[test]
fn the_registry_and_the_configuration_describe_nodes() {
    let node = |name: &str| {
        let nodes = written().version["nodes"].as_array().expect("a list");
        nodes.iter().find(|node| node["name"] == name).unwrap_or_else(|| panic!("no node {name}"))
    };
    let done = node("semantic.v_done_v1");
    assert_eq!(done["documentation"], "Orders that are done.");
    assert_eq!(
        (&done["tags"]["owner"], &done["tags"]["domain"]),
        (&json!("sales-analytics"), &json!("sales"))
    );
    let weights = node("weights");
    assert_eq!(weights["classifications"], json!(["input"]));
    assert_eq!(weights["documentation"], "How much an order of each priority weighs.");
    assert!(node("facts")["dependencies"].as_array().expect("a list").contains(&json!("weights")));
}

#[test]
fn the_catalog_lists_outputs_and_finds_them_by_tags() {
    let written = written();
    let hamilton = Hamilton::take();
    let page = Page::logged_in(hamilton.url());
    let catalog = format!("{}/dashboard/project/{}/catalog", hamilton.url(), written.project.id);
    page.open(&catalog);
    page.shows(&EXPECTED.map(|(node, ..)| node));
    page.screenshot("catalog-outputs");
    for (node, materialization, name) in EXPECTED {
        page.open(&format!(
            "{catalog}?tags=%7B%22materialization%22%3A%5B%22{materialization}%22%5D%2C\
             %22materialized_name%22%3A%5B%22{name}%22%5D%7D"
        ));
        page.shows(&[node]);
        let text = page.text();
        let others = EXPECTED.iter().filter(|(other, ..)| !node.contains(other));
        let shown: Vec<_> = others.filter(|(other, ..)| text.lines().any(|line| line == *other)).collect();
        assert!(shown.is_empty(), "{node}: {shown:?}");
    }
}

#[test]
fn an_artifact_says_what_was_written() {
    let Written { checkout, reports, runs, .. } = written();
    let catalog = artifacts(checkout, &reports[1]);
    assert_eq!(catalog.len(), EXPECTED.len());
    let rows = attribute(&runs[0], "facts", "artifact")["value"]["value"]["rows"].clone();
    assert!(rows.as_u64().is_some_and(|rows| rows > 1_000), "{rows}");
    for (node, materialization, name) in EXPECTED {
        let shown = &attribute(&runs[0], node, "artifact")["value"]["value"];
        assert_eq!((&shown["name"], &shown["materialization"]), (&json!(name), &json!(materialization)));
        let entry = catalog
            .iter()
            .find(|entry| entry["name"] == name && entry["materialization"] == materialization)
            .unwrap_or_else(|| panic!("{node} is not in {catalog:#?}"));
        for key in
            ["location", "format", "rows", "bytes", "files", "schema_hash", "plan_signature", "signature"]
        {
            assert_eq!(shown.get(key).unwrap_or(&Value::Null), &entry[key], "{node}: {key}");
        }
        assert_eq!((&shown["run_id"], &entry["run_id"]), (&reports[1]["run_id"], &reports[1]["run_id"]));
        assert!(shown["written_at"].is_string() && entry["written_at"].is_string());
        assert_eq!(
            entry["schema"].as_array().map(Vec::len),
            shown["schema"].as_object().map(serde_json::Map::len)
        );
    }
    for file in ["written/facts.csv", "written/facts.parquet", "written/facts.arrow"] {
        let entry = catalog.iter().find(|entry| entry["location"] == file);
        let entry = entry.unwrap_or_else(|| panic!("{file} is not in {catalog:#?}"));
        let bytes = fs::metadata(checkout.path().join(file)).expect("the file").len();
        assert_eq!((&entry["bytes"], &entry["files"], &entry["rows"]), (&json!(bytes), &json!(1), &rows));
    }
    // `COPY` into a folder appends: the second run has written half of what lies there.
    let parts = catalog.iter().find(|entry| entry["name"] == "parts").expect("the partitions");
    assert_eq!((&parts["files"], &parts["rows"]), (&json!(5), &rows));
    let weights = catalog.iter().find(|entry| entry["name"] == "weights").expect("the parameters");
    assert_eq!((&weights["rows"], &weights["location"]), (&json!(5), &json!("weights.csv")));
    assert_eq!(weights["signature"].as_str().map(str::len), Some(16));
}

#[test]
fn the_page_draws_columns_of_every_kind_and_compares_two_runs() {
    let written = written();
    let hamilton = Hamilton::take();
    let page = Page::logged_in(hamilton.url());
    let [newest, oldest] = [0, 1].map(|index| written.runs[index]["id"].to_string());
    let project = format!("{}/dashboard/project/{}", hamilton.url(), written.project.id);
    let kinds =
        ["Numeric Columns", "Datetime Columns", "Boolean Columns", "Categorical Columns", "String Columns"];

    page.open(&format!("{project}/runs/{newest}/task/facts_parquet"));
    page.shows(&kinds);
    page.shows(&["price", "Decimal128(15, 2)", "day", "done", "priority", "comment", "Artifact", "Queries"]);
    page.screenshot("output");

    page.open(&format!("{project}/runs/{oldest},{newest}/task/facts_parquet"));
    page.shows(&kinds);
    page.shows(&[&oldest, &newest, "price"]);
    page.screenshot("output-compared");

    // What the metadata of Parquet files say is a table too, with ranges and without histograms.
    page.open(&format!("{project}/runs/{newest}/task/orders"));
    page.shows(&["Numeric Columns", "Datetime Columns", "o_totalprice", "o_orderdate", "Source"]);
    page.screenshot("loader");

    page.open(&format!("{project}/runs/{newest}/task/semantic.v_done_v1"));
    page.shows(&["a view has no rows of its own", "price", "sales-analytics"]);
    page.open(&format!("{project}/runs/{newest}/task/weights"));
    page.shows(&["Numeric Columns", "weight", "param_table"]);
}

#[test]
fn profiles_differ_in_what_they_show_of_an_output() {
    let (checkout, pipeline) = checkout(CONFIGURATION);
    let hamilton = Hamilton::take();
    let run = |profile: &str| {
        let project = hamilton.project(&format!("outputs in {profile}"));
        let arguments = ["--profile", profile];
        let report =
            Daglight::run(&checkout, &pipeline).args(arguments).tracked_in(&project).finish().report(0);
        let runs = hamilton.runs(&project);
        (report, runs.first().map(|run| hamilton.run(&run["id"])))
    };
    let (_, dev) = run("dev");
    let (ci_report, ci) = run("ci");
    let (_, prod) = run("prod");

    let dev = dev.expect("dev tracks");
    assert_eq!(attribute(&dev, "facts_parquet", "data_summary")["type"], "dagworks_describe");
    assert_eq!(attribute(&dev, "$from_day", "value")["value"]["value"], "1995-01-01");

    assert!(ci.is_none(), "ci does not track");
    assert_eq!(artifacts(&checkout, &ci_report).len(), EXPECTED.len());

    let prod = prod.expect("prod tracks");
    for (node, ..) in EXPECTED.iter().filter(|(_, materialization, _)| *materialization != "view") {
        let summary = &attribute(&prod, node, "data_summary")["value"]["value"];
        assert_eq!(summary["summary"], "RESULT SUMMARY DISABLED", "{node}");
        assert!(summary["rows"].is_u64(), "{node}: {summary}");
        assert_eq!(attribute(&prod, node, "schema")["type"], "schema");
    }
    let artifact = |run: &Value| attribute(run, "facts_csv", "artifact")["value"]["value"].clone();
    for key in ["rows", "bytes", "files", "schema_hash", "plan_signature"] {
        assert_eq!(artifact(&dev)[key], artifact(&prod)[key], "{key}");
    }
    // No value of the data, and none of the parameters.
    let sent = prod.to_string();
    for value in ["1995-01-01", "4-NOT SPECIFIED"] {
        assert!(!sent.contains(value), "{value}");
    }
}

#[test]
fn outputs_that_are_not_as_the_registry_says_are_warnings_or_fail_the_run() {
    let configuration = CONFIGURATION.replace("id = 'BIGINT'", "id = 'TEXT'");
    let (checkout, pipeline) = checkout(&format!("{configuration}\n[outputs.forecast]\nowner = 'nobody'\n"));
    let findings = [
        "the output \"semantic.v_done_v1\" is not as the registry says: column \"id\" is Int64 instead of TEXT",
        "the output \"facts\" (csv) is not in the registry",
        "the registry has \"forecast\", but nothing produced it",
    ];
    let warnings = |report: &Value| {
        let warnings = report["warnings"].as_array().expect("a list").clone();
        findings.map(|finding| warnings.contains(&json!({"code": "registry_mismatch", "message": finding})))
    };
    let finished = Daglight::run(&checkout, &pipeline).finish();
    let report = finished.report(0);
    assert_eq!(warnings(&report), [true; 3], "{report:#}");
    assert!(!finished.stderr.contains("\"weights\""), "inputs need no entry: {}", finished.stderr);

    let report = Daglight::run(&checkout, &pipeline).args(["--strict-registry"]).finish().report(1);
    assert_eq!((&report["status"], warnings(&report)), (&json!("failure"), [true; 3]));
    let bundle = checkout.path().join(report["bundle"].as_str().expect("a bundle"));
    let manifest: Value =
        serde_json::from_slice(&fs::read(bundle.join("manifest.json")).expect("a manifest")).expect("JSON");
    assert!(manifest["error"].to_string().contains("strict registry"), "{}", manifest["error"]);
}

#[test]
fn what_is_wrong_in_the_configuration_ends_the_command() {
    for (configuration, expected) in [
        (CONFIGURATION.replace("BIGINT", "BIGTINT"), "BIGTINT"),
        (CONFIGURATION.replace("file = 'weights.csv'", ""), "either `rows` or a `file`"),
        (CONFIGURATION.replace("weights.csv", "weights.xlsx"), "weights.xlsx"),
        (CONFIGURATION.replace("weights.csv", "nowhere.csv"), "cannot be read from nowhere.csv"),
    ] {
        let (checkout, pipeline) = checkout(&configuration);
        let finished = Daglight::run(&checkout, &pipeline).finish().ended_with(2);
        assert!(finished.stderr.contains(expected), "{expected:?} is not in\n{}", finished.stderr);
    }
}

/// What documents a node, in the configuration too, is shown under one profile and not under the other.
#[test]
fn descriptions_leave_only_where_documentation_does() {
    let (checkout, pipeline) = checkout(CONFIGURATION);
    let hamilton = Hamilton::take();
    for (profile, is_shown) in [("dev", true), ("prod", false)] {
        let project = hamilton.project(&format!("descriptions under {profile}"));
        let run = Daglight::run(&checkout, &pipeline).args(["--profile", profile]).tracked_in(&project);
        let report = run.finish().report(0);
        let versions = hamilton.versions(&project);
        let version = hamilton.version(&versions[0]["id"]);
        let run = hamilton.run(&hamilton.runs(&project)[0]["id"]);
        let artifact = &attribute(&run, "semantic.v_done_v1", "artifact")["value"]["value"];
        assert_eq!(artifact["description"].is_string(), is_shown, "{artifact:#}");
        assert_eq!(artifact["owner"], "sales-analytics", "an owner is a tag");
        let bundle = checkout.path().join(report["bundle"].as_str().expect("a bundle"));
        let outbox = fs::read_to_string(bundle.join("tracker/outbox.jsonl")).expect("the outbox");
        let of_server = format!("{version}{run}");
        for place in [outbox, of_server] {
            for text in ["Orders that are done.", "How much an order of each priority weighs."] {
                assert_eq!(place.contains(text), is_shown, "{text} under {profile}");
            }
        }
    }
}
