//! What becomes of signals that go through the exporters: every answer is counted, and only what passed the door leaves.

use std::{env, process::Command};

use daglight_otel_bridge::{Bridge, names::span};
use daglight_run_bundle::DeliveryCounts;
use opentelemetry::{
    logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _},
    trace::TraceId,
};
use opentelemetry_proto::tonic::collector::{
    logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse},
    metrics::v1::{ExportMetricsPartialSuccess, ExportMetricsServiceResponse},
    trace::v1::{ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse},
};
use prost::Message;

use crate::{
    grpc_server::{Answer, grpc_server},
    otlp::{OK, answer, scripted_server, server},
    support::{TIMEOUT, TestRun, bridge, counts},
};

const TAKEN: Answer = Answer::Message(Vec::new());
const UNAVAILABLE: Answer = Answer::Status(14, "busy");

/// What becomes of 10 spans over gRPC, and how many requests that took.
#[track_caller]
fn check_spans(answers: Vec<Answer>, expected: DeliveryCounts, requests: usize) -> Vec<String> {
    let (endpoint, received) = grpc_server(answers);
    let bridge = bridge([
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &endpoint),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "60000"),
    ]);
    let run = TestRun::open(&bridge, "t");
    (0..10).for_each(|_| run.signals.span(span::EXECUTE).start().end());
    let ledgers = run.finish();
    assert_eq!(ledgers.traces.otlp, Some(expected), "{ledgers:?}");
    assert_eq!(received.try_iter().count(), requests);
    ledgers.warnings()
}

fn all() -> DeliveryCounts {
    counts(10, 10, 0)
}

fn none() -> DeliveryCounts {
    counts(10, 0, 10)
}

#[test]
fn what_may_pass_over_grpc_is_sent_again() {
    check_spans(vec![TAKEN], all(), 1);
    check_spans(vec![UNAVAILABLE, UNAVAILABLE, TAKEN], all(), 3);
    let warnings = check_spans(vec![UNAVAILABLE], none(), 4);
    assert!(warnings.concat().contains("answered gRPC Unavailable: busy"), "{warnings:?}");
}

#[test]
fn what_is_refused_over_grpc_says_why_and_shows_no_credential() {
    let warnings = check_spans(vec![Answer::Status(7, "token=hunter2 is not known")], none(), 1);
    let said = warnings.last().unwrap();
    assert!(said.ends_with("answered gRPC PermissionDenied: token=[redacted] is not known"), "{said}");
}

#[test]
fn what_is_rejected_over_grpc_has_failed() {
    let partial = ExportTracePartialSuccess { rejected_spans: 3, error_message: "too old".to_owned() };
    let message = ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec();
    let some = counts(10, 7, 3);
    let warnings = check_spans(vec![Answer::Message(message)], some, 1);
    assert_eq!(warnings.last().unwrap(), "OTLP export: the endpoint rejected 3 of 10 spans: too old");

    let partial = ExportTracePartialSuccess { rejected_spans: -1, error_message: "slow down".to_owned() };
    let message = ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec();
    check_spans(vec![Answer::Message(message)], all(), 1);
}

fn log(bridge: &Bridge, body: Option<&'static str>) {
    let logger = bridge.logger_provider().logger("program");
    let mut record = logger.create_log_record();
    if let Some(body) = body {
        record.set_body(AnyValue::from(body));
    }
    logger.emit(record);
}

#[test]
fn log_records_that_are_rejected_over_grpc_have_failed() {
    let partial = ExportLogsPartialSuccess { rejected_log_records: 2, error_message: String::new() };
    let message = ExportLogsServiceResponse { partial_success: Some(partial) }.encode_to_vec();
    let (endpoint, _requests) = grpc_server(vec![Answer::Message(message)]);
    let bridge =
        bridge([("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", &endpoint), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]);
    (0..3).for_each(|_| log(&bridge, Some("hello")));
    let logs = bridge.shutdown(TIMEOUT).logs.otlp.unwrap();
    assert_eq!(logs, counts(3, 1, 2));
}

