//! Tests of each fault.

use std::fs;

use super::*;
use crate::{delivery_counts::DeliveryCounts, fixture, warning::Warning, warning_code::WarningCode};

/// The number of spans in the manifest.
const TRACES: &str = "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{},{},{},{}]}]}]}\n";
const PLAN: &str = "plans/a-0123456789abcdef.json";
const PLAN_TEXT: &str = r#"{"query_id":1}"#;

fn bundle() -> (tempfile::TempDir, Bundle) {
    let (out, bundle) = fixture::bundle();
    fs::write(bundle.traces(), TRACES).unwrap();
    fs::write(bundle.logs(), "").unwrap();
    fs::write(bundle.dir().join(PLAN), PLAN_TEXT).unwrap();
    fs::write(bundle.report_markdown(), "# run").unwrap();
    fs::write(bundle.dir().join("manifest.lock"), "").unwrap();
    let mut manifest = fixture::manifest();
    manifest.identity.run_id = bundle.run_id().unwrap();
    manifest.status = RunStatus::Success;
    manifest.files = FileEntry::list_with_hashes(&bundle);
    manifest.write(&bundle).unwrap();
    (out, bundle)
}

#[track_caller]
fn check(change: impl FnOnce(&Bundle), expected: &[&str]) {
    let (_out, bundle) = bundle();
    change(&bundle);
    let faults: Vec<String> = bundle.verify().iter().map(Fault::to_string).collect();
    assert_eq!(faults.len(), expected.len(), "{faults:#?}");
    for (fault, expected) in faults.iter().zip(expected) {
        assert!(fault.contains(expected), "{expected:?} is not in {fault:?}");
    }
}

fn manifest(change: impl FnOnce(&mut Manifest)) -> impl FnOnce(&Bundle) {
    |bundle| Manifest::update(bundle, change).unwrap()
}

#[test]
fn a_bundle_as_a_run_left_it_has_no_fault() {
    check(|_| {}, &[]);
    // Lock files come and go.
    check(|bundle| fs::remove_file(bundle.dir().join("manifest.lock")).unwrap(), &[]);
}

#[test]
fn whatever_changed_is_one_fault() {
    let plan = format!("{PLAN}: ");
    check(|bundle| fs::remove_file(bundle.dir().join(PLAN)).unwrap(), &[&format!("{plan}cannot be read")]);
    check(
        |bundle| fs::write(bundle.dir().join(PLAN), PLAN_TEXT.replace('}', "]")).unwrap(),
        &[&format!("{plan}has another"), &plan],
    );
    check(
        |bundle| fs::write(bundle.dir().join(PLAN), PLAN_TEXT.replace('{', "{ ")).unwrap(),
        &[&format!("{plan}15 bytes, expected 14")],
    );
    check(|bundle| fs::write(bundle.traces(), "{}\n").unwrap(), &["otel_traces.json: 3 bytes, expected 61"]);
    let other = TRACES.replacen("{}", "[]", 1);
    check(|bundle| fs::write(bundle.traces(), other).unwrap(), &["otel_traces.json: has another SHA-256"]);
    check(
        |bundle| fs::write(bundle.logs(), "no json\n").unwrap(),
        &["otel_logs.json: 8 bytes", "line 1 is damaged"],
    );
    check(
        |bundle| fs::write(bundle.dir().join("plans/b-0123456789abcdef.json"), PLAN_TEXT).unwrap(),
        &["plans/b-0123456789abcdef.json: is not in the manifest"],
    );
    check(|bundle| fs::write(bundle.dir().join("x.exe"), "").unwrap(), &["x.exe: is not a file of a run"]);
    check(|bundle| fs::write(bundle.manifest(), "{").unwrap(), &["manifest.json"]);
}

#[test]
fn accounts_that_do_not_add_up_are_a_fault() {
    let lost = DeliveryCounts { produced: 9, delivered: 5, ..DeliveryCounts::default() };
    check(
        manifest(|manifest| manifest.delivery.tracker = Some(lost)),
        &["manifest.json: the counts of tracker are wrong: 9 recorded, but 5 delivered, waiting or dropped"],
    );
}

#[test]
fn what_the_run_could_not_write_is_a_fault_and_what_a_server_refused_is_not() {
    let warned = |code| manifest(move |manifest| manifest.warnings.push(Warning::new(code, "no space")));
    check(warned(WarningCode::DiskFull), &["the run warned: no space"]);
    check(warned(WarningCode::PlansNotWritten), &["the run warned: no space"]);
    check(warned(WarningCode::TrackerRejected), &[]);
    check(warned(WarningCode::Undelivered), &[]);
}

