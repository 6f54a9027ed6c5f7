//! Tests that every kind of damage to every file of a bundle is detected.

use std::{collections::BTreeMap, fs};

use chrono::{DateTime, TimeDelta, Utc};
use daglight_run_identity::RunId;
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::{
    Durability, LineageEvents, REPORT_FILES, fixture,
    outbox::{Cursor, Event, Outbox, Outcome, RunLink},
};

const PLAN: &str = "plans/total-0123456789abcdef.json";
const LINEAGE: &str = "openlineage.jsonl";
/// Every file of a bundle that is listed on its page (`docs/bundle.md`).
const FILES: [&str; 13] = [
    "manifest.json",
    "otel_traces.json",
    "otel_metrics.json",
    "otel_logs.json",
    PLAN,
    "artifacts.json",
    "data_summaries.jsonl",
    LINEAGE,
    "tracker/outbox.jsonl",
    "tracker/delivery.json",
    REPORT_FILES[0],
    REPORT_FILES[1],
    REPORT_FILES[2],
];
const HEARTBEAT: &str = "heartbeat.json";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    Truncated,
    OneByteLess,
    Appended,
    ByteChanged,
    Emptied,
    Removed,
    OfAnotherRun,
}

const DAMAGES: [Damage; 7] = [
    Damage::Truncated,
    Damage::OneByteLess,
    Damage::Appended,
    Damage::ByteChanged,
    Damage::Emptied,
    Damage::Removed,
    Damage::OfAnotherRun,
];

impl Damage {
    fn does(self, bundle: &Bundle, other: &Bundle, file: &str) {
        let path = bundle.dir().join(file);
        let mut content = fs::read(&path).unwrap();
        let half = content.len() / 2;
        match self {
            Self::Truncated => content.truncate(half),
            Self::OneByteLess => drop(content.pop()),
            Self::Appended => content.extend_from_within(..),
            // Another digit or letter, so that the format stays the same if possible.
            Self::ByteChanged => {
                let rest = content[half..].iter_mut();
                *rest.rev().find(|byte| byte.is_ascii_digit()).unwrap() ^= 1;
            }
            Self::Emptied => content.clear(),
            Self::Removed => return fs::remove_file(&path).unwrap(),
            Self::OfAnotherRun => content = fs::read(other.dir().join(file)).unwrap(),
        }
        fs::write(path, content).unwrap();
    }
}

/// The bundle of a run with three nodes, either complete or from the middle of the run, without the files that are written at the
/// end.
fn bundle(number: i64, has_ended: bool) -> (TempDir, Bundle) {
    let (out, bundle) = fixture::bundle();
    let run_id = bundle.run_id().unwrap();
    let started_at = DateTime::from_timestamp(1_795_237_787 + number, 0).unwrap();
    signals(&bundle, run_id, number);
    fs::write(bundle.dir().join(PLAN), plan(number)).unwrap();
    fs::write(
        bundle.data_summaries(),
        format!("{{\"format_version\":1,\"node\":\"total\",\"columns\":{{\"x\":{number}}}}}\n"),
    )
    .unwrap();
    lineage(&bundle, run_id);
    ProcessEvidence::for_self(started_at, 5.0).write(&bundle.heartbeat()).unwrap();
    tracker(&bundle, run_id, number, started_at);
    let mut manifest = fixture::manifest();
    manifest.identity.run_id = run_id;
    manifest.identity.execution_run_id = Some(number.to_string());
    manifest.status = RunStatus::Running;
    manifest.delivery = Default::default();
    if has_ended {
        ArtifactCatalog::new(vec![fixture::artifact(&format!("orders{number}"))]).write(&bundle).unwrap();
        for file in REPORT_FILES {
            fs::write(bundle.dir().join(file), format!("a report, number {number}")).unwrap();
        }
        manifest.status = RunStatus::Success;
        let accounts = ["traces", "metrics", "logs"].map(|signal| {
            json!({"signal": signal, "destination": "bundle", "produced": 3, "delivered": 3, "waiting": 0})
        });
        manifest.delivery = serde_json::from_value(json!({"signals": accounts})).unwrap();
        manifest.files = FileEntry::list_with_hashes(&bundle);
    }
    manifest.write(&bundle).unwrap();
    (out, bundle)
}

