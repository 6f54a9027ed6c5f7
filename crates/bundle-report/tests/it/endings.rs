//! Runs whose end is not known, or cannot have been: no figure comes of what did not happen.

use std::fs;

use chrono::{DateTime, TimeDelta, Utc};
use daglight_bundle_report::{ComparedRun, Comparison, Report, ReportStatus};
use daglight_run_bundle::{Bundle, FileEntry, Manifest, NodeRecord, NodeStatus, ProcessEvidence, RunStatus};
use daglight_run_identity::RunId;
use serde_json::Value;
use tempfile::TempDir;

use crate::fixture::{self, SpanLine};

const DAY_MS: f64 = 86_400_000.0;

/// A bundle of this moment, with the spans of a node of 30 ms.
fn bundle(change: impl FnOnce(&mut Manifest)) -> (TempDir, Bundle) {
    let out = tempfile::tempdir().unwrap();
    let bundle = Bundle::create(out.path(), RunId::new()).unwrap();
    fs::write(bundle.traces(), SpanLine::new("hamilton.node", 20, 50).id("n2").text("node", "lines").line())
        .unwrap();
    let mut manifest = fixture::manifest();
    change(&mut manifest);
    manifest.write(&bundle).unwrap();
    (out, bundle)
}

/// The numbers of a document that are times, with their names.
fn times(value: &Value, name: &str, found: &mut Vec<(String, f64)>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| times(value, name, found)),
        Value::Array(values) => values.iter().for_each(|value| times(value, name, found)),
        Value::Number(number) if name.ends_with("_ms") || name.ends_with("_seconds") => {
            found.push((name.to_owned(), number.as_f64().unwrap()));
        }
        _ => {}
    }
}

#[test]
fn no_figure_comes_of_times_that_a_run_cannot_have_had() {
    let at = |text: &str| -> DateTime<Utc> { text.parse().unwrap() };
    let (_before, baseline) = bundle(|_| {});
    let baseline = ComparedRun::read(&baseline).unwrap();
    type Change = fn(&mut Manifest, DateTime<Utc>);
    let changes: [Change; 5] = [
        |manifest, at| manifest.started_at = at,
        |manifest, at| manifest.ended_at = Some(at),
        |manifest, at| manifest.interrupted_at = Some(at),
        |manifest, at| manifest.nodes[1].started_at = Some(at),
        |manifest, at| {
            manifest.nodes[1].duration_ms = Some((at - manifest.started_at).as_seconds_f64() * 1e3)
        },
    ];
    for time in
        ["0000-01-01T00:00:00Z", "1969-12-31T00:00:00Z", "2200-01-01T00:00:00Z", "9999-12-31T23:59:59Z"]
    {
        for (position, change) in changes.iter().enumerate() {
            let (_out, bundle) = bundle(|manifest| {
                manifest.identity.run_id = "01a1fc82-b578-7d5f-8a53-0c9f9f4c2b11".parse().unwrap();
                change(manifest, at(time));
            });
            let run = ComparedRun::read(&bundle).unwrap();
            let is_named = run.report.damages().any(|damage| damage.file == "manifest.json");
            assert!(is_named, "{time} {position}: {:#?}", run.report.unreadable);
            let mut found = Vec::new();
            times(&serde_json::to_value(&run.report).unwrap(), "", &mut found);
            let comparison = Comparison::new(std::slice::from_ref(&baseline), &run).unwrap();
            times(&serde_json::to_value(&comparison).unwrap(), "", &mut found);
            found.retain(|(_, number)| !(0.0..DAY_MS).contains(number));
            // A run that became faster has less than none more.
            found.retain(|(name, _)| name != "change_ms");
            assert_eq!(found, [], "{time} {position}");
        }
    }
}

/// The manifest of the start of a run.
fn unclosed(manifest: &mut Manifest) {
    (manifest.status, manifest.ended_at) = (RunStatus::Running, None);
    manifest.nodes.iter_mut().for_each(|node| *node = NodeRecord::not_run(node.name.clone()));
}

#[test]
fn a_run_goes_on_only_where_something_shows_it() {
    let (_out, bundle) = bundle(unclosed);
    assert_eq!(Report::from_bundle(&bundle).unwrap().status, ReportStatus::Running, "written just now");
    // Unpacked a moment ago, and nothing goes on in an archive.
    let unpacked = Report::from_bundle(&bundle.clone().unpacked_from("a.tar.gz")).unwrap();
    assert_eq!(unpacked.status, ReportStatus::Unknown);
    let sentence = "The run has not ended in this bundle, and nothing shows that its process still lives";
    assert!(unpacked.headline[0].text.starts_with(sentence), "{:#?}", unpacked.headline);
    // Of another machine, and signed long ago.
    let mut evidence = ProcessEvidence::for_self(fixture::start() + TimeDelta::milliseconds(90), 1.0);
    evidence.boot_id = None;
    evidence.write(&bundle.heartbeat()).unwrap();
    let elsewhere = Report::from_bundle(&bundle).unwrap();
    assert_eq!((elsewhere.status, elsewhere.duration_ms), (ReportStatus::Unknown, Some(90.0)));
    // A process that has let go of its outbox has ended, without any heartbeat.
    fs::remove_file(bundle.heartbeat()).unwrap();
    fs::write(bundle.tracker_dir().join("outbox.jsonl"), "").unwrap();
    assert_eq!(Report::from_bundle(&bundle).unwrap().status, ReportStatus::ProcessEnded);
}

