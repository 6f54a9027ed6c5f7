//! Endpoints that refuse, hang, or take what they get.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use daglight_capture_policy::Redactor;
use daglight_otel_bridge::{ReplayError, Replayed, SendError, Signal, SignalFiles, names::span, replay};
use daglight_run_bundle::DeliveryCounts;
use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest,
    trace::v1::{ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse},
};
use prost::Message as _;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::support::{TIMEOUT, TestRun, bridge, counts, one_subscriber_at_a_time, variables};

/// The address of a port that nobody listens on.
fn refusing() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// A request as it came in.
pub(crate) struct Request {
    path: String,
    /// The whole head, in lower case.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// A server that reads requests and gives each the answer that `answer` says, or none at all.
pub(crate) fn server(answer: Option<&'static str>) -> (String, Receiver<Request>) {
    scripted_server(answer.map(|answer| answer.as_bytes().to_vec()).into_iter().collect())
}

/// A server that gives each request the next answer, and all later ones the last.
pub(crate) fn scripted_server(answers: Vec<Vec<u8>>) -> (String, Receiver<Request>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (sender, requests) = mpsc::channel();
    let script = Arc::new((answers, AtomicUsize::new(0)));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, sender, script) = (stream.unwrap(), sender.clone(), Arc::clone(&script));
            let next = move || {
                let turn = script.1.fetch_add(1, Ordering::Relaxed);
                script.0.get(turn).or(script.0.last()).cloned()
            };
            thread::spawn(move || serve(stream, next, &sender));
        }
    });
    (address, requests)
}

fn serve(mut stream: TcpStream, answer: impl Fn() -> Option<Vec<u8>>, requests: &Sender<Request>) {
    let mut received = Vec::new();
    let mut buffer = [0; 65_536];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(size) => received.extend_from_slice(&buffer[..size]),
        }
        while let Some(request) = take_request(&mut received) {
            // Nobody may be there any more to look at it.
            let _ = requests.send(request);
            if let Some(answer) = answer() {
                stream.write_all(&answer).unwrap();
            }
        }
    }
}

/// The first request, when all of it is there.
fn take_request(received: &mut Vec<u8>) -> Option<Request> {
    let head_size = received.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&received[..head_size]).to_ascii_lowercase();
    let body_size = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let size = head_size + body_size.unwrap_or(0);
    if received.len() < size {
        return None;
    }
    let request: Vec<u8> = received.drain(..size).collect();
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    Some(Request { path, head, body: request[head_size..].to_vec() })
}

/// `limit` is what the run's end and the bridge's each may take.
fn failed(otlp: &DeliveryCounts) -> bool {
    otlp.dropped_for(DeliveryCounts::FAILED) == 10
}

