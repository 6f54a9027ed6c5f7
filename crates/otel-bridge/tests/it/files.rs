//! What stands in the files of a run.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, thread,
    time::{Duration, SystemTime},
};

use daglight_capture_policy::{Policy, Profile};
use daglight_otel_bridge::{
    Bridge, BridgeConfig, KnownEnd, KnownNode, KnownRun, SignalFiles, SpanStatus, StageSpan, complete_spans,
    names::{Key, Namespace, event, span},
};
use daglight_run_identity::NodeKind;
use opentelemetry::{
    KeyValue,
    trace::{FutureExt as _, TraceContextExt as _, Tracer as _, TracerProvider as _},
};
use serde_json::json;

use crate::support::{TIMEOUT, TestRun, attribute, bridge, counts, find, names, spans_of};

fn policy() -> Policy {
    Policy::of_profile(Profile::Dev)
}

#[test]
fn a_run_is_a_tree_of_spans_with_its_ids_on_each() {
    let bridge = bridge([]);
    let run = TestRun::open(&bridge, "sales::orders_v1");
    let root = run.signals.root();
    let node =
        run.signals.span(span::NODE).node("risk").node_kind(NodeKind::Transform).stage("compile").start();
    let write = run.signals.span(span::WRITE).parent(&node.context()).stage("write").start();
    write.row_count(7);
    write.bytes(1_024);
    write.set(Key::SourceTables, policy().capture(json!(["a", "b"])));
    write.end();
    run.signals.set_execution_run_id(42);
    node.end();
    root.end();
    let ledgers = run.finish();

    let spans = run.spans();
    assert_eq!(names(&spans), [span::WRITE, span::NODE, span::PIPELINE_EXECUTE]);
    let (write, node, root) = (&spans[0], &spans[1], &spans[2]);
    assert_eq!(write["parentSpanId"], node["spanId"]);
    assert_eq!(node["parentSpanId"], root["spanId"]);
    assert_eq!(root["parentSpanId"], "");
    for span in &spans {
        assert_eq!(attribute(span, "hamilton.run_id"), Some(&json!(run.id.to_string())));
        assert_eq!(attribute(span, "daglight.run_id"), Some(&json!(run.id.to_string())));
        assert_eq!(attribute(span, "hamilton.dag_name"), Some(&json!("sales::orders_v1")));
        assert_eq!(attribute(span, "daglight.status"), Some(&json!("ok")));
    }
    assert_eq!(attribute(node, "hamilton.execution_run_id"), Some(&json!("42")));
    assert_eq!(attribute(write, "daglight.row_count"), Some(&json!("7")));
    assert_eq!(attribute(write, "daglight.stage"), Some(&json!("write")));
    assert_eq!(
        attribute(write, "daglight.source_tables"),
        Some(&json!({"values": [{"stringValue": "a"}, {"stringValue": "b"}]}))
    );
    let resource = &run.lines("otel_traces.json")[0]["resourceSpans"][0]["resource"];
    assert_eq!(attribute(resource, "daglight.run_id"), Some(&json!(run.id.to_string())));
    assert_eq!(attribute(resource, "daglight.output_dir"), Some(&json!(run.folder.path().to_str())));
    assert_eq!(attribute(resource, "service.name"), Some(&json!("test")));

    assert_eq!(ledgers.traces.bundle, counts(3, 3, 0));
    assert_eq!((&ledgers.traces.otlp, ledgers.warnings()), (&None, vec![]));
    assert!(!SignalFiles::in_folder(run.folder.path()).open_spans().exists());
}

