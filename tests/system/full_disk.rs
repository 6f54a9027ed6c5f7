//! Runs on a disk that becomes full: they have a true status all the same, in their bundle and on the server.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use daglight_system_tests::{
    Checkout, Daglight, Finished, Hamilton, Project, check_balanced, decode_strictly,
};
use serde_json::{Value, json};

/// Where the disk is, and where what was on it is afterwards.
const DISK: &str = "out";
const KEPT: &str = "kept";

/// The sample program, which fills the disk in one of its ways.
fn run(checkout: &Checkout, ending: &str) -> Daglight {
    let (disk, kept) = (checkout.path().join(DISK), checkout.path().join(KEPT));
    Daglight::program(Path::new(env!("CARGO_BIN_EXE_ending-run")), checkout, [ending])
        .env("DAGLIGHT_OUTPUT_DIR", DISK)
        .on_small_disk(&disk, "3m", &kept)
}

fn bundle(checkout: &Checkout) -> PathBuf {
    let mut bundles = fs::read_dir(checkout.path().join(KEPT).join("run_bundle")).expect("bundles");
    bundles.next().expect("a bundle").expect("it can be read").path()
}

fn manifest(checkout: &Checkout) -> Value {
    let text = fs::read(bundle(checkout).join("manifest.json")).expect("a manifest");
    serde_json::from_slice(&text).expect("JSON")
}

fn sync(checkout: &Checkout, project: &Project) -> Finished {
    Daglight::new(checkout, ["sync", KEPT]).tracked_in(project).finish()
}

#[track_caller]
fn check_manifest(manifest: &Value) {
    assert_eq!((&manifest["status"], &manifest["error"]), (&json!("success"), &Value::Null), "{manifest:#}");
    assert!(manifest["nodes"].as_array().expect("a list").iter().all(|node| node["status"] == "success"));
    check_balanced(&manifest["delivery"]["tracker"]);
}

/// Both nodes and the run have succeeded, as far as the server knows.
#[track_caller]
fn check_server(hamilton: &Hamilton, project: &Project) {
    let runs = hamilton.runs(project);
    assert_eq!((runs.len(), &runs[0]["run_status"]), (1, &json!("SUCCESS")), "{runs:#?}");
    let run = hamilton.run(&runs[0]["id"]);
    let nodes = run["node_runs"].as_array().expect("a list");
    assert_eq!(nodes.len(), 2, "{run:#}");
    assert!(nodes.iter().all(|node| node["status"] == "SUCCESS"), "{run:#}");
}

#[test]
fn a_run_on_a_full_disk_succeeds_everywhere() {
    let (checkout, hamilton) = (Checkout::new(), Hamilton::take());
    let project = hamilton.project("a full disk");
    run(&checkout, "full-disk").tracked_in(&project).finish().ended_with(0);
    check_server(&hamilton, &project);
    check_manifest(&manifest(&checkout));
    assert!(!bundle(&checkout).join("reserve").exists());
    assert!(!bundle(&checkout).join("tracker/reserve").exists());
    let synced = sync(&checkout, &project);
    assert!(!synced.stdout.contains("FAILURE"), "{}", synced.stdout);
    check_server(&hamilton, &project);
    check_manifest(&manifest(&checkout));
}

#[test]
fn what_was_recorded_on_a_full_disk_is_delivered_later() {
    let (checkout, hamilton) = (Checkout::new(), Hamilton::take());
    let project = hamilton.project("a full disk, delivered later");
    run(&checkout, "full-disk").finish().ended_with(0);
    check_manifest(&manifest(&checkout));
    sync(&checkout, &project).ended_with(0);
    check_server(&hamilton, &project);
}

/// With files so small that the outbox has no space for the end of the run, and the manifest has.
#[test]
fn an_outbox_without_the_end_is_delivered_as_the_run_ended() {
    let (checkout, hamilton) = (Checkout::new(), Hamilton::take());
    let project = hamilton.project("outboxes without an end");
    let sql = "\
        -- node: orders\nCREATE VIEW orders AS SELECT 1 AS id;\n\
        -- node: late\nCREATE TABLE late AS SELECT * FROM orders;\n\
        -- node: shown\nSELECT * FROM late;\n";
    let pipeline = checkout.pipeline("small.sql", sql);
    let mut completed = 0;
    for blocks in [9, 10, 11, 12] {
        let report = Daglight::run(&checkout, &pipeline).with_files_up_to(blocks).finish().report(0);
        let bundle = report["bundle"].as_str().expect("a bundle").to_owned();
        let synced = Daglight::new(&checkout, ["sync", &bundle]).tracked_in(&project).finish().stdout;
        assert!(!synced.contains("FAILURE"), "{synced}");
        completed += usize::from(synced.contains("completed from the manifest as SUCCESS"));
        let manifest = fs::read(checkout.path().join(&bundle).join("manifest.json")).expect("a manifest");
        check_manifest(&serde_json::from_slice(&manifest).expect("JSON"));
    }
    assert!(completed > 0, "every outbox had its end");
    let runs = hamilton.runs(&project);
    assert!(!runs.is_empty() && runs.iter().all(|run| run["run_status"] == "SUCCESS"), "{runs:#?}");
}

