//! The report of a run.

use std::fs;

use crate::{observed::observed, pipelines::SHOP_QUERIES};

#[test]
fn the_json_says_what_was_slow_and_how_much_passed() {
    let observed = observed();
    let report = observed.json("run_diagnostics_report.json");
    assert_eq!(report["run_id"], observed.run_id(), "{report}");
    let text = report.to_string();
    for name in SHOP_QUERIES {
        assert!(text.contains(name), "{name}");
    }
    for part in ["slowest_spans", "stages", "errors", "warnings"] {
        assert!(report.get(part).is_some(), "{part} is not in {report:#}");
    }
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
    assert_eq!(observed.report["warnings"], serde_json::json!([]));
    assert!(!observed.stderr.to_lowercase().contains("warning"), "{}", observed.stderr);
}