/// Three spans, data points and log records, one line each.
fn signals(bundle: &Bundle, run_id: RunId, number: i64) {
    let resource = json!({"attributes": [
        {"key": "service.name", "value": {"stringValue": "a"}},
        {"key": "daglight.run_id", "value": {"stringValue": run_id.to_string()}},
    ]});
    let lines = |groups: &str, scopes: &str, items: serde_json::Value| {
        let line = json!({groups: [{"resource": resource, scopes: [items]}]}).to_string() + "\n";
        line.repeat(3)
    };
    let spans = json!({"spans": [{"name": "hamilton.node", "startTimeUnixNano": number.to_string()}]});
    fs::write(bundle.traces(), lines("resourceSpans", "scopeSpans", spans)).unwrap();
    let points =
        json!({"metrics": [{"name": "rows", "sum": {"dataPoints": [{"asInt": number.to_string()}]}}]});
    fs::write(bundle.metrics(), lines("resourceMetrics", "scopeMetrics", points)).unwrap();
    let records = json!({"logRecords": [{"body": {"stringValue": number.to_string()}}]});
    fs::write(bundle.logs(), lines("resourceLogs", "scopeLogs", records)).unwrap();
}

/// The events of a run and of one of its nodes.
fn lineage(bundle: &Bundle, run_id: RunId) {
    let events = LineageEvents::open(bundle).unwrap();
    let parent = json!({"run": {"runId": run_id.to_string()}, "job": {"namespace": "a", "name": "dag"}});
    let of_node = json!({"runId": RunId::new().to_string(), "facets": {"parent": parent}});
    for (event, run) in [("START", json!({"runId": run_id.to_string()})), ("COMPLETE", of_node)] {
        events.append(&json!({"eventType": event, "run": run})).unwrap();
    }
}

fn plan(number: i64) -> String {
    json!({"format": "datafusion_plan_bundle_v1", "query_id": number, "node": "total"}).to_string()
}

fn tracker(bundle: &Bundle, run_id: RunId, number: i64, started_at: DateTime<Utc>) {
    let outbox = Outbox::open(&bundle.tracker_dir(), Durability::Process).unwrap();
    let append = |event: Event| outbox.append(&event).unwrap();
    let after = |seconds| started_at + TimeDelta::seconds(seconds);
    append(Event::RunStarted { run_id, tags: BTreeMap::new(), inputs: BTreeMap::new(), time: after(0) });
    for (second, node) in [(1, "orders"), (2, "customers"), (3, "total")] {
        append(Event::TaskStarted { node: node.to_owned(), time: after(second) });
        let (status, attributes) = (Outcome::Success, Vec::new());
        append(Event::TaskFinished { node: node.to_owned(), time: after(second), status, attributes });
    }
    append(Event::TaskStarted { node: "last".to_owned(), time: after(60) });
    let mut cursor = Cursor::new("http://localhost".to_owned());
    cursor.link = Some(RunLink {
        project_id: 1,
        template_id: 2,
        dag_run_id: number,
        run_url: String::new(),
        version_url: String::new(),
    });
    cursor.save(&bundle.tracker_dir()).unwrap();
}

/// Faults that name the file.
fn faults_of(bundle: &Bundle, file: &str) -> Vec<String> {
    let faults = bundle.verify().into_iter();
    faults.filter(|fault| fault.path() == Some(file)).map(|fault| fault.to_string()).collect()
}

#[test]
fn a_whole_bundle_has_no_fault() {
    for has_ended in [true, false] {
        let (_out, bundle) = bundle(1, has_ended);
        let faults: Vec<String> = bundle.verify().iter().map(Fault::to_string).collect();
        assert_eq!(faults, [""; 0], "{has_ended}");
    }
}

