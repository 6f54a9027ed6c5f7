//! Events as a reader of other people's making takes them: the classes of OpenLineage's own Python client.

use std::{path::Path, process::Command};

use daglight_openlineage::{Column, DatasetFacts, DatasetName, Ending, LineageRun};
use daglight_run_bundle::{Bundle, CheckRecord, RecordedOutcome, RecordedSeverity};
use dev_services::{Python, VirtualEnv, Workspace};

use crate::{at, at_url, bundle, captured, node_facts, run_facts};

/// What the classes say of the events of a bundle; nothing, where each is as the specification has it.
fn what_the_client_says(events: &Path) -> String {
    let workspace = Workspace::locate().unwrap();
    let file = |name: &str| workspace.root().join("tests/python").join(name);
    let python = Python::find().unwrap();
    let environment =
        VirtualEnv::prepare(&workspace, &python, "openlineage", &file("openlineage.txt")).unwrap();
    let mut reader = Command::new(environment.python());
    let output = reader.arg(file("openlineage_events.py")).arg(events).output().unwrap();
    String::from_utf8(output.stderr).unwrap()
}

fn record_checks(bundle: &Bundle) {
    let run = LineageRun::start(bundle, run_facts(), at_url("http://127.0.0.1:9")).unwrap();
    let check = |kind: &str, outcome, severity| CheckRecord {
        check: format!("{kind} of it"),
        kind: kind.to_owned(),
        columns: vec!["id".to_owned()],
        severity,
        outcome,
        rows: Some(9),
        failing: Some(1),
        message: "seen".to_owned(),
    };
    let checks = [
        check("rows", RecordedOutcome::Passed, RecordedSeverity::Fail),
        check("unique", RecordedOutcome::Failed, RecordedSeverity::Warn),
        check("not_null", RecordedOutcome::Passed, RecordedSeverity::Warn),
        check("freshness", RecordedOutcome::Failed, RecordedSeverity::Fail),
        check("condition", RecordedOutcome::Undecided, RecordedSeverity::Warn),
    ];
    let output = DatasetFacts {
        columns: vec![Column { name: captured("id"), data_type: captured("Int64") }],
        checks: checks.to_vec(),
        ..DatasetFacts::new(DatasetName::of_location("/data/totals.parquet").unwrap())
    };
    run.node_ended(&node_facts("totals"), at(2), &Ending::Complete, Vec::new(), vec![output]).unwrap();
}

#[test]
fn results_of_checks_are_what_the_specification_says() {
    let (_out, bundle) = bundle();
    record_checks(&bundle);
    assert_eq!(what_the_client_says(&bundle.lineage_events()), "");
    let events = std::fs::read_to_string(bundle.lineage_events()).unwrap();
    let misplaced = events.replace("\"severity\"", "\"weight\"");
    let wrong = bundle.dir().join("wrong.jsonl");
    std::fs::write(&wrong, misplaced).unwrap();
    assert!(what_the_client_says(&wrong).contains("Assertion has no field weight"));
}