#[test]
fn heartbeats_share_lines_and_none_is_lost() {
    let bridge = bridge([]);
    let run = TestRun::open(&bridge, "t");
    let beat = || run.signals.span(span::HEARTBEAT).start().end();
    let written = || {
        assert!(run.signals.flush_files(TIMEOUT));
        (run.lines("otel_traces.json").len(), run.spans().len())
    };
    // Each of them long after the one before has been taken from the queue.
    (0..12).for_each(|_| {
        beat();
        thread::sleep(Duration::from_millis(100));
    });
    assert_eq!(written(), (1, 12));
    beat();
    assert_eq!(written(), (2, 13), "a flush does not wait for more");
    // What ends beside them takes them along.
    beat();
    run.signals.span(span::PLAN).start().end();
    beat();
    assert!(
        !SignalFiles::in_folder(run.folder.path()).open_spans().metadata().is_ok_and(|open| open.len() > 0)
    );
    let ledgers = run.finish();
    assert_eq!(run.spans().len(), 16);
    assert_eq!(ledgers.traces.bundle, counts(16, 16, 0));
    beat();
    assert_eq!(
        run.signals.ledgers().traces.bundle.dropped_for(daglight_run_bundle::DeliveryCounts::DROPPED),
        1,
        "it came too late"
    );
}

#[test]
fn a_failure_shows_on_its_span_and_in_the_metrics() {
    let bridge = bridge([]);
    let run = TestRun::open(&bridge, "t");
    let node = run.signals.span(span::NODE).node("risk").start();
    node.fail("SchemaError", &policy().capture("no field x, password=abc"));
    node.finish_as(SpanStatus::Cancelled);
    node.end();
    run.signals.span(span::EXECUTE).start().finish_as(SpanStatus::Skipped);
    drop(run.signals.span(span::PLAN).start());
    let panics = || {
        let _write = run.signals.span(span::WRITE).start();
        std::panic::resume_unwind(Box::new("gone"));
    };
    assert!(thread::scope(|scope| scope.spawn(panics).join().is_err()));
    run.finish();

    let spans = run.spans();
    let node = find(&spans, span::NODE);
    assert_eq!(node["status"], json!({"message": "no field x, password=[redacted]", "code": 2}));
    assert_eq!(attribute(node, "error.type"), Some(&json!("SchemaError")));
    assert_eq!(attribute(node, "daglight.status"), Some(&json!("error")));
    let event = &node["events"][0];
    assert_eq!(event["name"], "exception");
    assert_eq!(attribute(event, "exception.message"), Some(&json!("no field x, password=[redacted]")));
    assert_eq!(attribute(find(&spans, span::EXECUTE), "daglight.status"), Some(&json!("skipped")));
    assert_eq!(attribute(find(&spans, span::PLAN), "daglight.status"), Some(&json!("cancelled")));
    assert_eq!(attribute(find(&spans, span::WRITE), "error.type"), Some(&json!("panic")));
    let metrics = run.metrics();
    let errors = metrics["daglight.errors"]["sum"]["dataPoints"].as_array().unwrap().iter();
    let types: BTreeSet<_> =
        errors.map(|point| attribute(point, "error.type").unwrap().as_str().unwrap()).collect();
    assert_eq!(types, BTreeSet::from(["SchemaError", "panic"]));
}

#[test]
fn what_already_happened_has_its_own_times_and_may_be_slow() {
    let mut config = BridgeConfig::new("test");
    config.environment.clear();
    config.namespace = Namespace::new("codeanatomy");
    config.slow_after.by_stage.insert("plan".into(), Duration::from_secs(1));
    let run = TestRun::open(&Bridge::start(config), "t");
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
    for (stage, seconds) in [("plan", 2), ("compile", 2), ("compile", 11)] {
        let span = run.signals.span(span::STAGE).stage(stage).start_at(start).start();
        span.end_at(start + Duration::from_secs(seconds));
    }
    run.finish();
    let spans = run.spans();
    let slow: Vec<_> = spans.iter().map(|span| attribute(span, "codeanatomy.slow").is_some()).collect();
    assert_eq!(slow, [true, false, true]);
    assert_eq!(spans[0]["startTimeUnixNano"], "1000000000000");
    assert_eq!(spans[0]["endTimeUnixNano"], "1002000000000");
    let durations = &run.metrics()["codeanatomy.stage.duration"]["histogram"]["dataPoints"];
    let sums: f64 = durations.as_array().unwrap().iter().map(|point| point["sum"].as_f64().unwrap()).sum();
    assert_eq!(sums, 15.0);
}