#[test]
fn of_a_run_that_has_ended_every_damage_of_every_file_is_a_fault() {
    let mut passed_over = Vec::new();
    for file in FILES.into_iter().chain([HEARTBEAT]) {
        for damage in DAMAGES {
            let ((_out, bundle), (_other_out, other)) = (bundle(1, true), bundle(7, true));
            damage.does(&bundle, &other, file);
            if faults_of(&bundle, file).is_empty() {
                passed_over.push((file, damage));
            }
        }
    }
    // That byte is the line feed after the last brace.
    assert_eq!(passed_over, [("manifest.json", Damage::OneByteLess)]);
}

#[test]
fn of_a_run_that_died_what_proves_a_damage_is_a_fault() {
    use Damage::{Appended, ByteChanged, Emptied, OfAnotherRun, OneByteLess, Removed, Truncated};
    let proven: [(&str, &[Damage]); 6] = [
        ("manifest.json", &[Truncated, Appended, ByteChanged, Emptied, Removed, OfAnotherRun]),
        ("otel_traces.json", &[Truncated, Emptied, Removed, OfAnotherRun]),
        (LINEAGE, &[Truncated, ByteChanged, OfAnotherRun]),
        ("tracker/outbox.jsonl", &[ByteChanged, OfAnotherRun]),
        ("tracker/delivery.json", &[Truncated, OneByteLess, Appended, ByteChanged, Emptied]),
        (HEARTBEAT, &[Truncated, Appended, ByteChanged, Emptied]),
    ];
    for (file, damages) in proven {
        for damage in damages {
            let ((_out, bundle), (_other_out, other)) = (bundle(1, false), bundle(7, false));
            damage.does(&bundle, &other, file);
            assert_ne!(faults_of(&bundle, file), [""; 0], "{file}: {damage:?}");
        }
    }
}

#[test]
fn what_the_ledger_has_and_the_file_has_not_is_a_fault() {
    let (_out, bundle) = bundle(1, true);
    Manifest::update(&bundle, |manifest| {
        manifest.delivery.signals[0].ledger.delivered = 4_000;
        manifest.delivery.signals[0].ledger.produced = 5_000;
        manifest.delivery.signals[0].ledger.dropped = [("failed".to_owned(), 1_000)].into();
    })
    .unwrap();
    let faults: Vec<String> = bundle.verify().iter().map(Fault::to_string).collect();
    let expected =
        ["traces to bundle: 1000 of 5000 lost: 1000 failed", "otel_traces.json: 3 spans, expected 4000"];
    assert_eq!(faults, expected);
}

#[test]
fn a_report_that_is_made_again_is_listed_again() {
    let (_out, bundle) = bundle(1, true);
    fs::write(bundle.report_markdown(), "another").unwrap();
    assert_ne!(faults_of(&bundle, REPORT_FILES[1]), [""; 0]);
    Manifest::list_again(&bundle, &REPORT_FILES).unwrap();
    assert_eq!(bundle.verify().len(), 0);
}

#[test]
fn a_line_of_the_lineage_that_is_no_event_is_named() {
    for (line, problem) in [
        ("{\"eventType\":\"START\"}", "line 2 is damaged: missing field `run`"),
        ("nothing", "line 2 is damaged: expected ident"),
        ("{\"eventType\":\"START\",\"run\":{\"runId\":\"7\"}}", "line 2 is damaged: it is of run 7"),
    ] {
        let (_out, bundle) = bundle(1, false);
        let events = fs::read_to_string(bundle.lineage_events()).unwrap();
        let (first, rest) = events.split_once('\n').unwrap();
        fs::write(bundle.lineage_events(), format!("{first}\n{line}\n{rest}")).unwrap();
        let faults = faults_of(&bundle, LINEAGE);
        assert!(faults.len() == 1 && faults[0].contains(problem), "{faults:?}");
    }
}
