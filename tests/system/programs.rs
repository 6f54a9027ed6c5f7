//! A program of a stranger, in a separate crate that knows only the facade: what is seen of it, on disk and in Hamilton.

use std::path::{Path, PathBuf};

use daglight_system_tests::{Checkout, Daglight, Hamilton};
use serde_json::{Value, json};

/// The program, which is built with the others.
pub(crate) fn stranger(checkout: &Checkout, mode: &str) -> Daglight {
    let program = Path::new(env!("CARGO_BIN_EXE_ending-run")).with_file_name("stranger");
    assert!(program.exists(), "{} is not built: run `cargo build --workspace --bins`", program.display());
    Daglight::program(&program, checkout, [mode]).env("DAGLIGHT_OUTPUT_DIR", "out")
}

/// The bundle of the only run.
pub(crate) fn bundle(checkout: &Checkout) -> PathBuf {
    let runs = std::fs::read_dir(checkout.path().join("out/run_bundle")).expect("runs are recorded");
    let bundles: Vec<PathBuf> = runs.flatten().map(|run| run.path()).collect();
    let [bundle] = &bundles[..] else { panic!("not one run: {bundles:?}") };
    bundle.clone()
}

fn json_file(path: &Path) -> Value {
    let text = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn named<'v>(items: &'v Value, key: &str, name: &str) -> &'v Value {
    let found = items.as_array().expect("a list").iter().find(|item| item[key] == name);
    found.unwrap_or_else(|| panic!("no {name} in {items:#}"))
}

/// The value of an attribute of a node on the server.
fn attribute<'v>(task: &'v Value, name: &str) -> &'v Value {
    &named(&task["attributes"], "name", name)["value"]
}

#[test]
fn a_program_of_a_stranger_is_seen_whole() {
    let hamilton = Hamilton::take();
    let project = hamilton.project("stranger");
    let checkout = Checkout::new();
    let finished = stranger(&checkout, "whole").tracked_in(&project).finish().ended_with(0);
    assert!(finished.stdout.contains("20 rows beside, 1 rows written"), "{}", finished.stdout);

    let bundle = bundle(&checkout);
    let manifest = json_file(&bundle.join("manifest.json"));
    assert_eq!(manifest["status"], "success", "{manifest:#}");
    let node = |name: &str| named(&manifest["nodes"], "name", name);
    for name in ["readings", "warmth", "flaky", "beside", "warmth_file"] {
        assert_eq!(node(name)["status"], "success", "{name}");
    }
    assert_eq!((&node("flaky")["attempts"], &node("beside")["attempts"]), (&json!(3), &json!(1)));
    for (attempt, sensor) in
        node("flaky")["earlier_attempts"].as_array().expect("two").iter().zip(["s-1", "s-2"])
    {
        let error = attempt["error"].as_str().expect("an error");
        assert!(error.contains("not complete") && error.contains(sensor), "{error}");
    }
    assert_eq!(
        (&node("optional")["status"], &node("optional")["recovered"]),
        (&json!("failure"), &json!(true))
    );
    assert_eq!((&node("readings")["rows"], &node("warmth_file")["rows"]), (&json!(20), &json!(1)));

    let report = json_file(&bundle.join("run_diagnostics_report.json"));
    let in_report = |name: &str| named(&report["nodes"], "name", name);
    assert_eq!((&in_report("readings")["rows_in"], &in_report("beside")["queries"]), (&json!(20), &json!(2)));
    assert_eq!(report["totals"]["rows_written"], 1, "{}", report["totals"]);

    let runs = hamilton.runs(&project);
    assert_eq!((runs.len(), &runs[0]["run_status"]), (1, &json!("SUCCESS")));
    assert_eq!(runs[0]["tags"]["floor"], "upper");
    let run = hamilton.run(&runs[0]["id"]);
    let task = |name: &str| named(&run["node_runs"], "node_name", name);
    for (name, status) in [("readings", "SUCCESS"), ("flaky", "SUCCESS"), ("optional", "FAILURE")] {
        assert_eq!(task(name)["status"], status, "{name}");
    }
    let trace = attribute(task("optional"), "stack_trace").to_string();
    assert!(trace.contains("sensor s-99 does not answer"), "{trace}");
    let described = attribute(task("readings"), "data_summary").to_string();
    assert!(described.contains("tenths") && described.contains("place"), "{described}");
}

#[test]
fn an_early_return_is_recorded_with_its_causes() {
    for (mode, code, causes) in [
        ("early", 1, &["the readings are not complete", "sensor s-17 does not answer"][..]),
        (
            "fails",
            1,
            &["cannot query the readings", "the readings are not complete", "sensor attic does not answer"],
        ),
        ("refuses", 1, &["cannot query the readings", "no place is called attic"]),
        ("panics", 101, &["nobody expected attic"]),
    ] {
        let hamilton = Hamilton::take();
        let project = hamilton.project(&format!("stranger {mode}"));
        let checkout = Checkout::new();
        let program = stranger(&checkout, mode).tracked_in(&project);
        program.finish().ended_with(code);
        let manifest = json_file(&bundle(&checkout).join("manifest.json"));
        assert_eq!(manifest["status"], "failure", "{mode}: {manifest:#}");
        let failed = named(&manifest["nodes"], "name", "warmth");
        assert_eq!(failed["status"], "failure", "{mode}: {failed:#}");
        let runs = hamilton.runs(&project);
        assert_eq!((runs.len(), &runs[0]["run_status"]), (1, &json!("FAILURE")), "{mode}");
        let run = hamilton.run(&runs[0]["id"]);
        let task = named(&run["node_runs"], "node_name", "warmth");
        assert_eq!(task["status"], "FAILURE", "{mode}");
        let trace = attribute(task, "stack_trace").to_string();
        for cause in causes {
            assert!(
                failed["error"].to_string().contains(cause),
                "{mode}: {cause} is not in {}",
                failed["error"]
            );
            assert!(trace.contains(cause), "{mode}: {cause} is not in {trace}");
        }
    }
}
