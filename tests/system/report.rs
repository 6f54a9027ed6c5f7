//! The report of a run.

use std::fs;

use serde_json::{Value, json};

use crate::{
    observed::observed,
    pipelines::{SHOP_NODES, SHOP_QUERIES},
};

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

#[test]
fn the_json_says_what_was_slow_and_how_much_passed() {
    let observed = observed();
    let report = observed.json("run_diagnostics_report.json");
    assert_eq!(report["identity"]["run_id"], observed.run_id());

    let slowest = list(&report["slowest_spans"]);
    assert_eq!(slowest[0]["node"], "yearly_sales");
    let durations: Vec<f64> = slowest.iter().filter_map(|span| span["duration_ms"].as_f64()).collect();
    assert!(durations.is_sorted_by(|longer, shorter| longer >= shorter), "{durations:?}");

    let stages: Vec<&str> =
        list(&report["stages"]).iter().filter_map(|stage| stage["stage"].as_str()).collect();
    for stage in ["extract", "execute", "plan", "write"] {
        assert!(stages.contains(&stage), "{stage} is not among {stages:?}");
    }

    let totals = &report["totals"];
    assert_eq!(
        (&totals["nodes"], &totals["queries"]),
        (&json!(SHOP_NODES.len()), &json!(SHOP_QUERIES.len()))
    );
    assert_eq!((&totals["errors"], &totals["warnings"]), (&json!(0), &json!(0)));
    for counted in ["rows_read", "bytes_read", "rows_written", "bytes_written"] {
        assert!(totals[counted].as_u64().is_some_and(|count| count > 0), "{counted}: {totals}");
    }
    assert_eq!(report["problems"], json!([]));
}

#[test]
fn the_markdown_and_the_page_say_the_same() {
    let observed = observed();
    for file in ["run_diagnostics_report.md", "run_diagnostics_report.html"] {
        let text = fs::read_to_string(observed.file(file)).expect("a text");
        for expected in ["shop::review_v1", observed.run_id(), "yearly_sales", "yearly_file"] {
            assert!(text.contains(expected), "{expected} is not in {file}");
        }
    }
}

#[test]
fn a_run_that_went_well_has_nothing_to_warn_of() {
    let observed = observed();
    assert_eq!(observed.report["status"], "success");
    assert_eq!(observed.report["warnings"], json!([]));
    assert!(!observed.stderr.to_lowercase().contains("warning"), "{}", observed.stderr);
}