#[test]
#[cfg(target_os = "linux")]
fn what_was_measured_of_the_first_moments_of_a_killed_run_is_not_said_of_all_of_it() {
    let at = |ms: i64| fixture::start() + TimeDelta::milliseconds(ms);
    let (_out, bundle) = bundle(|manifest| {
        unclosed(manifest);
        manifest.identity.tags.insert("host.cpus".into(), "4".into());
    });
    let report = |measured_at: Option<i64>| {
        let mut evidence = ProcessEvidence::for_self(at(0), 5.0);
        // Of a process that is gone.
        evidence.start_ticks = Some(1);
        (evidence.beats, evidence.last_beat_at, evidence.last_seen_at) = (1, at(26), Some(at(4_820)));
        (evidence.cpu_seconds, evidence.idle_share) = (Some(0.04), Some(0.2));
        (evidence.peak_resident_bytes, evidence.measured_at) = (Some(114_000_000), measured_at.map(at));
        evidence.write(&bundle.heartbeat()).unwrap();
        Report::from_bundle(&bundle).unwrap().to_markdown()
    };
    for page in [report(None), report(Some(26))] {
        assert!(page.contains("processor time: 40 ms in the first 26 ms"), "{page}");
        assert!(page.contains("peak memory: 114 MB in the first 26 ms"), "{page}");
        assert!(page.contains("not measured: the last 4.79 s"), "{page}");
        assert!(!page.contains("Other processes") && !page.contains("used by other processes"), "{page}");
    }
    let page = report(Some(4_000));
    // 40 of 16,000 ms are its own, and 3,200 were idle.
    let others = "Other processes used 80 % of the processors in its first 4.00 s";
    assert!(page.contains(others) && page.contains("not measured: the last 820 ms"), "{page}");
}

#[test]
fn a_node_of_a_run_that_goes_on_is_running() {
    let (_out, bundle) = bundle(|manifest| {
        (manifest.status, manifest.ended_at) = (RunStatus::Running, None);
        manifest.nodes[1] = NodeRecord { status: NodeStatus::Unfinished, ..NodeRecord::not_run("lines") };
    });
    fs::write(bundle.traces(), "").unwrap();
    let report = Report::from_bundle(&bundle).unwrap();
    let lines = report.nodes.iter().find(|node| node.name == "lines").unwrap();
    assert_eq!((report.status, lines.status), (ReportStatus::Running, NodeStatus::Running));
    assert_eq!((report.totals.nodes_running, report.totals.nodes_unfinished), (1, 0));
    assert!(report.to_markdown().contains("1 running"), "{}", report.to_markdown());
}

#[test]
fn a_node_that_its_process_did_not_end_is_unfinished_before_and_after_its_run_is_closed() {
    let (_out, bundle) = bundle(|manifest| {
        manifest.status = RunStatus::Failure;
        manifest.process_ended_at = manifest.ended_at;
        manifest.nodes[1] = NodeRecord { status: NodeStatus::Unfinished, ..NodeRecord::not_run("lines") };
    });
    let closed = SpanLine::new("hamilton.node", 20, 90).failed("process ended").text("node", "lines");
    let closed = closed.text("error.type", "process_ended").line();
    fs::write(bundle.traces(), closed.replace("daglight.error.type", "error.type")).unwrap();
    let report = Report::from_bundle(&bundle).unwrap();
    let lines = report.nodes.iter().find(|node| node.name == "lines").unwrap();
    assert_eq!((lines.status, lines.duration_ms), (NodeStatus::Unfinished, Some(70.0)));
    assert_eq!((report.totals.nodes_unfinished, report.totals.nodes_failed), (1, 0));
    let page = report.to_markdown();
    assert!(page.contains("`lines` did not end:") && !page.contains("`lines` failed"), "{page}");
    assert!(report.headline.iter().any(|sentence| sentence.text == "Running then: lines."), "{page}");
}

#[test]
fn of_thousands_of_damaged_files_the_first_are_named_and_the_others_counted() {
    let listed = |number: u32| format!("plans/a-{number:016x}.json");
    let (_out, bundle) = bundle(|manifest| {
        let entry = |number| FileEntry { path: listed(number), size_bytes: 900, sha256: Some(String::new()) };
        manifest.files = (0..3_000).map(entry).collect();
    });
    for number in 0..2_000 {
        fs::write(bundle.dir().join(listed(number)), "{}").unwrap();
    }
    let report = Report::from_bundle(&bundle).unwrap();
    let has = |file: &str, problem: &str| {
        let damages = || report.unreadable.iter().filter(|damage| damage.file == file);
        assert!(damages().any(|damage| damage.problem == problem), "{:#?}", report.unreadable.last());
    };
    has(&listed(0), "missing field `query_id`");
    has("plans", "1900 more files cannot be read");
    has("manifest.json", "2,800 more files that it lists are shorter or gone");
    assert_eq!(report.unreadable.iter().filter(|damage| damage.file.starts_with("plans/")).count(), 200);
}