#[track_caller]
fn check(
    endpoint: &str,
    protocol: &str,
    limit: Duration,
    spans: u64,
    expected: impl Fn(&DeliveryCounts) -> bool,
) {
    let bridge =
        bridge([("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint), ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)]);
    assert_eq!(bridge.warnings(), Vec::<String>::new());
    assert!(Signal::ALL.into_iter().all(|signal| bridge.exports(signal)));
    let run = TestRun::open(&bridge, "t");
    (0..spans).for_each(|_| run.signals.span(span::EXECUTE).start().end());
    assert!(run.signals.flush_files(TIMEOUT));
    let started = Instant::now();
    let ledgers = run.signals.finish(limit);
    assert_eq!(ledgers.traces.bundle, counts(spans, spans, 0));
    let otlp = ledgers.traces.otlp.clone().unwrap();
    assert_eq!(otlp.produced, spans);
    assert!(expected(&otlp), "{otlp:?}");
    assert_eq!(otlp.is_complete(), ledgers.warnings().is_empty(), "{ledgers:?}");
    bridge.shutdown(limit);
    // Far less than the requests of three signals may take, and far more than a busy machine adds.
    let allowed = 2 * limit + Duration::from_secs(10);
    assert!(started.elapsed() < allowed, "{:?} is more than {allowed:?}", started.elapsed());
}

pub(crate) const OK: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
const BAD_REQUEST: &str = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";

#[test]
fn what_arrives_is_exported() {
    check(&server(Some(OK)).0, "http/protobuf", TIMEOUT, 1_000, |otlp| otlp.delivered == 1_000);
}

#[test]
fn what_is_refused_has_failed() {
    check(&server(Some(BAD_REQUEST)).0, "http/protobuf", TIMEOUT, 10, failed);
    check(&refusing(), "http/protobuf", TIMEOUT, 10, failed);
    check(&refusing(), "grpc", TIMEOUT, 10, failed);
}

/// An answer with a body.
pub(crate) fn answer(content_type: &str, body: &[u8]) -> Vec<u8> {
    let size = body.len();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {size}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

const UNAVAILABLE: &str = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n";

/// What becomes of 10 spans, and how many requests that took.
#[track_caller]
fn check_spans(
    protocol: &str,
    answers: Vec<Vec<u8>>,
    expected: &DeliveryCounts,
    requests: usize,
) -> Vec<String> {
    let (endpoint, received) = scripted_server(answers);
    let bridge = bridge([
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &format!("{endpoint}/v1/traces")),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-api=zqmk-key,x-scope-orgid=zqmk%20org"),
    ]);
    let run = TestRun::open(&bridge, "t");
    (0..10).for_each(|_| run.signals.span(span::EXECUTE).start().end());
    let ledgers = run.finish();
    assert_eq!(ledgers.traces.otlp.as_ref(), Some(expected));
    assert_eq!(received.try_iter().count(), requests);
    ledgers.warnings()
}

#[test]
fn what_may_pass_is_sent_again() {
    let later = UNAVAILABLE.as_bytes().to_vec();
    let all = counts(10, 10, 0);
    check_spans("http/protobuf", vec![later.clone(), later.clone(), OK.into()], &all, 3);
    let none = counts(10, 0, 10);
    let warnings = check_spans("http/protobuf", vec![later], &none, 4);
    assert!(warnings.concat().contains("answered 503 Service Unavailable"), "{warnings:?}");
    check_spans("http/protobuf", vec![BAD_REQUEST.into()], &none, 1);
}

#[test]
fn what_is_rejected_of_a_request_that_is_taken_has_failed() {
    let partial = ExportTracePartialSuccess { rejected_spans: 3, error_message: "too old".to_owned() };
    let protobuf = ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec();
    let json = br#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"too old"}}"#;
    let some = counts(10, 7, 3);
    let answers = [
        ("http/protobuf", answer("application/x-protobuf", &protobuf)),
        ("http/json", answer("application/json", json)),
    ];
    for (protocol, answer) in answers {
        let warnings = check_spans(protocol, vec![answer], &some, 1);
        assert_eq!(warnings.last().unwrap(), "OTLP export: the endpoint rejected 3 of 10 spans: too old");
    }
}

#[test]
fn what_an_endpoint_says_is_shown_short_and_without_credentials() {
    let reason = format!("token=hunter2 {}", "x".repeat(100_000));
    let partial = ExportTracePartialSuccess { rejected_spans: 99, error_message: reason };
    let body = ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec();
    let none = counts(10, 0, 10);
    let rejecting = answer("application/x-protobuf", &body);
    let refusing = "HTTP/1.1 403 Forbidden\r\ncontent-length: 13\r\n\r\ntoken=hunter2";
    for answer in [rejecting, refusing.into()] {
        let warnings = check_spans("http/protobuf", vec![answer], &none, 1);
        let said = warnings.last().unwrap();
        assert!(said.contains("token=[redacted]") && said.len() < 400, "{said}");
    }
}

#[test]
fn an_endpoint_cannot_have_the_headers_shown_that_it_was_sent() {
    let none = counts(10, 0, 10);
    let said = "you sent zqmk-key and zqmk org";
    let length = said.len();
    let refused = format!("HTTP/1.1 403 Forbidden\r\ncontent-length: {length}\r\n\r\n{said}");
    let page = format!("HTTP/1.1 200 OK\r\ncontent-type: zqmk-key\r\ncontent-length: {length}\r\n\r\n{said}");
    for answer in [refused, page] {
        let said = check_spans("http/protobuf", vec![answer.into()], &none, 1).concat();
        assert!(said.contains("[redacted]") && !said.contains("zqmk"), "{said}");
    }
}

#[test]
fn an_answer_without_an_end_is_not_read_to_it() {
    let mut endless = b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n".to_vec();
    endless.resize(4 << 20, 0);
    // What was read of it is not a message.
    let none = counts(10, 0, 10);
    check_spans("http/protobuf", vec![endless], &none, 1);
}

#[test]
fn the_page_of_a_login_has_taken_nothing() {
    let none = counts(10, 0, 10);
    let page = "<!doctype html><title>Sign in</title>";
    let length = page.len();
    let answer =
        format!("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {length}\r\n\r\n{page}");
    for protocol in ["http/protobuf", "http/json"] {
        let warnings = check_spans(protocol, vec![answer.clone().into()], &none, 1);
        assert!(warnings.concat().contains("text/html"), "{warnings:?}");
    }
}

#[test]
fn nothing_is_sent_to_where_an_endpoint_points() {
    let none = counts(10, 0, 10);
    let moved = "HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n";
    let warnings = check_spans("http/protobuf", vec![moved.into(), OK.into()], &none, 1);
    assert!(warnings.concat().contains("answered 302 Found"), "{warnings:?}");
}

#[test]
fn an_endpoint_cannot_ask_for_more_time_than_there_is() {
    let none = counts(10, 0, 10);
    let wait = format!("retry-after: {}", u64::MAX);
    let later = UNAVAILABLE.replace("retry-after: 0", &wait);
    check_spans("http/protobuf", vec![later.into()], &none, 1);
}

#[test]
fn timeouts_may_be_endless() {
    let (endpoint, _requests) = server(Some(OK));
    let bridge = bridge([("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]);
    let run = TestRun::open(&bridge, "t");
    run.signals.root().end();
    assert!(run.signals.flush_files(Duration::MAX));
    assert!(bridge.flush(Duration::MAX));
    assert_eq!(run.signals.finish(Duration::MAX).traces.otlp.unwrap().delivered, 1);
    bridge.shutdown(Duration::MAX);
}

#[test]
fn what_an_endpoint_does_not_answer_is_still_waiting() {
    check(&server(None).0, "http/protobuf", Duration::from_millis(300), 10, |otlp| otlp.waiting == 10);
    check(&server(None).0, "grpc", Duration::from_millis(300), 10, |otlp| otlp.waiting == 10);
}

#[test]
fn what_finds_no_room_is_dropped() {
    check(&server(None).0, "http/protobuf", Duration::from_millis(300), 10_000, |otlp| {
        otlp.dropped_for(DeliveryCounts::DROPPED) >= 7_000 && otlp.waiting >= 2_048
    });
}

#[tokio::test(flavor = "current_thread")]
async fn a_runtime_of_one_thread_is_not_needed_to_export() {
    for protocol in ["http/protobuf", "grpc"] {
        check(&refusing(), protocol, TIMEOUT, 10, failed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_may_be_started_and_dropped_inside_a_runtime() {
    check(&server(Some(OK)).0, "http/protobuf", TIMEOUT, 10, |otlp| otlp.delivered == 10);
    check(&refusing(), "grpc", TIMEOUT, 10, failed);
}

#[test]
fn an_endpoint_that_is_not_a_url_is_a_warning() {
    let bridge =
        bridge([("OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:pw@[bad"), ("OTEL_METRICS_EXPORTER", "none")]);
    let warnings = bridge.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with("OTEL_EXPORTER_OTLP_ENDPOINT="), "{warnings:?}");
    assert!(!warnings.concat().contains("me:pw"), "{warnings:?}");
    let run = TestRun::open(&bridge, "t");
    run.signals.root().end();
    assert_eq!(run.finish().traces.bundle.delivered, 1);
}

#[test]
fn a_header_that_cannot_be_sent_is_a_warning() {
    for protocol in ["http/protobuf", "grpc"] {
        let bridge = bridge([
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:1"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-a=1,two words=hunter2"),
        ]);
        let expected =
            "traces are not exported: the name or the value of the header \"two words\" cannot be sent";
        assert_eq!(bridge.warnings(), [expected]);
        assert!(!bridge.exports(Signal::Traces));
    }
}

#[test]
fn a_file_without_certificates_is_a_warning_that_names_file_and_variable() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    let shown = file.to_str().unwrap();
    let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let pair = ["OTEL_EXPORTER_OTLP_CLIENT_KEY", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"];
    for (variables, content, problem) in [
        (&["OTEL_EXPORTER_OTLP_CERTIFICATE"][..], "not one", "it has no certificate"),
        (&["OTEL_EXPORTER_OTLP_LOGS_CERTIFICATE"], key, "it has a private key: expected a certificate"),
        (&["OTEL_EXPORTER_OTLP_CERTIFICATE"], "0\u{0}", "it is binary"),
        (&["OTEL_EXPORTER_OTLP_CERTIFICATE"], &certificate[..40], "a section in it has no end"),
        (&["OTEL_EXPORTER_OTLP_CERTIFICATE"], certificate, "a certificate in it is damaged"),
        (&pair, certificate, "it has a certificate: expected a private key"),
        (&pair, key, "its private key is damaged"),
    ] {
        fs::write(&file, content).unwrap();
        for protocol in ["http/protobuf", "grpc"] {
            let named = variables.iter().map(|&variable| (variable, shown));
            let others = [
                ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "https://127.0.0.1:1"),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ];
            // Twice the same where there is only one.
            let named: Vec<(&str, &str)> = named.cycle().take(2).collect();
            let bridge = bridge([named[0], named[1], others[0], others[1]]);
            let warnings = bridge.warnings();
            let expected =
                format!("logs are not exported: {} names {shown}, which cannot be used", variables[0]);
            assert!(
                warnings.len() == 1 && warnings[0].starts_with(&expected) && warnings[0].contains(problem),
                "{warnings:?}"
            );
        }
    }
}

/// A run of two spans, a log record and a snapshot.
fn recorded_run() -> TestRun {
    let bridge = bridge([]);
    let run = TestRun::open(&bridge, "t");
    let root = run.signals.root();
    let one = one_subscriber_at_a_time();
    let subscriber = tracing_subscriber::registry().with(bridge.layer());
    tracing::subscriber::with_default(subscriber, || {
        let _inside = root.context().attach();
        tracing::info!("hello");
    });
    drop(one);
    run.signals.span(span::NODE).start().end();
    root.end();
    run.finish();
    run
}

#[tokio::test]
async fn a_bundle_can_be_sent_later() {
    let run = recorded_run();
    let files = SignalFiles::in_folder(run.folder.path());
    let (endpoint, requests) = server(Some(OK));
    let sent = replay(&files, &variables([("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]), &Redactor::default())
        .unwrap();
    assert_eq!((sent.spans.sent, sent.log_records.sent, &sent.reasons[..]), (2, 1, &[][..]));
    assert!(sent.data_points.sent > 0);
    let requests: Vec<Request> = requests.try_iter().collect();
    let paths: Vec<&str> = requests.iter().map(|request| request.path.as_str()).collect();
    assert_eq!(paths, ["/v1/traces", "/v1/metrics", "/v1/logs"]);
    let traces = ExportTraceServiceRequest::decode(&*requests[0].body).unwrap();
    let spans = &traces.resource_spans[0].scope_spans[0].spans;
    let logs = ExportLogsServiceRequest::decode(&*requests[2].body).unwrap();
    let record = &logs.resource_logs[0].scope_logs[0].log_records[0];
    assert_eq!((&record.trace_id, &record.span_id), (&spans[1].trace_id, &spans[1].span_id));
}

#[test]
fn what_cannot_be_sent_later_says_why() {
    let run = recorded_run();
    let files = SignalFiles::in_folder(run.folder.path());
    let error = |pairs| replay(&files, &variables(pairs), &Redactor::default()).unwrap_err();
    assert!(matches!(error([("A", "b"), ("C", "d")]), ReplayError::NoEndpoint { signal: Signal::Traces }));
    let (endpoint, requests) = server(Some(BAD_REQUEST));
    let of_traces = [("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", endpoint.as_str()), ("C", "d")];
    assert!(matches!(error(of_traces), ReplayError::NoEndpoint { signal: Signal::Metrics }));
    assert_eq!(requests.try_iter().count(), 0, "nothing is sent when not everything can be");
    let at = ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str());
    let refused = error([at, ("C", "d")]).to_string();
    assert_eq!(refused, format!("{endpoint}/v1/traces answered 400 Bad Request: "));
    let down = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1");
    let unreachable = error([down, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]);
    let ReplayError::Send(SendError::Unreachable { source, .. }) = unreachable else {
        panic!("{unreachable:?}")
    };
    let source = source.to_string();
    assert_eq!(source.matches("tcp connect error").count(), 1, "{source}");
    assert!(!source.contains("ConnectError("), "{source}");
    let nothing = SignalFiles::in_folder("/nowhere".as_ref());
    assert_eq!(replay(&nothing, &variables([at]), &Redactor::default()).unwrap(), Replayed::default());
}
