//! The spans of a run in the formats of other viewers.

use std::{
    collections::{HashMap, HashSet},
    fs,
};

use daglight_bundle_report::{ExportFormat, ExportSignal, Exported, export};
use daglight_run_bundle::{Bundle, Manifest, ProcessEvidence, SignalFiles};
use daglight_run_identity::RunId;
use serde::Deserialize;
use serde_json::Value;

use crate::fixture::{self, SpanLine};

/// Two nodes at the same time, one of them with queries that cross each other, and beats.
fn bundle(out: &tempfile::TempDir) -> Bundle {
    let bundle = Bundle::create(out.path(), RunId::new()).unwrap();
    fixture::manifest().write(&bundle).unwrap();
    let query = |start, end| {
        SpanLine::new("datafusion.execute", start, end).id(&format!("q{start}")).text("node", "a </script>")
    };
    let beat = |at| SpanLine::new("build.heartbeat", at, at).count("process.resident_bytes", 1_000 + at);
    let lines = [
        beat(1).line(),
        query(10, 30).line(),
        query(20, 45).line(),
        SpanLine::new("datafusion.operator", 22, 40)
            .id("o1")
            .text("node", "a </script>")
            .text("operator", "SortExec")
            .line(),
        "torn or not JSON\n".to_owned(),
        SpanLine::new("hamilton.node", 5, 50).id("n1").text("node", "a </script>").line(),
        beat(60).line(),
        SpanLine::new("hamilton.node", 0, 90).id("n2").text("node", "b").failed("disk full").line(),
        SpanLine::new("pipeline.execute", 0, 100).line(),
    ];
    fs::write(bundle.traces(), lines.concat()).unwrap();
    fs::write(bundle.logs(), fixture::log_line(9, "x")).unwrap();
    bundle
}

fn exported(format: ExportFormat) -> (Exported, Value) {
    let out = tempfile::tempdir().unwrap();
    let mut text = Vec::new();
    let exported = export(&bundle(&out), format, &mut text).unwrap();
    (exported, serde_json::from_slice(&text).unwrap())
}

/// The fields that the document of the format has for the kinds of events that are written.
#[derive(Debug, Deserialize)]
#[serde(tag = "ph", deny_unknown_fields)]
enum TraceEvent {
    #[serde(rename = "X")]
    Complete {
        name: String,
        cat: String,
        ts: f64,
        dur: f64,
        pid: u32,
        tid: u32,
        args: HashMap<String, String>,
    },
    #[serde(rename = "M")]
    Metadata { name: String, cat: String, ts: f64, pid: u32, tid: u32, args: Value },
    #[serde(rename = "C")]
    Counter { name: String, cat: String, ts: f64, pid: u32, tid: u32, args: HashMap<String, f64> },
}

#[test]
fn perfetto_has_every_span_on_threads_where_none_crosses_another() {
    let (exported, document) = exported(ExportFormat::Perfetto);
    assert_eq!((exported.items, exported.left_out, exported.file.unreadable_lines), (6, 0, 1));
    assert_eq!(document["displayTimeUnit"], "ms");
    let events: Vec<TraceEvent> = serde_json::from_value(document["traceEvents"].clone()).unwrap();
    let (mut threads, mut spans, mut memory) = (HashMap::new(), Vec::new(), Vec::new());
    for event in events {
        match event {
            TraceEvent::Complete { name, cat, ts, dur, pid, tid, args } => {
                assert_eq!(pid, 1);
                assert_eq!(args.contains_key("error"), name == "b", "{args:?}");
                assert!(args.contains_key("span_id"));
                spans.push((tid, ts, ts + dur, name, cat));
            }
            TraceEvent::Metadata { name, pid, tid, args, .. } => {
                assert_eq!(pid, 1);
                if name == "thread_name" {
                    threads.insert(tid, args["name"].as_str().unwrap().to_owned());
                }
            }
            TraceEvent::Counter { name, ts, pid, tid, args, .. } => {
                assert_eq!((pid, tid, args.len()), (1, 0, 1), "{name}");
                memory.push((ts, args["value"]));
            }
        }
    }
    assert_eq!(memory, [(1_000.0, 1_001.0), (60_000.0, 1_060.0)]);
    assert_eq!(spans.len(), 6);
    for (tid, start, end, ..) in &spans {
        assert!(threads.contains_key(tid));
        for (other_tid, from, until, ..) in &spans {
            let crosses = start < from && from < end && end < until;
            assert!(tid != other_tid || !crosses, "{spans:#?}");
        }
    }
    let of = |wanted: &str| spans.iter().find(|(.., name, _)| name == wanted).unwrap();
    assert_eq!((of("SortExec").1, of("SortExec").2), (22_000.0, 40_000.0));
    assert_eq!(threads[&of("a </script>").0], "a </script>");
    assert_eq!(of("b").4, "hamilton.node");
    let queries: Vec<u32> =
        spans.iter().filter(|(.., cat)| cat == "datafusion.execute").map(|(tid, ..)| *tid).collect();
    assert_ne!(queries[0], queries[1]);
}