#[test]
fn a_manifest_that_names_files_elsewhere_is_not_followed() {
    let entry = |path: &str| FileEntry { path: path.into(), size_bytes: 1, sha256: None };
    for path in ["../secret", "/etc/passwd", "plans/../../x.json", ""] {
        check(manifest(|manifest| manifest.files.push(entry(path))), &["is not a file of a run"]);
    }
}

#[test]
#[cfg(unix)]
fn a_link_is_not_followed() {
    check(
        |bundle| {
            let moved = bundle.dir().parent().unwrap().join("elsewhere");
            fs::rename(bundle.dir().join(PLAN), &moved).unwrap();
            std::os::unix::fs::symlink(&moved, bundle.dir().join(PLAN)).unwrap();
        },
        // Reported for the manifest, for the folder, and by the reader of the file.
        &["cannot be read", "is not a file of a run", "plans/"],
    );
}

#[test]
fn the_files_of_a_run_that_goes_on_are_not_compared() {
    check(
        |bundle| {
            Manifest::update(bundle, |manifest| manifest.status = RunStatus::Running).unwrap();
            ProcessEvidence::for_self(fixture::start(), 1.0).write(&bundle.heartbeat()).unwrap();
            fs::remove_file(bundle.dir().join(PLAN)).unwrap();
        },
        &[],
    );
}

#[test]
fn what_a_run_that_has_not_ended_has_had_is_missed() {
    let running = |bundle: &Bundle| {
        Manifest::update(bundle, |manifest| manifest.status = RunStatus::Running).unwrap();
        ProcessEvidence::for_self(fixture::start(), 1.0).write(&bundle.heartbeat()).unwrap();
    };
    let without_heartbeat = |bundle: &Bundle| {
        running(bundle);
        fs::remove_file(bundle.heartbeat()).unwrap();
    };
    check(without_heartbeat, &["heartbeat.json: is missing, so when the process was last seen is not known"]);
    let without_traces = |bundle: &Bundle| {
        running(bundle);
        fs::remove_file(bundle.traces()).unwrap();
    };
    check(without_traces, &["otel_traces.json: cannot be read: No such file"]);
}

#[test]
fn a_run_that_does_not_go_on_and_was_not_closed_is_a_fault() {
    let killed = |start_ticks| {
        move |bundle: &Bundle| {
            Manifest::update(bundle, |manifest| manifest.status = RunStatus::Running).unwrap();
            let mut evidence = ProcessEvidence::for_self(fixture::start(), 1.0);
            evidence.start_ticks = start_ticks;
            evidence.write(&bundle.heartbeat()).unwrap();
        }
    };
    check(killed(Some(1)), &["manifest.json: the run was not closed, and its process has ended"]);
    let of_today = ProcessEvidence::for_self(fixture::start(), 1.0);
    check(killed(of_today.start_ticks), &[]);
    // From another machine, long ago.
    check(
        |bundle| {
            killed(Some(1))(bundle);
            let mut evidence = ProcessEvidence::for_self(fixture::start(), 1.0);
            evidence.boot_id = None;
            evidence.write(&bundle.heartbeat()).unwrap();
        },
        &["manifest.json: the run was not closed, and nothing shows that its process lives"],
    );
}

#[test]
fn times_that_the_run_cannot_have_had_are_a_fault() {
    check(
        manifest(|manifest| manifest.ended_at = Some(manifest.started_at - chrono::TimeDelta::days(1))),
        &["manifest.json: ended_at, 2026-11-20T05:09:47Z, is before the start of the run"],
    );
}

#[test]
fn a_run_that_a_second_signal_cut_off_had_plans_in_hand() {
    let cut_off = || {
        manifest(|manifest| {
            manifest.status = RunStatus::Interrupted;
            manifest.files.iter_mut().for_each(|entry| entry.sha256 = None);
        })
    };
    check(
        |bundle| {
            cut_off()(bundle);
            fs::remove_file(bundle.dir().join(PLAN)).unwrap();
            fs::write(bundle.dir().join("plans/b-0123456789abcdef.json"), PLAN_TEXT).unwrap();
        },
        &[],
    );
    // A file that only grows cannot have become shorter.
    check(
        |bundle| {
            cut_off()(bundle);
            fs::write(bundle.traces(), "").unwrap();
        },
        &["otel_traces.json: 0 bytes, expected 61"],
    );
}