#[test]
fn two_runs_at_once_keep_their_signals_apart() {
    let bridge = bridge([]);
    let runs = ["one", "two"].map(|name| TestRun::open(&bridge, name));
    thread::scope(|scope| {
        for run in &runs {
            scope.spawn(|| {
                let root = run.signals.root();
                let _attached = root.context().attach();
                for n in 0..500 {
                    let span = run.signals.span(span::NODE).attribute("n", n).start();
                    let _inside = span.context().attach();
                    let tracer = bridge.tracer_provider().tracer("user");
                    tracer.in_span("user", |context| context.span().add_event("seen", vec![]));
                    span.end();
                }
            });
        }
    });
    for run in &runs {
        assert_eq!(run.finish().traces.bundle.delivered, 1_001);
        let spans = run.spans();
        let id = json!(run.id.to_string());
        assert_eq!(
            spans.iter().filter(|span| attribute(span, "hamilton.run_id") == Some(&id)).count(),
            1_001
        );
        assert_eq!(names(&spans).iter().filter(|name| **name == "user").count(), 500);
        let nodes = &run.metrics()["daglight.task.duration"]["histogram"]["dataPoints"][0];
        assert_eq!(nodes["count"], "500");
    }
}

#[test]
fn runs_are_timed_and_stalls_are_counted() {
    let bridge = bridge([]);
    let run = TestRun::open(&bridge, "t");
    let root = run.signals.root();
    root.event(event::STALL, [(Key::StallClass.into(), "source".into()), (Key::Node.into(), 7_u64.into())]);
    root.event(event::STALL, []);
    root.event(event::STALL_ENDED, []);
    root.finish_as(SpanStatus::Cancelled);
    root.end();
    run.finish();
    let metrics = run.metrics();
    let duration = &metrics["daglight.run.duration"]["histogram"]["dataPoints"][0];
    assert_eq!(duration["count"], "1");
    assert_eq!(attribute(duration, "daglight.status"), Some(&json!("cancelled")));
    let stalls = metrics["daglight.stalls"]["sum"]["dataPoints"].as_array().unwrap();
    let mut of_class: Vec<_> = stalls
        .iter()
        .map(|point| (attribute(point, "daglight.stall.class").cloned(), point["asInt"].clone()))
        .collect();
    of_class.sort_by_key(|(class, _)| class.is_some());
    assert_eq!(of_class, [(None, json!("1")), (Some(json!("source")), json!("1"))]);
    assert_eq!(attribute(&stalls[0], "daglight.node"), None, "few attributes, whatever a run does");
}

#[test]
fn the_last_line_of_the_metrics_has_the_spans_of_durations() {
    // The bundle has every span, whatever is sampled.
    let bridge = bridge([("OTEL_TRACES_SAMPLER", "always_off")]);
    let run = TestRun::open(&bridge, "t");
    let span = run.signals.span(span::EXECUTE).start();
    let ids = (json!(span.trace_id()), json!(span.span_id()));
    span.end();
    run.signals.snapshot_metrics();
    run.finish();
    let exemplars = |line: &serde_json::Value| {
        let metrics = line["resourceMetrics"][0]["scopeMetrics"][0]["metrics"].as_array().unwrap().clone();
        let metric =
            metrics.into_iter().find(|metric| metric["name"] == "daglight.execute.duration").unwrap();
        metric["histogram"]["dataPoints"][0]["exemplars"].as_array().unwrap().clone()
    };
    let lines = run.lines("otel_metrics.json");
    let [beat, end] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!(exemplars(beat).len(), 0);
    let [exemplar] = &exemplars(end)[..] else { panic!("{end}") };
    assert_eq!((exemplar["traceId"].clone(), exemplar["spanId"].clone()), ids);
    assert!(exemplar["asDouble"].is_f64() && exemplar["timeUnixNano"].is_string(), "{exemplar}");
    assert_eq!(exemplar["filteredAttributes"], json!([]), "ids and nothing else");
}

#[test]
fn a_burst_of_spans_is_kept_whole() {
    const THREADS: u64 = 4;
    const EACH: u64 = 25_000;
    let bridge = bridge([]);
    let run = TestRun::open(&bridge, "burst");
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| (0..EACH).for_each(|_| run.signals.span(span::EXECUTE).start().end()));
        }
    });
    assert_eq!(run.finish().traces.bundle, counts(THREADS * EACH, THREADS * EACH, 0));
    assert_eq!(run.spans().len() as u64, THREADS * EACH);
}

