//! Runs of scripts with the default thresholds.

use std::fs;

use daglight_system_tests::{Checkout, Daglight};
use serde_json::Value;

use super::planted::OF_THE_MACHINE;

/// Each finding of a run, by kind, with its node, operator and summary.
pub(super) fn findings(checkout: &Checkout, sql: &str, arguments: &[&str], code: i32) -> Vec<Value> {
    let pipeline = checkout.pipeline("planted.sql", sql);
    let finished = Daglight::run(checkout, &pipeline)
        .args(arguments)
        .env("HAMILTON_TRACKER_ENABLED", "false")
        .finish()
        .report(code);
    let bundle = checkout.path().join(finished["bundle"].as_str().expect("a bundle"));
    let report = fs::read_to_string(bundle.join("run_diagnostics_report.json")).expect("a report");
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let findings = report["findings"].as_array().expect("a list").clone();
    let markdown = fs::read_to_string(bundle.join("run_diagnostics_report.md")).expect("a report");
    for finding in &findings {
        let page = finding["page"].as_str().expect("a page");
        assert!(markdown.contains(page), "{page} is not in\n{markdown}");
    }
    findings
}

/// Runs a script, which has a finding of the kind with this node and summary, and no others but what `may` come with it.
#[track_caller]
pub(super) fn check(sql: &str, code: i32, kind: &str, node: Option<&str>, summary: &str, may: &[&str]) {
    let findings = findings(&Checkout::new(), sql, &[], code);
    let found = findings.iter().find(|finding| finding["kind"] == kind);
    let found = found.unwrap_or_else(|| panic!("{kind} is not among {findings:#?}"));
    let is_asked_for = |other: &str| other == kind || may.contains(&other) || OF_THE_MACHINE.contains(&other);
    let mut others = findings.iter().filter_map(|finding| finding["kind"].as_str());
    assert!(others.all(is_asked_for), "{findings:#?}");
    assert_eq!(found["node"].as_str(), node, "{found:#}");
    assert!(found["summary"].as_str().is_some_and(|text| text.contains(summary)), "{found:#}");
    assert!(found["evidence"].as_array().is_some_and(|evidence| !evidence.is_empty()), "{found:#}");
}