#[test]
fn recording_goes_on_when_there_is_space_again() {
    let (checkout, hamilton) = (Checkout::new(), Hamilton::take());
    let project = hamilton.project("a disk that was full");
    run(&checkout, "full-for-a-while").tracked_in(&project).finish().ended_with(0);
    check_server(&hamilton, &project);
    let manifest = manifest(&checkout);
    check_manifest(&manifest);
    assert_eq!(manifest["delivery"]["tracker"]["dropped"], json!({}), "{manifest:#}");
    let bundle = bundle(&checkout);
    assert!(bundle.join("run_diagnostics_report.html").exists());
    let names = json!(decode_strictly(&bundle.join("otel_traces.json"), "traces")).to_string();
    assert!(names.contains("pipeline.execute"), "{names}");
}

#[test]
fn a_full_disk_is_one_warning() {
    let checkout = Checkout::new();
    let sql = "\
        -- node: orders\nCREATE TABLE orders AS SELECT 1 AS id;\n\
        -- node: risk\nCREATE TABLE risk AS SELECT sum(a.value * b.value) AS risk FROM orders \
        CROSS JOIN generate_series(1, 20000) a CROSS JOIN generate_series(1, 10000) b;\n\
        -- node: late\nCREATE TABLE late AS SELECT * FROM risk;\n";
    let pipeline = checkout.pipeline("filled.sql", sql);
    // Fills the disk while the second node runs.
    let filler = "(for i in $(seq 1000); do grep -qs '\"task_started\",\"node\":\"risk\"' out/run_bundle/*/tracker/outbox.jsonl && break; sleep 0.02; done; \
        dd if=/dev/zero of=out/filler bs=4096 2>/dev/null; dd if=/dev/zero of=out/filler2 bs=1 count=4096 2>/dev/null) & exec \"$@\"";
    let (disk, kept) = (checkout.path().join(DISK), checkout.path().join(KEPT));
    let finished = Daglight::run(&checkout, &pipeline)
        .through("sh", &["-c", filler, "sh"])
        .on_small_disk(&disk, "3m", &kept)
        .finish();
    let report = finished.report(0);
    assert_eq!(report["status"], "success");
    assert_eq!(finished.stderr.matches("WARN").count(), 1, "{}", finished.stderr);
    assert!(finished.stderr.contains("No space left"), "{}", finished.stderr);
    assert_eq!(manifest(&checkout)["status"], "success");
}

/// Who reads the console is told what happens, what goes on, what to do, and in the end what is missing.
#[test]
fn the_console_says_what_a_full_disk_means() {
    let sql = "-- node: orders\nCREATE TABLE orders AS SELECT 1 AS id;\n-- node: late\nCREATE TABLE late AS SELECT * FROM orders;\n";
    let said_by = |limited: &dyn Fn(Daglight, &Checkout) -> Daglight| {
        let checkout = Checkout::new();
        let pipeline = checkout.pipeline("small.sql", sql);
        limited(Daglight::new(&checkout, [Path::new("run"), &pipeline]), &checkout)
            .finish()
            .ended_with(0)
            .stderr
    };
    let on_disk = |size: &'static str| {
        said_by(&|run, checkout| {
            run.on_small_disk(&checkout.path().join(DISK), size, &checkout.path().join(KEPT))
        })
    };
    let mut lacked = BTreeSet::new();
    for (said, cause) in [
        (on_disk("32k"), "No space left"),
        (on_disk("48k"), "No space left"),
        (said_by(&|run, _| run.with_files_up_to(6)), "File too large"),
    ] {
        lacked.extend(["plans of queries", "data summaries"].into_iter().filter(|part| said.contains(part)));
        let warnings: Vec<&str> = said.lines().filter(|line| line.contains("WARN")).collect();
        let [warning] = warnings.as_slice() else { panic!("one warning: {said}") };
        for part in [cause, "out/run_bundle/", "delivery to servers go on", "another folder (--output-dir"] {
            assert!(warning.contains(part), "{part}: {said}");
        }
        let missing = said.lines().find(|line| line.trim_start().starts_with("missing"));
        let missing = missing.unwrap_or_else(|| panic!("what is missing: {said}"));
        assert!(missing.contains("in the bundle, not written: ") && missing.contains(" of "), "{said}");
        assert!(said.contains("small succeeded"), "{said}");
    }
    // What does not find space depends on the disk.
    assert_eq!(lacked.len(), 2, "{lacked:?}");
    let whole = said_by(&|run, _| run);
    assert!(!whole.contains("missing") && !whole.contains("WARN"), "{whole}");
}

