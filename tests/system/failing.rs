//! Pipelines that fail while they run.

use daglight_system_tests::{Checkout, Daglight, Hamilton, Page};
use serde_json::{Value, json};

use crate::pipelines::FAILING;

#[test]
fn a_node_that_fails_fails_the_run_and_what_depends_on_it_does_not_run() {
    let checkout = Checkout::new();
    let pipeline = checkout.pipeline("failing.sql", FAILING);
    let hamilton = Hamilton::take();
    let project = hamilton.project("failing");
    let finished = Daglight::run(&checkout, &pipeline).tracked_in(&project).finish();
    let report = finished.report(1);
    assert_eq!(report["status"], "failure");
    let states: Vec<(&str, &str)> = report["nodes"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|node| (node["name"].as_str().expect("a name"), node["status"].as_str().expect("a state")))
        .collect();
    assert_eq!(states, [("texts", "success"), ("numbers", "failure"), ("doubled", "not_run")]);
    for expected in ["numbers", "failing.sql:4", "three"] {
        assert!(finished.stderr.contains(expected), "{expected} is not in\n{}", finished.stderr);
    }

    let runs = hamilton.runs(&project);
    assert_eq!((runs.len(), &runs[0]["run_status"]), (1, &json!("FAILURE")));
    let run = hamilton.run(&runs[0]["id"]);
    let task = |name: &str| run["node_runs"].as_array()?.iter().find(|task| task["node_name"] == name);
    assert_eq!(task("texts").map(|task| &task["status"]), Some(&json!("SUCCESS")));
    let failed = task("numbers").expect("a task");
    assert_eq!(failed["status"], "FAILURE");
    let error: Vec<&Value> = failed["attributes"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|item| item["type"] == "error")
        .collect();
    assert_eq!(error.len(), 1, "{failed:#}");
    assert!(error[0]["value"]["stack_trace"].to_string().contains("three"), "{}", error[0]);
    assert_eq!(failed["attributes"][0]["name"], "stack_trace", "the page shows no other one: {failed:#}");
    assert!(run["tags"]["error"].to_string().contains("node numbers: "), "{run:#}");

    let page = Page::logged_in(hamilton.url());
    let link = report["links"]["hamilton_run"].as_str().expect("a link");
    page.open(&format!("{link}/task/numbers"));
    page.click("Errors");
    page.shows(&["three"]);
    page.screenshot("errors");
    page.open(link);
    page.shows(&["error", "node numbers"]);
    assert_ne!(task("doubled").map(|task| &task["status"]), Some(&json!("SUCCESS")));
}
