//! Metrics that Prometheus scrapes.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    process::{Command, Stdio},
};

use daglight_otel_bridge::{Bridge, names::span};
use dev_services::{Python, VirtualEnv, Workspace};
use serde_json::{Value, json};

use crate::support::{TestRun, bridge};

/// As Prometheus asks.
const PROMETHEUS: &str =
    "accept: application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1\r\n";

fn ask(bridge: &Bridge, request: &str) -> String {
    ask_with(bridge, request, "")
}

fn ask_with(bridge: &Bridge, request: &str, header: &str) -> String {
    ask_host(bridge, "localhost", request, header)
}

fn ask_host(bridge: &Bridge, host: &str, request: &str, header: &str) -> String {
    let mut stream = TcpStream::connect(bridge.scrape_address().unwrap()).unwrap();
    stream
        .write_all(
            format!("{request} HTTP/1.1\r\nhost: {host}\r\n{header}connection: close\r\n\r\n").as_bytes(),
        )
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The metrics of this moment.
pub(crate) fn scrape(bridge: &Bridge) -> String {
    let answer = ask(bridge, "GET /metrics");
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    text.to_owned()
}

#[test]
fn metrics_of_all_runs_are_scraped_while_the_bridge_lives() {
    let bridge = bridge([
        ("OTEL_METRICS_EXPORTER", "prometheus"),
        ("OTEL_EXPORTER_PROMETHEUS_HOST", "127.0.0.1"),
        ("OTEL_EXPORTER_PROMETHEUS_PORT", "0"),
    ]);
    assert_eq!(bridge.warnings(), Vec::<String>::new());
    for dag in ["first", "second"] {
        let run = TestRun::open(&bridge, dag);
        run.signals.metrics().artifact("parquet");
        run.finish();
    }
    let answer = ask(&bridge, "GET /metrics");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    for dag in ["first", "second"] {
        let label = format!("hamilton_dag_name=\"{dag}\"");
        assert!(answer.lines().any(|line| line.contains(&label)), "{answer}");
    }
    assert!(ask(&bridge, "GET /").starts_with("HTTP/1.1 404"));
    let by = |host: &str| ask_host(&bridge, host, "GET /metrics", "");
    for host in ["evil.example", "evil.example:9464", "127.0.0.1.evil.example"] {
        assert!(by(host).starts_with("HTTP/1.1 403"), "{host}");
    }
    assert!(by("127.0.0.1:9464").starts_with("HTTP/1.1 200"));
    assert!(ask(&bridge, "POST /metrics").starts_with("HTTP/1.1 405"));
    let address = bridge.scrape_address().unwrap();
    drop(bridge);
    // The thread of the server ends on its own.
    let started = std::time::Instant::now();
    while TcpStream::connect(address).is_ok() {
        assert!(started.elapsed() < crate::support::TIMEOUT, "it still listens");
    }
}

/// The samples that Prometheus's own reader finds in a text of OpenMetrics.
#[track_caller]
fn read_open_metrics(text: &str) -> Vec<Value> {
    let workspace = Workspace::locate().unwrap();
    let file = |name: &str| workspace.root().join("tests/python").join(name);
    let python = Python::find().unwrap();
    let environment = VirtualEnv::prepare(&workspace, &python, "otlp", &file("requirements.txt")).unwrap();
    let mut reader = Command::new(environment.python())
        .args([file("prometheus_text.py").as_os_str(), "openmetrics".as_ref()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    reader.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = reader.wait_with_output().unwrap();
    assert!(output.status.success(), "it does not read\n{text}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn who_reads_open_metrics_gets_the_trace_of_a_duration() {
    let bridge = bridge([
        ("OTEL_METRICS_EXPORTER", "prometheus"),
        ("OTEL_EXPORTER_PROMETHEUS_HOST", "127.0.0.1"),
        ("OTEL_EXPORTER_PROMETHEUS_PORT", "0"),
    ]);
    let scraped = || {
        let answer = ask_with(&bridge, "GET /metrics", PROMETHEUS);
        let (head, text) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{head}");
        read_open_metrics(text)
    };
    assert_eq!(scraped(), Vec::<Value>::new());
    let run = TestRun::open(&bridge, "sales");
    let root = run.signals.root();
    let node = run.signals.span(span::NODE).node("orders").start();
    let expected = json!({"trace_id": node.trace_id(), "span_id": node.span_id()});
    node.end();
    root.end();
    run.signals.metrics().artifact("a \\ \"b\"\n");
    run.finish();
    let samples = scraped();
    let of = |name: &str| samples.iter().filter(|sample| sample["name"] == name).collect::<Vec<_>>();
    let exemplars: Vec<_> = of("daglight_task_duration_seconds_bucket")
        .into_iter()
        .filter_map(|sample| Some((sample["labels"]["le"].clone(), sample.get("exemplar")?.clone())))
        .collect();
    let [(bound, exemplar)] = &exemplars[..] else { panic!("{samples:#?}") };
    assert_eq!(exemplar["labels"], expected);
    let bound: f64 = bound.as_str().unwrap().parse().unwrap();
    assert!(exemplar["value"].as_f64().is_some_and(|seconds| seconds <= bound), "{exemplar}");
    assert_eq!(of("daglight_artifacts_total")[0]["labels"]["daglight_artifact_kind"], "a \\ \"b\"\n");
    assert_eq!((&of("target_info")[0]["type"], &of("target_info")[0]["value"]), (&json!("info"), &json!(1)));
    assert!(!scrape(&bridge).contains("trace_id"), "the plain format has no exemplars");
}

#[test]
fn nothing_listens_where_nobody_asked_for_it() {
    assert_eq!(bridge([("OTEL_METRICS_EXPORTER", "console")]).scrape_address(), None);
}