/// Checks the rules of the format that Perfetto's importer relies on: it drops a slice that breaks them, and counts it where nobody
/// looks. Returns the number of spans.
#[track_caller]
fn check_trace_rules(document: &Value) -> usize {
    let events: Vec<TraceEvent> = serde_json::from_value(document["traceEvents"].clone()).unwrap();
    let (mut named, mut ids) = (HashSet::new(), HashSet::new());
    let mut tracks: HashMap<(u32, u32), Vec<(f64, f64)>> = HashMap::new();
    let mut counters: HashMap<(u32, String), f64> = HashMap::new();
    for event in events {
        match event {
            // Every event has its end: there is no `B` that could be without its `E`.
            TraceEvent::Complete { name, ts, dur, pid, tid, args, .. } => {
                assert!(ts.is_finite() && ts >= 0.0 && dur.is_finite() && dur >= 0.0, "{name}: {ts} {dur}");
                assert!(!name.is_empty());
                assert!(ids.insert(args["span_id"].clone()), "{} is there twice", args["span_id"]);
                assert!(
                    named.contains(&(pid, tid, "thread_name".to_owned())),
                    "thread {tid} has no name yet"
                );
                tracks.entry((pid, tid)).or_default().push((ts, ts + dur));
            }
            TraceEvent::Metadata { name, cat, ts, pid, tid, args } => {
                assert_eq!((&*cat, ts), ("__metadata", 0.0));
                assert!(
                    ["process_name", "thread_name", "thread_sort_index"].contains(&name.as_str()),
                    "{name}"
                );
                assert_eq!(args.as_object().unwrap().len(), 1, "{args}");
                assert!(named.insert((pid, tid, name.clone())), "{name} of {tid} is there twice");
            }
            TraceEvent::Counter { name, cat, ts, pid, args, .. } => {
                assert!(!cat.is_empty());
                assert!(args.values().all(|value| value.is_finite()), "{name}: {args:?}");
                let before = counters.insert((pid, name.clone()), ts);
                assert!(before.is_none_or(|before| before <= ts), "{name} goes back in time");
            }
        }
    }
    let mut spans = 0;
    for (track, mut slices) in tracks {
        // As the importer sorts them: by time, of equal times the longer one first.
        slices.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.total_cmp(&a.1)));
        let mut open: Vec<f64> = Vec::new();
        for (start, end) in slices {
            open.retain(|until| *until > start);
            assert!(
                open.last().is_none_or(|until| *until >= end),
                "{track:?}: {start} to {end} crosses {open:?}"
            );
            open.push(end);
            spans += 1;
        }
    }
    spans
}

