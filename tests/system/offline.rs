//! Runs without a server, and what is delivered later.

use daglight_system_tests::{Checkout, Daglight, Hamilton, check_balanced};
use serde_json::{Value, json};

use crate::pipelines::SHOP;

/// Nothing listens there: the port is reserved.
const NOWHERE: &str = "http://127.0.0.1:1";

#[track_caller]
fn the_bundle_is_complete(checkout: &Checkout, report: &Value) {
    let bundle = checkout.path().join(report["bundle"].as_str().expect("a bundle"));
    for name in [
        "manifest.json",
        "otel_traces.json",
        "otel_metrics.json",
        "otel_logs.json",
        "artifacts.json",
        "run_diagnostics_report.json",
        "run_diagnostics_report.md",
        "run_diagnostics_report.html",
    ] {
        assert!(bundle.join(name).metadata().is_ok_and(|file| file.len() > 0), "{name}");
    }
}

#[test]
fn without_a_server_the_run_succeeds_and_one_warning_says_how_to_deliver_later() {
    let checkout = Checkout::new();
    let pipeline = checkout.pipeline("shop.sql", SHOP);
    let hamilton = Hamilton::take();
    let project = hamilton.project("delivered later");
    let finished = Daglight::run(&checkout, &pipeline)
        .tracked_in(&project)
        .env("HAMILTON_API_URL", NOWHERE)
        .env("DAGLIGHT_FLUSH_SECONDS", "1")
        .finish();
    let report = finished.report(0);
    the_bundle_is_complete(&checkout, &report);
    let [warning] = &report["warnings"].as_array().expect("a list")[..] else { panic!("{report:#}") };
    assert!(
        warning["code"] == "undelivered" && warning["message"].to_string().contains("daglight sync"),
        "{warning}"
    );
    assert_eq!(finished.stderr.matches("daglight sync").count(), 1, "{}", finished.stderr);
    assert!(!finished.stderr.contains('\u{1b}'), "colours in a file: {}", finished.stderr);
    let account = &report["ledger"]["tracker"];
    assert_eq!((&account["waiting"], &account["delivered"]), (&account["produced"], &json!(0)), "{account}");

    let sync = || Daglight::new(&checkout, ["sync", "out"]).tracked_in(&project).finish().ended_with(0);
    sync();
    let runs = hamilton.runs(&project);
    assert_eq!((runs.len(), &runs[0]["run_status"]), (1, &json!("SUCCESS")));
    assert_eq!(runs[0]["tags"]["run_id"], report["run_id"]);
    let tasks = hamilton.run(&runs[0]["id"])["node_runs"].as_array().expect("a list").len();
    assert!(tasks >= 6, "{tasks} tasks");

    let again = sync();
    assert_eq!(hamilton.runs(&project).len(), 1, "{}", again.stderr);
}

#[test]
fn a_receiver_that_is_away_is_reported_and_does_not_fail_the_run() {
    let checkout = Checkout::new();
    let pipeline = checkout.pipeline("shop.sql", SHOP);
    let report = Daglight::run(&checkout, &pipeline)
        .env("HAMILTON_TRACKER_ENABLED", "false")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", NOWHERE)
        .finish()
        .report(0);
    the_bundle_is_complete(&checkout, &report);
    assert_eq!(report["warnings"].as_array().map(Vec::len), Some(1), "{:#}", report["warnings"]);
    report["ledger"]["signals"].as_array().expect("a list").iter().for_each(check_balanced);
}

#[test]
fn a_disk_that_takes_no_more_is_one_warning_and_the_run_goes_on() {
    let checkout = Checkout::new();
    let pipeline = checkout.pipeline("shop.sql", SHOP);
    // Enough for what the pipeline and the report write, and not for the outbox.
    let finished = Daglight::run(&checkout, &pipeline).with_files_up_to(32).finish();
    let report = finished.report(0);
    assert_eq!(report["status"], "success");
    assert_eq!(finished.stderr.matches("WARN").count(), 1, "{}", finished.stderr);
    assert!(finished.stderr.contains("File too large"), "{}", finished.stderr);
    let signals = report["ledger"]["signals"].as_array().expect("a list").iter();
    signals.chain([&report["ledger"]["tracker"]]).for_each(check_balanced);
}

#[test]
fn a_folder_that_cannot_be_made_is_one_warning_and_the_run_goes_on() {
    let checkout = Checkout::new();
    let pipeline = checkout.pipeline("shop.sql", SHOP);
    checkout.pipeline("blocked", "a file in the way");
    checkout.pipeline("daglight.toml", "[bundle]\noutput_dir = \"blocked\"\n");
    let finished = Daglight::new(&checkout, ["run", "--json"]).args([&pipeline]).finish();
    let report = finished.report(0);
    assert_eq!((&report["status"], &report["bundle"]), (&json!("success"), &Value::Null));
    assert_eq!(finished.stderr.matches("WARN").count(), 1, "{}", finished.stderr);
    assert!(
        finished.stderr.contains(
            "cannot create the bundle; nothing of this run will be recorded or delivered: blocked is a file, expected a folder"
        ),
        "{}",
        finished.stderr
    );
}

#[test]
fn a_wrong_variable_is_one_warning_with_what_is_used_instead() {
    let checkout = Checkout::new();
    let pipeline = checkout.pipeline("shop.sql", SHOP);
    let finished = Daglight::run(&checkout, &pipeline).env("OTEL_TRACES_SAMPLER", "sometimes").finish();
    let report = finished.report(0);
    let warnings = report["warnings"].as_array().expect("a list");
    let warning =
        warnings.iter().find_map(|warning| warning["message"].as_str().filter(|text| text.contains("OTEL_")));
    let warning = warning.unwrap_or_else(|| panic!("{warnings:#?}"));
    let said: Vec<&str> = finished.stderr.lines().filter(|line| line.contains("WARN")).collect();
    assert!(said.len() == 1 && said[0].contains(warning), "{}", finished.stderr);
    for part in ["OTEL_TRACES_SAMPLER", "sometimes", "parentbased_always_on"] {
        assert!(said[0].contains(part), "{part} is not in {}", said[0]);
    }
}

#[test]
fn with_nothing_configured_the_run_is_in_its_bundle() {
    let checkout = Checkout::new();
    let pipeline = checkout.pipeline("shop.sql", SHOP);
    let report = Daglight::run(&checkout, &pipeline).finish().report(0);
    the_bundle_is_complete(&checkout, &report);
}