#[test]
fn what_json_has_no_number_for_becomes_text() {
    let bridge = bridge([]);
    let run = TestRun::open(&bridge, "t");
    let span = run.signals.span(span::EXECUTE).attribute("nan", f64::NAN).attribute("big", u64::MAX).start();
    let inside = span.context();
    inside.span().set_attribute(KeyValue::new("inf", f64::INFINITY));
    span.end();
    run.finish();
    let spans = run.spans();
    assert_eq!(attribute(&spans[0], "nan"), Some(&json!("NaN")));
    assert_eq!(attribute(&spans[0], "inf"), Some(&json!("Infinity")));
    assert_eq!(attribute(&spans[0], "big"), Some(&json!("18446744073709551615")));
}

#[test]
fn the_bundle_has_what_the_sampler_leaves_out() {
    let bridge = bridge([("OTEL_TRACES_SAMPLER", "always_off")]);
    let run = TestRun::open(&bridge, "t");
    run.signals.root().end();
    assert_eq!(run.finish().traces.bundle.delivered, 1);
    assert_eq!(run.spans().len(), 1);
}

#[test]
fn what_started_the_process_is_the_parent_of_the_root() {
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    let bridge = bridge([("TRACEPARENT", parent)]);
    let run = TestRun::open_with(&bridge, "t", |scope| scope.parent = bridge.parent_from_environment());
    let root = run.signals.root();
    assert_eq!(root.trace_id(), "0af7651916cd43dd8448eb211c80319c");
    let given_on = &bridge.child_environment(&root.context())["TRACEPARENT"];
    assert!(given_on.contains(&root.span_id()), "{given_on}");
    root.end();
    run.finish();
    assert_eq!(run.spans()[0]["parentSpanId"], "b7ad6b7169203331");
}