#[test]
fn traces_follow_the_rules_of_the_format() {
    assert_eq!(check_trace_rules(&exported(ExportFormat::Perfetto).1), 6);
    // Many at random: nested, crossing, of no length, and at the same moment.
    for seed in 0..20 {
        let out = tempfile::tempdir().unwrap();
        let bundle = Bundle::create(out.path(), RunId::new()).unwrap();
        fixture::manifest().write(&bundle).unwrap();
        let mut random = fastrand::Rng::with_seed(seed);
        let mut below = |limit: u64| random.u64(..limit);
        let lines: Vec<String> = (0..200)
            .map(|number| {
                let start = below(50);
                let end = start + below(20);
                let node = ["a", "b", "c"][below(3) as usize];
                SpanLine::new("datafusion.operator", start, end)
                    .id(&format!("{number:016x}"))
                    .text("node", node)
                    .line()
            })
            .collect();
        fs::write(bundle.traces(), lines.concat()).unwrap();
        let mut text = Vec::new();
        export(&bundle, ExportFormat::Perfetto, &mut text).unwrap();
        assert_eq!(check_trace_rules(&serde_json::from_slice(&text).unwrap()), 200, "seed {seed}");
    }
}

#[test]
fn speedscope_opens_and_closes_every_span_in_order() {
    let (exported, document) = exported(ExportFormat::Speedscope);
    assert_eq!(exported.items, 6);
    let frames = document["shared"]["frames"].as_array().unwrap();
    let mut closed = Vec::new();
    for profile in document["profiles"].as_array().unwrap() {
        assert_eq!((&profile["type"], &profile["unit"]), (&"evented".into(), &"milliseconds".into()));
        let (mut open, mut at) = (Vec::new(), profile["startValue"].as_f64().unwrap());
        for event in profile["events"].as_array().unwrap() {
            let now = event["at"].as_f64().unwrap();
            assert!(now >= at && now <= profile["endValue"].as_f64().unwrap(), "{profile:#}");
            at = now;
            let frame = event["frame"].as_u64().unwrap();
            if event["type"] == "O" {
                open.push((frame, now));
            } else {
                assert_eq!(event["type"], "C");
                let (opened, since) = open.pop().unwrap();
                assert_eq!(opened, frame, "{profile:#}");
                closed.push((frames[frame as usize]["name"].as_str().unwrap().to_owned(), now - since));
            }
        }
        assert!(open.is_empty());
    }
    closed.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let expected = [
        ("SortExec", 18.0),
        ("a </script>", 45.0),
        ("b", 90.0),
        ("datafusion.execute", 20.0),
        ("datafusion.execute", 25.0),
        ("pipeline.execute", 100.0),
    ];
    assert_eq!(closed, expected.map(|(name, took)| (name.to_owned(), took)));
}

#[test]
fn otlp_is_one_document_of_every_line_that_can_be_read() {
    for (signal, field, count) in
        [(ExportSignal::Traces, "resourceSpans", 8), (ExportSignal::Logs, "resourceLogs", 1)]
    {
        let (exported, document) = exported(ExportFormat::Otlp(signal));
        assert_eq!(document[field].as_array().unwrap().len(), count, "{signal:?}");
        assert_eq!(exported.items, count as u64);
    }
}

const FORMATS: [ExportFormat; 3] =
    [ExportFormat::Perfetto, ExportFormat::Speedscope, ExportFormat::Otlp(ExportSignal::Traces)];

#[test]
fn a_run_without_spans_is_not_exported_as_one_in_which_nothing_happened() {
    for format in FORMATS {
        let out = tempfile::tempdir().unwrap();
        let bundle = Bundle::create(out.path(), RunId::new()).unwrap();
        fs::write(bundle.traces(), "").unwrap();
        let mut text = Vec::new();
        let error = export(&bundle, format, &mut text).unwrap_err();
        assert_eq!(error.to_string(), "nothing can be exported of otel_traces.json: it has no spans");
        assert_eq!(text, b"");
    }
    // The log may have no records.
    let out = tempfile::tempdir().unwrap();
    let bundle = Bundle::create(out.path(), RunId::new()).unwrap();
    fs::write(bundle.logs(), "").unwrap();
    let mut text = Vec::new();
    assert_eq!(export(&bundle, ExportFormat::Otlp(ExportSignal::Logs), &mut text).unwrap().items, 0);
    assert_eq!(serde_json::from_slice::<Value>(&text).unwrap(), serde_json::json!({"resourceLogs": []}));
}

