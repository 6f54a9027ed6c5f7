//! Output folders that are removed or moved while a run goes on.

use std::fs;

use daglight_system_tests::{Checkout, Daglight, Finished, Hamilton, check_balanced};
use serde_json::{Value, json};

const SQL: &str = "\
CREATE EXTERNAL TABLE events (id INT) STORED AS CSV LOCATION '/dev/stdin' OPTIONS ('format.has_header' 'false');
CREATE TABLE kept AS SELECT id FROM events;
CREATE TABLE doubled AS SELECT id * 2 AS id FROM kept;
";

/// What the pipeline reads comes once a file is there.
const SOURCE: &str = r#"(while [ ! -e go ]; do sleep 0.05; done; echo 1) | "$0" "$@""#;

/// Runs a pipeline whose source does not answer before `happens` has been called.
fn run(checkout: &Checkout, prepare: impl FnOnce(Daglight) -> Daglight, happens: impl FnOnce()) -> Finished {
    let pipeline = checkout.pipeline("events.sql", SQL);
    let running = prepare(Daglight::run(checkout, &pipeline)).through("sh", &["-c", SOURCE]).start();
    let bundles = checkout.path().join("out/run_bundle");
    let has_begun = |bundle: fs::DirEntry| {
        fs::read_to_string(bundle.path().join("nodes.jsonl")).is_ok_and(|lines| lines.contains("events"))
    };
    running.wait_until("its first node", || {
        fs::read_dir(&bundles).is_ok_and(|runs| runs.flatten().any(has_begun))
    });
    happens();
    fs::write(checkout.path().join("go"), "").expect("a file");
    running.finish()
}

#[track_caller]
fn check_warning(report: &Value, stderr: &str) {
    assert_eq!((&report["status"], &report["bundle"]), (&json!("success"), &Value::Null), "{report:#}");
    assert_eq!(stderr.matches("was removed or moved while the run was going").count(), 1, "{stderr}");
    assert_eq!(stderr.matches("WARN").count(), 1, "{stderr}");
    check_balanced(&report["ledger"]["tracker"]);
    assert_eq!(report["ledger"]["tracker"]["waiting"], 0, "{report:#}");
}

#[test]
fn a_run_whose_folder_is_removed_succeeds_and_reaches_its_server() {
    let (checkout, hamilton) = (Checkout::new(), Hamilton::take());
    let project = hamilton.project("a folder that is removed");
    let out = checkout.path().join("out");
    let finished = run(
        &checkout,
        |run| run.tracked_in(&project),
        || fs::remove_dir_all(&out).expect("it can be removed"),
    );
    let report = finished.report(0);
    check_warning(&report, &finished.stderr);
    let ledger = &report["ledger"]["tracker"];
    assert_eq!(ledger["delivered"], ledger["produced"], "{ledger:#}");
    let runs = hamilton.runs(&project);
    assert_eq!((runs.len(), &runs[0]["run_status"]), (1, &json!("SUCCESS")), "{runs:#?}");
    assert!(!out.exists());
}

#[test]
fn all_commands_say_the_same_of_a_run_whose_folder_was_moved() {
    for (tracked, words, faults) in [
        ("true", "success", "manifest.json: the run ended (success), which only the outbox says"),
        ("false", "process ended", "manifest.json: the run was not closed, and its process has ended"),
    ] {
        let checkout = Checkout::new();
        let finished = run(
            &checkout,
            |run| run.env("HAMILTON_TRACKER_ENABLED", tracked),
            || {
                let to = checkout.path().join("moved");
                fs::rename(checkout.path().join("out"), to).expect("it can be moved");
            },
        );
        let report = finished.report(0);
        assert_eq!(report["bundle"], Value::Null);
        if tracked == "true" {
            check_warning(&report, &finished.stderr);
        }
        let call = |arguments: &[&str], code: i32| {
            Daglight::new(&checkout, arguments).finish().ended_with(code).stdout
        };
        for listed in ["status", "history"] {
            let said = call(&[listed, "moved"], 0);
            assert!(said.contains(&format!(" {words} ")), "{said}");
        }
        let of_table = call(&["query", "moved", "SELECT status FROM runs", "--format", "csv"], 0);
        assert_eq!(of_table, format!("status\n{}\n", words.replace(' ', "_")));
        assert_eq!(call(&["bundle", "verify", "moved"], 1), format!("{faults}\n"));
        let closed = if tracked == "true" { "SUCCESS" } else { "FAILURE" };
        let made = Daglight::new(&checkout, ["report", "moved"]).finish().ended_with(0);
        assert!(made.stderr.contains(&format!("closed as {closed}")), "{}", made.stderr);
        assert_eq!(made.stdout.contains("Succeeded in"), tracked == "true", "{}", made.stdout);
        call(&["bundle", "verify", "moved"], 0);
    }
}