#[test]
fn spans_that_are_open_stand_in_a_file_of_their_own() {
    let bridge = bridge([]);
    let run = TestRun::open(&bridge, "t");
    let root = run.signals.root();
    run.signals.span(span::NODE).start().end();
    assert!(run.signals.flush_files(TIMEOUT));
    let open = SignalFiles::in_folder(run.folder.path()).open_spans();
    let text = fs::read_to_string(&open).unwrap();
    assert!(text.contains(&root.span_id()) && text.contains(r#""endTimeUnixNano":"0""#), "{text}");
    assert!(text.contains(&run.id.to_string()));
    run.finish();
    assert!(open.exists());
    drop(root);
}

#[test]
fn items_after_the_end_are_counted_and_harmless() {
    let bridge = bridge([]);
    let run = TestRun::open(&bridge, "t");
    let late = run.signals.span(span::NODE).start();
    run.signals.root().end();
    let ledgers = run.finish();
    late.end();
    run.signals.span(span::NODE).start().end();
    run.signals.metrics().artifact("parquet");
    run.signals.snapshot_metrics();
    assert_eq!(run.finish(), ledgers);
    assert_eq!(run.spans().len(), 1);
}

#[test]
fn a_run_goes_on_when_exporting_has_ended() {
    let bridge = bridge([]);
    let run = TestRun::open(&bridge, "t");
    let root = run.signals.root();
    bridge.shutdown(TIMEOUT);
    run.signals.span(span::NODE).start().end();
    root.end();
    drop(bridge);
    assert_eq!(run.finish().traces.bundle, counts(2, 2, 0));
}

#[test]
fn a_run_is_a_child_of_the_span_it_is_opened_in() {
    let bridge = bridge([("TRACEPARENT", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]);
    let outer = TestRun::open(&bridge, "outer");
    let root = outer.signals.root();
    assert_eq!(root.trace_id(), "0af7651916cd43dd8448eb211c80319c");
    let _inside = root.context().attach();
    let inner = TestRun::open(&bridge, "inner");
    inner.signals.root().end();
    inner.finish();
    assert_eq!(inner.spans()[0]["parentSpanId"], root.span_id());
    assert_eq!(attribute(&inner.spans()[0], "hamilton.dag_name"), Some(&json!("inner")));
}

/// A run of which nothing else is known.
fn known_of(run: &TestRun, root: &StageSpan, last_seen: SystemTime) -> KnownRun {
    KnownRun {
        run_id: run.id.to_string(),
        dag_name: "t".to_owned(),
        trace_id: root.trace_id(),
        root_span_id: root.span_id(),
        started_at: root.started_at(),
        end: None,
        last_seen,
        nodes: BTreeMap::new(),
    }
}

#[test]
fn spans_that_were_lost_are_made_of_what_is_known() {
    let bridge = bridge([]);
    let run = TestRun::open(&bridge, "t");
    let root = run.signals.root();
    let open = run.signals.span(span::NODE).node("open").start();
    assert!(run.signals.flush_files(TIMEOUT));
    let files = SignalFiles::in_folder(run.folder.path());
    let second = |second| root.started_at() + Duration::from_secs(second);
    let node = |end| KnownNode { started_at: second(1), end };
    let ended = |succeeded| Some(KnownEnd { time: second(2), succeeded });
    let mut known = known_of(&run, &root, second(3));
    known.end = ended(true);
    known.nodes = BTreeMap::from([
        ("open".to_owned(), node(ended(true))),
        ("lost".to_owned(), node(ended(true))),
        ("failed".to_owned(), node(ended(false))),
        ("running".to_owned(), node(None)),
    ]);
    let copy = files_without_spans(&run);
    assert_eq!(complete_spans(&files, &Namespace::default(), &known).unwrap(), 5);
    assert_eq!(complete_spans(&files, &Namespace::default(), &known).unwrap(), 0);
    let spans = run.spans();
    let nodes: Vec<_> = spans.iter().filter(|span| span["name"] == span::NODE).collect();
    let found = |name: &str| {
        let node = nodes.iter().find(|node| attribute(node, "daglight.node") == Some(&json!(name)));
        node.unwrap_or_else(|| panic!("no {name} in {nodes:#?}"))
    };
    for (name, status, end) in
        [("open", "ok", 2), ("lost", "ok", 2), ("failed", "error", 2), ("running", "error", 3)]
    {
        let node = found(name);
        assert_eq!(attribute(node, "daglight.status"), Some(&json!(status)), "{node:#}");
        assert_eq!(
            (&node["parentSpanId"], &node["traceId"]),
            (&json!(root.span_id()), &json!(root.trace_id()))
        );
        let nanoseconds = second(end).duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
        assert_eq!(node["endTimeUnixNano"], nanoseconds.to_string(), "{node:#}");
    }
    assert_eq!(attribute(found("running"), "error.type"), Some(&json!("process_ended")));
    let ended = find(&spans, span::PIPELINE_EXECUTE);
    assert_eq!(attribute(ended, "daglight.status"), Some(&json!("ok")));

    // Where not even the root has got into a file.
    assert_eq!(complete_spans(&copy, &Namespace::default(), &known).unwrap(), 5);
    let spans = spans_of(&copy);
    assert_eq!(find(&spans, span::PIPELINE_EXECUTE)["spanId"], root.span_id());
    drop((open, root));
}

/// The files of a run of which nothing was written.
fn files_without_spans(run: &TestRun) -> SignalFiles {
    let folder = run.folder.path().join("copy");
    fs::create_dir(&folder).unwrap();
    SignalFiles::in_folder(&folder)
}

#[test]
fn spans_of_a_dead_process_are_ended_with_its_last_sign_of_life() {
    let bridge = bridge([]);
    let run = TestRun::open(&bridge, "t");
    let root = run.signals.root();
    let node = run.signals.span(span::NODE).node("risk").start();
    assert!(run.signals.flush_files(TIMEOUT));
    node.end();
    assert!(run.signals.flush_files(TIMEOUT));
    let files = SignalFiles::in_folder(run.folder.path());
    let half = fs::read_to_string(&files.traces).unwrap() + r#"{"resourceSpans":[{"half"#;
    fs::write(&files.traces, half).unwrap();

    let last_sign = root.started_at() + Duration::from_secs(3);
    let namespace = Namespace::default();
    let known = known_of(&run, &root, last_sign);
    assert_eq!(complete_spans(&files, &namespace, &known).unwrap(), 1);
    assert_eq!(complete_spans(&files, &namespace, &known).unwrap(), 0);
    let spans = run.spans();
    assert_eq!(names(&spans), [span::NODE, span::PIPELINE_EXECUTE]);
    let ended = find(&spans, span::PIPELINE_EXECUTE);
    assert_eq!(ended["spanId"], root.span_id());
    assert_eq!(ended["status"], json!({"message": "the process ended", "code": 2}));
    assert_eq!(attribute(ended, "error.type"), Some(&json!("process_ended")));
    assert_eq!(attribute(ended, "hamilton.run_id"), Some(&json!(run.id.to_string())));
    let nanoseconds = |key: &str| ended[key].as_str().unwrap().parse::<u64>().unwrap();
    assert_eq!(nanoseconds("endTimeUnixNano") - nanoseconds("startTimeUnixNano"), 3_000_000_000);
    drop(root);
}

#[test]
fn ten_thousand_tables_make_no_more_metrics_than_ten() {
    let bridge = bridge([]);
    let points = |tables: usize| {
        let run = TestRun::open(&bridge, "t");
        for n in 0..tables {
            let table = policy().capture(format!("table_{n}"));
            let span = run.signals.span(span::WRITE).stage("write").attribute(Key::Table, &table).start();
            span.row_count(1);
            span.end();
            run.signals.metrics().artifact("parquet");
        }
        run.finish().metrics.bundle.produced
    };
    assert_eq!(points(10_000), points(10));
}

#[test]
fn files_that_cannot_be_written_are_reported() {
    let bridge = bridge([]);
    let run = TestRun::open_with(&bridge, "t", |scope| {
        scope.files = Some(SignalFiles::in_folder("/nowhere".as_ref()))
    });
    run.signals.root().end();
    let ledgers = run.finish();
    assert_eq!(ledgers.traces.bundle, counts(1, 0, 1));
    let warnings = ledgers.warnings();
    // The file and the cause first.
    assert!(warnings[0].starts_with("cannot write /nowhere/otel_traces.json: "), "{warnings:?}");
    let counted = |warning: &String| warning.starts_with("1 of 1 spans did not reach the bundle");
    assert!(warnings.iter().any(counted), "{warnings:?}");

    let next = TestRun::open(&bridge, "next");
    next.finish();
    let lost = &next.metrics()["daglight.telemetry.lost"]["sum"]["dataPoints"];
    let traces = lost.as_array().unwrap().iter();
    let mut traces = traces.filter(|point| attribute(point, "daglight.signal") == Some(&json!("traces")));
    let point = traces.next().unwrap();
    assert_eq!(
        ["hamilton.dag_name", "daglight.destination"].map(|name| attribute(point, name)),
        [Some(&json!("t")), Some(&json!("bundle"))]
    );
    assert_eq!(point["asInt"], json!("1"));
}

#[tokio::test(flavor = "current_thread")]
async fn futures_carry_their_span_on_a_runtime_of_one_thread() {
    let bridge = bridge([]);
    let run = TestRun::open(&bridge, "t");
    let root = run.signals.root();
    let nodes = (0..3).map(|_| {
        let node = run.signals.span(span::NODE).start();
        let context = node.context();
        let signals = run.signals.clone();
        async move {
            tokio::task::yield_now().await;
            signals.span(span::EXECUTE).start().end();
            node.end();
        }
        .with_context(context)
    });
    futures::future::join_all(nodes).await;
    root.end();
    let signals = run.signals.clone();
    let ledgers = tokio::task::spawn_blocking(move || signals.finish(TIMEOUT)).await.unwrap();
    assert_eq!(ledgers.traces.bundle.delivered, 7);
    let spans = run.spans();
    let parents: BTreeSet<_> = spans
        .iter()
        .filter(|span| span["name"] == span::EXECUTE)
        .map(|span| span["parentSpanId"].as_str().unwrap())
        .collect();
    assert_eq!(parents.len(), 3);
}