#[test]
fn a_log_record_without_a_body_has_an_empty_one_in_json() {
    let (endpoint, requests) = server(Some(OK));
    let bridge = bridge([
        ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", &format!("{endpoint}/v1/logs")),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
    ]);
    log(&bridge, None);
    assert_eq!(bridge.shutdown(TIMEOUT).logs.otlp.unwrap().delivered, 1);
    let body: serde_json::Value = serde_json::from_slice(&requests.try_recv().unwrap().body).unwrap();
    let record = &body["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0];
    assert!(record["body"].is_object(), "{record}");
}

/// The requests of a run whose metrics name a stage that looks like a credential.
#[track_caller]
fn check_metrics(endpoint: &str, protocol: &str, received: impl Fn() -> Vec<Vec<u8>>) {
    let bridge = bridge([
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", endpoint),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
    ]);
    let run = TestRun::open(&bridge, "t");
    run.signals.span(span::STAGE).stage("token=hunter2secret").start().end();
    run.finish();
    let metrics = bridge.shutdown(TIMEOUT).metrics.otlp.unwrap();
    assert!(metrics.is_complete() && metrics.produced > 0, "{protocol}: {metrics:?}");
    let sent: Vec<u8> = received().concat();
    let sent = String::from_utf8_lossy(&sent);
    assert!(sent.contains("token=[redacted]") && !sent.contains("hunter2secret"), "{protocol}: {sent}");
}

#[test]
fn metrics_that_have_not_changed_are_sent_once_at_the_end() {
    let (endpoint, requests) = server(Some(OK));
    let bridge = bridge([
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", &format!("{endpoint}/v1/metrics")),
        ("OTEL_METRIC_EXPORT_INTERVAL", "3600000"),
    ]);
    let run = |dag| {
        let run = TestRun::open(&bridge, dag);
        run.signals.metrics().artifact("parquet");
        run.finish();
    };
    run("first");
    assert_eq!(requests.try_iter().count(), 1);
    run("second");
    let metrics = bridge.shutdown(TIMEOUT).metrics.otlp.unwrap();
    assert_eq!(requests.try_iter().count(), 1, "the end of the second run, and not that of the bridge");
    assert!(metrics.is_complete() && metrics.produced > 0, "{metrics:?}");
}

#[test]
fn metrics_pass_the_door_over_every_protocol() {
    for protocol in ["http/protobuf", "http/json"] {
        let (endpoint, requests) = server(Some(OK));
        let bodies = || requests.try_iter().map(|request| request.body).collect();
        check_metrics(&format!("{endpoint}/v1/metrics"), protocol, bodies);
    }
    let (endpoint, requests) = grpc_server(vec![TAKEN]);
    check_metrics(&endpoint, "grpc", || requests.try_iter().map(|request| request.message).collect());
}

/// Whether the metrics of a run name the trace of the span that they measured.
fn name_the_trace(protocol: &str, sampler: &str, filter: &str) -> bool {
    let (http, over_http) = server(Some(OK));
    let (grpc, over_grpc) = grpc_server(vec![TAKEN]);
    let endpoint = if protocol == "grpc" { grpc } else { format!("{http}/v1/metrics") };
    let bridge = bridge([
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", &endpoint),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        ("OTEL_TRACES_SAMPLER", sampler),
        ("OTEL_METRICS_EXEMPLAR_FILTER", filter),
    ]);
    let run = TestRun::open(&bridge, "t");
    let span = run.signals.span(span::EXECUTE).start();
    let trace_id = span.trace_id();
    span.end();
    run.finish();
    bridge.shutdown(TIMEOUT);
    let bodies = over_http.try_iter().map(|request| request.body);
    let sent = bodies.chain(over_grpc.try_iter().map(|request| request.message)).collect::<Vec<_>>().concat();
    assert!(!sent.is_empty());
    let bytes = TraceId::from_hex(&trace_id).unwrap().to_bytes();
    let id: &[u8] = if protocol == "http/json" { trace_id.as_bytes() } else { &bytes };
    sent.windows(id.len()).any(|part| part == id)
}

#[test]
fn metrics_name_the_traces_that_are_exported_over_every_protocol() {
    for protocol in ["http/protobuf", "http/json", "grpc"] {
        assert!(name_the_trace(protocol, "always_on", ""), "{protocol}");
        assert!(name_the_trace(protocol, "always_off", "always_on"), "{protocol}");
        assert!(!name_the_trace(protocol, "always_off", "trace_based"), "{protocol}");
        assert!(!name_the_trace(protocol, "always_on", "always_off"), "{protocol}");
    }
}

#[test]
fn data_points_that_are_rejected_have_failed() {
    let partial = ExportMetricsPartialSuccess { rejected_data_points: 1, error_message: "too old".into() };
    let message = ExportMetricsServiceResponse { partial_success: Some(partial) }.encode_to_vec();
    let over_http = scripted_server(vec![answer("application/x-protobuf", &message)]).0;
    let over_grpc = grpc_server(vec![Answer::Message(message)]).0;
    for (endpoint, protocol) in [(over_http, "http/protobuf"), (over_grpc, "grpc")] {
        let bridge = bridge([
            ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", &endpoint),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        ]);
        let run = TestRun::open(&bridge, "t");
        run.signals.span(span::STAGE).stage("write").start().end();
        run.finish();
        let metrics = bridge.shutdown(TIMEOUT).metrics.otlp.unwrap();
        assert!(
            metrics.dropped_for(DeliveryCounts::FAILED) > 0 && metrics.waiting == 0,
            "{protocol}: {metrics:?}"
        );
        assert_eq!(
            metrics.delivered + metrics.dropped_for(DeliveryCounts::FAILED),
            metrics.produced,
            "{protocol}: {metrics:?}"
        );
    }
}

#[test]
fn spans_and_records_are_whole_over_grpc_with_their_headers() {
    let (endpoint, requests) = grpc_server(vec![TAKEN]);
    let bridge = bridge([
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20abc"),
        ("OTEL_METRICS_EXPORTER", "none"),
    ]);
    let run = TestRun::open(&bridge, "t");
    run.signals.root().end();
    log(&bridge, Some("hello"));
    run.finish();
    bridge.shutdown(TIMEOUT);
    let requests: Vec<_> = requests.try_iter().collect();
    assert_eq!(requests.len(), 2);
    for request in &requests {
        let authorizations: Vec<_> = request.headers.get_all("authorization").iter().collect();
        assert_eq!(authorizations, ["Basic abc"]);
        let agents: Vec<_> = request.headers.get_all("user-agent").iter().collect();
        assert!(agents.len() == 1 && agents[0].to_str().unwrap().starts_with("daglight/"), "{agents:?}");
    }
    let traces: Vec<_> = requests
        .iter()
        .filter_map(|request| ExportTraceServiceRequest::decode(&*request.message).ok())
        .flat_map(|traces| traces.resource_spans)
        .flat_map(|resource| resource.scope_spans)
        .flat_map(|scope| scope.spans)
        .filter(|traced| traced.name == span::PIPELINE_EXECUTE)
        .collect();
    assert_eq!(traces.len(), 1);
    let is_hello = |request: &ExportLogsServiceRequest| format!("{request:?}").contains("hello");
    let logs = requests.iter().filter_map(|request| ExportLogsServiceRequest::decode(&*request.message).ok());
    assert!(logs.into_iter().any(|request| is_hello(&request)));
}

/// The exporters read variables of the process by themselves; only those that the bridge was given may count. Variables are
/// set for a process, so the test starts itself again with some.
#[test]
fn variables_of_the_process_do_not_count_beside_those_of_the_bridge() {
    const NAME: &str = "exporters::variables_of_the_process_do_not_count_beside_those_of_the_bridge";
    if env::var_os("OTEL_EXPORTER_OTLP_HEADERS").is_none() {
        let status = Command::new(env::current_exe().unwrap())
            .args(["--exact", NAME])
            .env("OTEL_EXPORTER_OTLP_HEADERS", "x-stray=hunter2")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
            .env("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
            .env("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
            .status();
        assert!(status.unwrap().success());
        return;
    }
    let (endpoint, requests) = server(Some(OK));
    let over_http = bridge([("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]);
    let (endpoint, grpc_requests) = grpc_server(vec![TAKEN]);
    let over_grpc =
        bridge([("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]);
    for bridge in [over_http, over_grpc] {
        let run = TestRun::open(&bridge, "t");
        run.signals.span(span::STAGE).stage("write").start().end();
        assert_eq!(run.finish().traces.otlp.unwrap().delivered, 1);
        log(&bridge, Some("hello"));
        let outside = bridge.shutdown(TIMEOUT);
        assert!(outside.logs.otlp.unwrap().is_complete() && outside.metrics.otlp.unwrap().is_complete());
    }
    let heads: Vec<String> = requests.try_iter().map(|request| request.head).collect();
    assert!(heads.len() >= 3, "{heads:?}");
    for head in heads {
        assert!(!head.contains("x-stray") && !head.contains("content-encoding"), "{head}");
        assert!(head.contains("content-type: application/x-protobuf"), "{head}");
    }
    let requests: Vec<_> = grpc_requests.try_iter().collect();
    assert!(requests.len() >= 3);
    assert!(requests.iter().all(|request| !request.headers.contains_key("x-stray")));
}