/// Not even the last manifest finds space beside the first: it is written over that.
#[test]
fn a_run_on_a_disk_that_is_too_small_for_its_last_manifest_succeeds_all_the_same() {
    for size in ["12k", "16k", "20k", "24k", "32k", "48k"] {
        let checkout = Checkout::new();
        let sql = "-- node: orders\nCREATE TABLE orders AS SELECT 1 AS id;\n-- node: late\nCREATE TABLE late AS SELECT * FROM orders;\n";
        let pipeline = checkout.pipeline("small.sql", sql);
        let (disk, kept) = (checkout.path().join(DISK), checkout.path().join(KEPT));
        let report = Daglight::run(&checkout, &pipeline).on_small_disk(&disk, size, &kept).finish().report(0);
        assert_eq!(report["status"], "success");
        let Some(run) = report["bundle"].as_str().and_then(|bundle| Path::new(bundle).file_name()) else {
            continue;
        };
        let written = fs::read(checkout.path().join(KEPT).join("run_bundle").join(run).join("manifest.json"));
        let Ok(written) = written else { continue };
        let written: Value = serde_json::from_slice(&written).expect("JSON");
        assert_eq!(written["status"], "success", "on {size}: {written:#}");
        assert!(written["ended_at"].is_string(), "on {size}: {written:#}");
    }
}

/// The same with a limit on the size of files that the last manifest is over.
#[test]
fn a_manifest_that_may_not_grow_says_how_the_run_ended() {
    let checkout = Checkout::new();
    let sql: String =
        (0..12).map(|node| format!("-- node: n{node}\nCREATE TABLE t{node} AS SELECT 1 AS id;\n")).collect();
    let pipeline = checkout.pipeline("limited.sql", &sql);
    let whole = Daglight::run(&checkout, &pipeline).finish().report(0);
    let first = |report: &Value| {
        let bundle = Path::new(report["bundle"].as_str().expect("a bundle")).to_owned();
        let manifest = fs::read(checkout.path().join(bundle).join("manifest.json")).expect("a manifest");
        (manifest.len(), serde_json::from_slice::<Value>(&manifest).expect("JSON"))
    };
    let blocks = u32::try_from(first(&whole).0 / 512).expect("a small number");
    let mut was_short = false;
    for blocks in blocks.saturating_sub(4)..=blocks {
        let report = Daglight::run(&checkout, &pipeline).with_files_up_to(blocks).finish().report(0);
        let (_, manifest) = first(&report);
        assert_eq!(manifest["status"], "success", "with {blocks} blocks: {manifest:#}");
        was_short |= manifest["files"].as_array().is_some_and(Vec::is_empty) || manifest["policy"].is_null();
    }
    assert!(was_short, "no limit was met");
}

#[test]
fn a_statement_that_fills_the_disk_says_where_room_is_needed() {
    let run = |sql: &str| {
        let checkout = Checkout::new();
        let disk = checkout.path().join(DISK);
        Daglight::new(&checkout, ["run", "--output-dir", "bundles", "--quiet", "-c", sql])
            .args(["--memory-limit", "40MB", "--spill-dir", DISK, "--threads", "2", "--max-rows", "1"])
            .env("HAMILTON_TRACKER_ENABLED", "false")
            .on_small_disk(&disk, "1m", &checkout.path().join(KEPT))
            .finish()
            .ended_with(1)
            .stderr
    };
    let rows = "SELECT value, repeat(md5(CAST(value AS VARCHAR)), 4) AS s FROM generate_series(1, 200000)";
    for sql in [format!("COPY ({rows}) TO 'out/rows.parquet'"), format!("{rows} ORDER BY s, value DESC")] {
        let stderr = run(&sql);
        assert!(stderr.contains("No space left on device"), "{stderr}");
        let advice = stderr.lines().find(|line| line.contains("make room where the statement writes"));
        assert!(advice.is_some_and(|line| line.contains("/out/daglight-spill-")), "{stderr}");
    }
}