#[test]
fn a_line_that_no_backend_takes_for_metrics_is_left_out() {
    let out = tempfile::tempdir().unwrap();
    let bundle = Bundle::create(out.path(), RunId::new()).unwrap();
    let line = |metric: &str| {
        format!("{{\"resourceMetrics\":[{{\"scopeMetrics\":[{{\"metrics\":[{metric}]}}]}}]}}\n")
    };
    let good = line(r#"{"name":"n","sum":{"dataPoints":[{"asInt":"1"}]}}"#);
    fs::write(
        bundle.metrics(),
        [good, line(r#"{"name":true}"#), line(r#"{"gauge":{"dataPoints":[{"asInt":{"a":[]}}]}}"#)].concat(),
    )
    .unwrap();
    let mut text = Vec::new();
    let exported = export(&bundle, ExportFormat::Otlp(ExportSignal::Metrics), &mut text).unwrap();
    assert_eq!((exported.items, exported.file.unreadable_lines), (1, 2));
    assert!(exported.file.problem.is_some_and(|problem| problem.starts_with("line 2 ")));
    assert_eq!(String::from_utf8(text).unwrap().matches("asInt").count(), 1);
}

#[test]
fn spans_of_which_nothing_can_be_read_are_an_error_and_nothing_is_written() {
    for format in FORMATS {
        let out = tempfile::tempdir().unwrap();
        let bundle = Bundle::create(out.path(), RunId::new()).unwrap();
        let mut text = Vec::new();
        let error = export(&bundle, format, &mut text).unwrap_err();
        assert_eq!(error.to_string(), "nothing can be exported of otel_traces.json: the file is not there");
        fs::write(bundle.traces(), "not JSON\n{}\n").unwrap();
        let error = export(&bundle, format, &mut text).unwrap_err();
        assert!(error.to_string().contains("otel_traces.json: line 1 is damaged: "), "{error}");
        assert_eq!(text, b"");
    }
}

/// A run that was killed in a query of a node: another query had ended, and is in the file of open spans still.
fn killed(out: &tempfile::TempDir) -> Bundle {
    let bundle = Bundle::create(out.path(), RunId::new()).unwrap();
    Manifest { ended_at: None, ..fixture::manifest() }.write(&bundle).unwrap();
    let query = |id: &str, start, end| {
        SpanLine::new("datafusion.execute", start, end).id(id).text("node", "a").text("query_id", id)
    };
    let beat = SpanLine::new("build.heartbeat", 70, 70).count("rows_read", 5_000).count("rows_written", 40);
    fs::write(bundle.traces(), [query("q1", 10, 30).line(), beat.line()].concat()).unwrap();
    let open = [
        SpanLine::new("hamilton.node", 5, 5).id("n1").text("node", "a"),
        query("q1", 10, 10),
        query("q2", 40, 40),
    ];
    let open = open.map(|span| span.open().line()).concat();
    fs::write(SignalFiles::from(&bundle).open_spans(), open).unwrap();
    // A beat that had not come to the spans yet.
    let mut evidence = ProcessEvidence::for_self(fixture::start(), 1.0);
    evidence.last_beat_at = fixture::start() + chrono::TimeDelta::milliseconds(90);
    evidence.write(&bundle.heartbeat()).unwrap();
    bundle
}

#[test]
fn spans_that_have_not_ended_last_until_the_run_was_last_seen() {
    let out = tempfile::tempdir().unwrap();
    let bundle = killed(&out);
    let exported = |format| {
        let mut text = Vec::new();
        let exported = export(&bundle, format, &mut text).unwrap();
        (exported, serde_json::from_slice::<Value>(&text).unwrap())
    };
    for format in FORMATS {
        let (exported, _) = exported(format);
        assert_eq!((exported.unended, exported.open_file), (2, None), "{format:?}");
    }
    let (_, perfetto) = exported(ExportFormat::Perfetto);
    check_trace_rules(&perfetto);
    let events = perfetto["traceEvents"].as_array().unwrap();
    let spans = events.iter().filter(|event| event["ph"] == "X");
    let spans: Vec<_> = spans
        .map(|span| {
            let ends_at = span["ts"].as_f64().unwrap() + span["dur"].as_f64().unwrap();
            (span["args"]["span_id"].as_str().unwrap(), ends_at, span["args"].get("open").is_some())
        })
        .collect();
    // In microseconds from the start of the node, which is the first that there was.
    assert_eq!(spans, [("q1", 25_000.0, false), ("n1", 85_000.0, true), ("q2", 85_000.0, true)]);
    let counters = events.iter().filter(|event| event["ph"] == "C");
    let counters: Vec<_> = counters
        .map(|event| (event["name"].as_str().unwrap(), event["args"]["value"].as_f64().unwrap()))
        .collect();
    assert_eq!(counters, [("rows read", 5_000.0), ("rows written", 40.0)]);
    let (_, speedscope) = exported(ExportFormat::Speedscope);
    assert_eq!(speedscope["profiles"][0]["endValue"], 85.0);
    let (_, otlp) = exported(ExportFormat::Otlp(ExportSignal::Traces));
    let spans = otlp["resourceSpans"].as_array().unwrap().iter();
    let spans = spans.flat_map(|resource| resource["scopeSpans"][0]["spans"].as_array().unwrap());
    let spans: Vec<_> =
        spans.map(|span| (&span["spanId"], &span["endTimeUnixNano"], &span["attributes"])).collect();
    let end = (fixture::START_NANOSECONDS + 90_000_000).to_string();
    let is_open = serde_json::json!({"key": "daglight.open", "value": {"boolValue": true}});
    for (id, ends, attributes) in &spans[2..] {
        assert!(*id == "n1" || *id == "q2");
        assert_eq!(**ends, *end);
        assert!(attributes.as_array().unwrap().contains(&is_open));
    }
    assert_eq!(spans.len(), 4);
}

#[test]
fn a_run_of_which_there_are_beats_alone_begins_with_them() {
    let out = tempfile::tempdir().unwrap();
    let bundle = Bundle::create(out.path(), RunId::new()).unwrap();
    fs::write(bundle.traces(), SpanLine::new("build.heartbeat", 7, 7).count("rows_read", 5).line()).unwrap();
    let mut text = Vec::new();
    export(&bundle, ExportFormat::Perfetto, &mut text).unwrap();
    let document: Value = serde_json::from_slice(&text).unwrap();
    let beat = document["traceEvents"].as_array().unwrap().iter().find(|event| event["ph"] == "C").unwrap();
    assert_eq!(beat["ts"], 0.0);
}

#[test]
fn otlp_names_lines_that_a_backend_would_refuse() {
    let out = tempfile::tempdir().unwrap();
    let bundle = bundle(&out);
    let whole = fs::read_to_string(bundle.traces()).unwrap();
    let wrong = [
        r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"startTimeUnixNano":"soon"}]}]}]}"#,
        r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"startTimeUnixNano":"18446744073709551615"}]}]}]}"#,
        r#"{"resourceLogs":[{"scopeLogs":[]}]}"#,
    ];
    fs::write(bundle.traces(), wrong.map(|line| format!("{line}\n")).concat() + &whole).unwrap();
    let mut text = Vec::new();
    let exported = export(&bundle, ExportFormat::Otlp(ExportSignal::Traces), &mut text).unwrap();
    assert_eq!((exported.items, exported.file.unreadable_lines), (8, 4));
    assert!(exported.file.problem.unwrap().starts_with("line 1 is damaged: "));
    let document: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(document["resourceSpans"].as_array().unwrap().len(), 8);
}
