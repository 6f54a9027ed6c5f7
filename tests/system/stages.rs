//! The attributes that the spans of stages carry.

use std::collections::BTreeMap;

use daglight_otel_bridge::names::{Key, Namespace, span, standard_keys};
use daglight_system_tests::{Checkout, Daglight, OtlpReceiver, attributes};
use serde_json::{Map, Value, json};

use crate::pipelines::{FAILING, SHOP};

/// Runs a pipeline, which ends with this exit code; its spans, each with its attributes.
fn spans_of(sql: &str, configuration: &str, exit_code: i32) -> Vec<(Value, Map<String, Value>)> {
    let checkout = Checkout::new();
    let pipeline = checkout.pipeline("pipeline.sql", sql);
    checkout.pipeline("daglight.toml", configuration);
    let receiver = OtlpReceiver::start();
    Daglight::run(&checkout, &pipeline).observed_by(&receiver, "grpc").finish().report(exit_code);
    receiver.spans().into_iter().map(|span| (span.clone(), attributes(&span))).collect()
}

#[test]
fn every_span_of_a_stage_carries_the_standard_attributes() {
    let script = format!("SET datafusion.execution.batch_size = 4096;\n{SHOP}");
    let spans = spans_of(&script, "[heartbeat]\ninterval_seconds = 0.02\n", 0);
    let key = |key: Key| Namespace::default().key(key);
    let mut seen: BTreeMap<(String, String), u32> = BTreeMap::new();
    for (span, attributes) in &spans {
        let name = span["name"].as_str().expect("a name");
        let stage = attributes.get(&key(Key::Stage)).and_then(Value::as_str).unwrap_or_default();
        *seen.entry((name.to_owned(), stage.to_owned())).or_default() += 1;
        // What a node can know depends on what it does; a span of a query knows all of it.
        let of_stage: &[Key] = match (name, stage) {
            (span::NODE, "extract") => &[Key::Table, Key::RowCount, Key::Bytes],
            (span::NODE, "execute") => {
                &[Key::QueryId, Key::PlanHash, Key::SourceTables, Key::RowCount, Key::Table]
            }
            (span::NODE, "write") => {
                &[Key::QueryId, Key::PlanHash, Key::SourceTables, Key::RowCount, Key::Bytes, Key::Table]
            }
            (span::EXECUTE | span::WRITE, _) => &[Key::Table],
            _ => &[],
        };
        // Two tables are joined, so that there is not one that is read.
        let joins = attributes
            .get(&key(Key::SourceTables))
            .is_some_and(|tables| tables.as_array().map(Vec::len) == Some(2));
        for wanted in standard_keys(name).iter().chain(of_stage) {
            let has_it = attributes.get(&key(*wanted)).is_some_and(|value| !value.is_null());
            assert!(has_it || (joins && *wanted == Key::Table), "{name} has no {wanted:?}: {attributes:#?}");
        }
        if name == span::HEARTBEAT {
            assert!(["run", "setup", "extract", "execute", "register", "write"].contains(&stage), "{stage}");
        }
        if [span::PLAN, span::EXECUTE, span::WRITE].contains(&name) {
            assert_eq!(attributes["db.system.name"], "datafusion");
            assert!(attributes["db.query.text"].is_string() && attributes["db.operation.name"].is_string());
        }
        if name == span::NODE {
            assert_eq!(attributes["code.file.path"], "pipeline.sql", "{attributes:#?}");
            assert!(attributes["code.line.number"].is_u64());
        }
        assert_eq!(attributes.get(&key(Key::Slow)), None);
    }
    // They stand where they differ from the beat before, and so on the first one.
    let of_process = [
        Key::IoBytesRead,
        Key::IoBytesWritten,
        Key::ProcessCpuSeconds,
        Key::ProcessResidentBytes,
        Key::ProcessThreads,
        Key::ProcessOpenFiles,
    ];
    let mut beats = spans.iter().filter(|(span, _)| span["name"] == span::HEARTBEAT);
    let has_all = |attributes: &Map<String, Value>| {
        of_process.iter().all(|wanted| attributes.contains_key(&key(*wanted)))
    };
    assert!(beats.clone().any(|(_, attributes)| has_all(attributes)), "no beat has all");
    assert!(
        beats.any(|(_, attributes)| attributes.contains_key(&key(Key::MemoryReserved))),
        "no beat knows the memory"
    );
    let expected = [
        ("datafusion.compile", "compile", 3),
        ("datafusion.execute", "execute", 2),
        ("datafusion.normalize", "normalize", 3),
        ("datafusion.plan", "plan", 3),
        ("datafusion.write", "write", 1),
        ("hamilton.node", "execute", 2),
        ("hamilton.node", "extract", 2),
        ("hamilton.node", "register", 2),
        ("hamilton.node", "write", 1),
        ("hamilton.stage", "setup", 1),
        ("pipeline.execute", "run", 1),
    ];
    // How many operators a plan has depends on the processors of the machine.
    let operators = seen.remove(&(span::OPERATOR.to_owned(), "execute".to_owned()));
    assert!(operators.is_some_and(|count| count >= 6), "{seen:#?}");
    // How often it beats, and in which stage, depends on the machine, that it does not.
    let before = seen.values().sum::<u32>();
    seen.retain(|(name, _), _| name != span::HEARTBEAT);
    assert!(seen.values().sum::<u32>() < before, "{seen:#?}");
    let expected: BTreeMap<_, _> =
        expected.map(|(name, stage, count)| ((name.to_owned(), stage.to_owned()), count)).into();
    assert_eq!(seen, expected);
}

#[test]
fn what_takes_longer_than_the_threshold_of_its_stage_is_slow() {
    let configuration =
        "[otel]\nslow_seconds = 1e-9\nslow_seconds_by_stage = { write = 3600, plan = 3600 }\n";
    // An operator may take no time at all, and a beat has the stage that goes on while it beats.
    let is_timed = |(span, _): &(Value, _)| span["name"] != span::OPERATOR && span["name"] != span::HEARTBEAT;
    for (span, attributes) in spans_of(SHOP, configuration, 0).into_iter().filter(is_timed) {
        let stage = attributes["daglight.stage"].as_str().expect("a stage");
        let is_slow = !["write", "plan", "run"].contains(&stage);
        assert_eq!(attributes.get("daglight.slow") == Some(&json!(true)), is_slow, "{stage}: {span}");
    }
}

#[test]
fn an_error_has_its_status_type_and_event() {
    let spans = spans_of(FAILING, "", 1);
    let failed: Vec<_> = spans.iter().filter(|(span, _)| span["status"]["code"] == 2).collect();
    let mut names: Vec<_> = failed.iter().map(|(span, _)| span["name"].as_str().expect("a name")).collect();
    names.sort_unstable();
    assert_eq!(names, ["datafusion.execute", "hamilton.node", "pipeline.execute"]);
    for (span, attributes) in failed {
        assert_eq!(attributes["daglight.status"], "error");
        assert!(attributes["error.type"].is_string(), "{span:#}");
        let event = &span["events"][0];
        let exception = daglight_system_tests::attributes(event);
        assert_eq!(
            (&event["name"], &exception["exception.type"]),
            (&json!("exception"), &attributes["error.type"])
        );
        assert!(exception["exception.message"].as_str().is_some_and(|message| message.contains("three")));
    }
}
