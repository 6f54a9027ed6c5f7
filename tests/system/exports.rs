//! What other programs make of the files of a run: schemas, and viewers of traces.

use std::{collections::BTreeMap, fs, path::Path};

use daglight_system_tests::{Checkout, Daglight, Perfetto, check_against, decode_strictly, schema_of};
use serde_json::Value;

use crate::observed::observed;

fn export(format: &str, bundle: &Path, to: &Path) {
    let call = Daglight::new(&observed().checkout, ["export".as_ref(), bundle.as_os_str()]);
    let to = to.to_string_lossy();
    call.args(["--format", format, "--to", &to]).finish().ended_with(0);
}

fn spans_by_name(spans: &[Value]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for span in spans {
        *counts.entry(span["name"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    counts
}

#[test]
fn every_span_of_a_run_opens_in_the_viewers() {
    let observed = observed();
    let out = tempfile::tempdir().expect("a folder");
    let kept = spans_by_name(&decode_strictly(&observed.file("otel_traces.json"), "traces"));
    let without_beats: usize =
        kept.iter().filter(|(name, _)| *name != "build.heartbeat").map(|(_, count)| count).sum();

    let otlp = out.path().join("otlp.json");
    export("otlp", &observed.bundle(), &otlp);
    assert_eq!(spans_by_name(&decode_strictly(&otlp, "traces")), kept);

    let speedscope = out.path().join("speedscope.json");
    export("speedscope", &observed.bundle(), &speedscope);
    check_against(&schema_of("tests/schemas/speedscope-1.25.0.json"), &speedscope);
    let document: Value = serde_json::from_slice(&fs::read(speedscope).expect("a file")).expect("JSON");
    let profiles = document["profiles"].as_array().expect("profiles").iter();
    let events = profiles.flat_map(|profile| profile["events"].as_array().expect("events"));
    assert_eq!(events.filter(|event| event["type"] == "O").count(), without_beats);

    let perfetto = out.path().join("perfetto.json");
    export("perfetto", &observed.bundle(), &perfetto);
    let document: Value = serde_json::from_slice(&fs::read(perfetto).expect("a file")).expect("JSON");
    let events = document["traceEvents"].as_array().expect("events");
    assert_eq!(events.iter().filter(|event| event["ph"] == "X").count(), without_beats);
    assert!(events.iter().any(|event| event["ph"] == "C"), "there are beats");
}

#[test]
fn perfetto_reads_every_span_of_a_run_and_finds_nothing_wrong() {
    let observed = observed();
    let out = tempfile::tempdir().expect("a folder");
    let trace = out.path().join("trace.json");
    export("perfetto", &observed.bundle(), &trace);
    let document: Value = serde_json::from_slice(&fs::read(&trace).expect("a file")).expect("JSON");
    let events = document["traceEvents"].as_array().expect("events");
    let perfetto = Perfetto::open(&trace);
    // What its importer drops or repairs is counted there alone.
    let wrong = "SELECT name, value FROM stats WHERE severity IN ('error', 'data_loss') AND value > 0";
    assert_eq!(perfetto.query(wrong), [[""; 2]; 0]);

    let mut expected: BTreeMap<String, usize> = BTreeMap::new();
    let (mut beats, mut threads) = (0, Vec::new());
    for event in events {
        match event["ph"].as_str() {
            Some("X") => {
                *expected.entry(event["cat"].as_str().unwrap_or_default().to_owned()).or_default() += 1
            }
            Some("C") => beats += 1,
            _ if event["name"] == "thread_name" => {
                threads.push(event["args"]["name"].as_str().unwrap_or_default())
            }
            _ => {}
        }
    }
    let read = perfetto.query("SELECT category, count(*) FROM slice GROUP BY 1");
    let read: BTreeMap<String, usize> =
        read.into_iter().map(|row| (row[0].clone(), row[1].parse().expect("a count"))).collect();
    assert_eq!(read, expected);
    assert_eq!(perfetto.query("SELECT count(*) FROM counter"), [[beats.to_string()]]);
    let mut named: Vec<String> =
        perfetto.query("SELECT name FROM thread WHERE tid > 0 AND name IS NOT NULL").concat();
    named.sort();
    threads.sort_unstable();
    assert_eq!(named, threads);
    // A span lasts as long as it did.
    let whole = events.iter().find(|event| event["cat"] == "pipeline.execute").expect("the run");
    let nanoseconds = (whole["dur"].as_f64().expect("a duration") * 1e3).round();
    let read = perfetto.query("SELECT dur FROM slice WHERE category = 'pipeline.execute'");
    assert_eq!(read, [[nanoseconds.to_string()]]);
}

#[test]
fn an_export_goes_to_a_pipe_and_replaces_no_file() {
    let observed = observed();
    let bundle = observed.bundle();
    let call = || {
        Daglight::new(&observed.checkout, ["export".as_ref(), bundle.as_os_str()]).args(["--format", "otlp"])
    };
    let document: Value = serde_json::from_str(&call().finish().ended_with(0).stdout).expect("JSON");
    assert!(document["resourceSpans"].is_array());
    call().read_by_nobody().finish().ended_with(0);
    let there = call().args(["--to", "shop.sql"]).finish().ended_with(2);
    assert!(there.stderr.contains("shop.sql already exists: choose a new file"), "{}", there.stderr);
    let logs: Value =
        serde_json::from_str(&call().args(["--signal", "logs"]).finish().ended_with(0).stdout).expect("JSON");
    assert!(logs["resourceLogs"].is_array());
}

#[test]
fn files_that_show_a_run_are_of_their_user_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let observed = observed();
    let bundle = observed.bundle();
    let out = tempfile::tempdir().expect("a folder");
    let (trace, page) = (out.path().join("trace.json"), out.path().join("page.html"));
    export("perfetto", &bundle, &trace);
    let bundle = bundle.as_os_str();
    let compare = ["compare".as_ref(), bundle, bundle, "--html".as_ref(), page.as_os_str()];
    Daglight::new(&observed.checkout, compare).finish().ended_with(0);
    for file in [trace, page] {
        let mode = fs::metadata(&file).expect("a file").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", file.display());
    }
}

#[test]
fn an_export_of_nothing_that_can_be_read_fails_and_leaves_no_file() {
    let checkout = Checkout::new();
    let pipeline = checkout.pipeline("one.sql", "CREATE TABLE one AS SELECT 1 AS a;");
    Daglight::run(&checkout, &pipeline).finish().report(0);
    let runs = fs::read_dir(checkout.path().join("out/run_bundle")).expect("runs");
    let bundle = runs.flatten().next().expect("a run").path();
    fs::write(bundle.join("otel_traces.json"), "not JSON\n").expect("a file");
    for format in ["perfetto", "speedscope", "otlp"] {
        let call = ["export", "out", "--format", format, "--to", "new.json"];
        let said = Daglight::new(&checkout, call).finish().ended_with(1).stderr;
        assert!(said.contains("nothing can be exported of otel_traces.json: line 1 is damaged"), "{said}");
        assert!(!checkout.path().join("new.json").exists());
    }
}

#[test]
fn reports_are_what_their_schema_says() {
    let schema = schema_of("docs/run_diagnostics_report.schema.json");
    check_against(&schema, &observed().file("run_diagnostics_report.json"));
    let checkout = Checkout::new();
    let failing = checkout.pipeline("failing.sql", "SELECT 1 AS a; SELECT arrow_cast('x', 'Int64') AS b;");
    Daglight::run(&checkout, &failing).finish().report(1);
    let runs = fs::read_dir(checkout.path().join("out/run_bundle")).expect("runs");
    for run in runs {
        check_against(&schema, &run.expect("a run").path().join("run_diagnostics_report.json"));
    }
}
