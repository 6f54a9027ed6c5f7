//! A run and its bundle behind a collector that others wrote: what arrives there is what the bundle has.

use std::{
    collections::BTreeMap,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use daglight_system_tests::{Checkout, Collector, Daglight, OtlpReceiver, attributes, decode_strictly};
use serde_json::Value;

const PIPELINE: &str =
    "CREATE TABLE orders AS SELECT value AS id, value % 7 AS day FROM generate_series(1, 5000);
CREATE TABLE days AS SELECT day, count(*) AS orders FROM orders GROUP BY day;
COPY (SELECT * FROM days) TO 'out/days.parquet';
";

/// Asks until there is an answer: the collector passes on what it has taken a moment later.
fn when<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "the collector passes on no {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// What joins the signals of a span: its name, its parent, its times and its attributes, by its ids.
fn spans(spans: &[Value]) -> BTreeMap<String, Value> {
    let fields = ["name", "parentSpanId", "startTimeUnixNano", "endTimeUnixNano"];
    let of = |span: &Value| {
        let id = format!("{}/{}", span["traceId"].as_str()?, span["spanId"].as_str()?);
        let mut seen = attributes(span);
        fields.iter().for_each(|field| _ = seen.insert((*field).to_owned(), span[*field].clone()));
        // A span without a parent: an empty id in one, none in the other.
        seen.retain(|_, value| !value.is_null() && value != "");
        Some((id, Value::Object(seen)))
    };
    spans.iter().map(|span| of(span).unwrap_or_else(|| panic!("a span with ids: {span}"))).collect()
}

fn logs(records: &[Value]) -> Vec<(String, String)> {
    let text = |record: &Value, field: &str| record[field].as_str().unwrap_or_default().to_owned();
    let body = |record: &Value| record["body"]["stringValue"].as_str().unwrap_or_default().to_owned();
    let mut all: Vec<_> = records.iter().map(|record| (text(record, "spanId"), body(record))).collect();
    all.sort();
    all
}

#[track_caller]
fn check_arrived(bundle: &Path, receiver: &OtlpReceiver) {
    let recorded = spans(&decode_strictly(&bundle.join("otel_traces.json"), "traces"));
    let arrived =
        when("spans", || Some(spans(&receiver.spans())).filter(|seen| seen.len() >= recorded.len()));
    assert!(recorded.values().any(|span| span["name"] == "hamilton.node"));
    for (id, span) in &recorded {
        assert_eq!(arrived.get(id), Some(span));
    }
    assert_eq!(arrived.len(), recorded.len());
    let recorded = logs(&decode_strictly(&bundle.join("otel_logs.json"), "logs"));
    let arrived = when("logs", || Some(logs(&receiver.logs())).filter(|seen| seen.len() >= recorded.len()));
    assert!(!recorded.is_empty());
    assert_eq!(arrived, recorded);
    when("metrics", || {
        let metrics = receiver.metrics();
        ["daglight.rows", "daglight.task.duration"]
            .iter()
            .all(|name| metrics.iter().any(|metric| metric["name"] == *name))
            .then_some(())
    });
}

#[test]
fn a_run_reaches_a_backend_through_a_collector() {
    for protocol in ["grpc", "http/protobuf"] {
        let receiver = OtlpReceiver::start();
        let collector = Collector::start(&receiver);
        let checkout = Checkout::new();
        let pipeline = checkout.pipeline("days.sql", PIPELINE);
        let ran = Daglight::run(&checkout, &pipeline)
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint(protocol))
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
            .env("HAMILTON_TRACKER_ENABLED", "false")
            .finish()
            .report(0);
        let bundle = checkout.path().join(ran["bundle"].as_str().expect("a bundle"));
        check_arrived(&bundle, &receiver);
    }
}

#[test]
fn a_bundle_is_replayed_to_a_collector() {
    let receiver = OtlpReceiver::start();
    let collector = Collector::start(&receiver);
    let checkout = Checkout::new();
    let pipeline = checkout.pipeline("days.sql", PIPELINE);
    let ran = Daglight::run(&checkout, &pipeline).env("HAMILTON_TRACKER_ENABLED", "false").finish().report(0);
    let bundle = checkout.path().join(ran["bundle"].as_str().expect("a bundle"));
    Daglight::new(&checkout, ["replay"])
        .args([&bundle])
        .args(["--endpoint", &collector.endpoint("grpc"), "--protocol", "grpc"])
        .finish()
        .ended_with(0);
    check_arrived(&bundle, &receiver);
}
