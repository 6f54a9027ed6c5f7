//! The cost of exporting spans with every answer counted, compared with the plain exporters of `opentelemetry-otlp`: to an endpoint
//! in this process that accepts everything, over HTTP and over gRPC.
//!
//! `cargo bench -p daglight-otel-bridge --bench exporters`. The figures are from one machine at one moment: compare only the
//! ratios.

#![expect(clippy::unwrap_used, reason = "a bench ends at its first surprise")]

use std::{
    collections::BTreeMap,
    hint::black_box,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bench_ratios::Ratio;
use daglight_http_transport::{Trust, build, client_builder};
use daglight_otel_bridge::{Bridge, BridgeConfig};
use opentelemetry::{
    KeyValue,
    trace::{Span as _, Tracer, TracerProvider as _},
};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider};
use reqwest::blocking::Client;

#[path = "../tests/it/grpc_server.rs"]
#[expect(dead_code, reason = "the tests look at more of the requests")]
mod grpc_server;

const ROUNDS: usize = 5;
const SPANS: u32 = 50_000;
/// More than a round creates, so that nothing is dropped and all rounds export the same.
const QUEUE: usize = 60_000;
const TIMEOUT: Duration = Duration::from_secs(60);

/// How long a round took: for the thread that created the spans, and until the endpoint had received them.
#[derive(Debug, Clone, Copy)]
struct Took {
    caller: Duration,
    all: Duration,
}

fn main() {
    let http = http_endpoint();
    let (grpc, requests) = grpc_server::grpc_server(vec![grpc_server::Answer::Message(Vec::new())]);
    // Discarded, so that they do not pile up.
    thread::spawn(move || requests.into_iter().for_each(|request| drop(black_box(request))));
    println!("{:<34}{:>10}{:>12}{:>8}", "exporting 50,000 spans", "ns/span", "spans/s", "ratio");

    let bare = with_bare(bare_http(&http));
    show("HTTP, bare exporter", bare, bare);
    say("HTTP, every answer counted", with_bridge(&http, "http/protobuf"), bare);

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    // The channel of the plain exporter lives on the runtime in which it was created.
    let entered = runtime.enter();
    let bare = with_bare(SpanExporter::builder().with_tonic().with_endpoint(&grpc).build().unwrap());
    drop(entered);
    show("gRPC, bare exporter", bare, bare);
    say("gRPC, every answer counted", with_bridge(&grpc, "grpc"), bare);
}

fn show(name: &str, took: Took, bare: Took) {
    let per_span = took.caller.as_nanos() / u128::from(SPANS);
    let per_second = f64::from(SPANS) / took.all.as_secs_f64();
    let ratio = bare.all.as_secs_f64() / took.all.as_secs_f64();
    println!("{name:<34}{per_span:>10}{per_second:>12.0}{ratio:>8.2}");
}

/// Compares the exporter that counts with one that does not.
fn say(name: &str, took: Took, bare: Took) {
    show(name, took, bare);
    let ratio = took.all.as_secs_f64() / bare.all.as_secs_f64();
    Ratio::new("exporters", format!("{name}, beside the bare exporter"), ratio).say().unwrap();
}

fn with_bare(exporter: SpanExporter) -> Took {
    let config = BatchConfigBuilder::default().with_max_queue_size(QUEUE).build();
    let processor = BatchSpanProcessor::builder(exporter).with_batch_config(config).build();
    let provider = SdkTracerProvider::builder().with_span_processor(processor).build();
    let took = best_of(&provider.tracer("bench"), || assert!(provider.force_flush().is_ok()));
    provider.shutdown().unwrap();
    took
}

fn with_bridge(endpoint: &str, protocol: &str) -> Took {
    let environment: BTreeMap<String, String> = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        ("OTEL_METRICS_EXPORTER", "none"),
        ("OTEL_LOGS_EXPORTER", "none"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", &QUEUE.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let bridge = Bridge::start(BridgeConfig { environment, ..BridgeConfig::new("bench") });
    assert_eq!(bridge.warnings(), Vec::<String>::new());
    let took = best_of(&bridge.tracer_provider().tracer("bench"), || assert!(bridge.flush(TIMEOUT)));
    let counts = bridge.shutdown(TIMEOUT).traces.otlp.unwrap();
    assert!(counts.is_complete() && counts.produced >= u64::from(SPANS), "{counts:?}");
    took
}

/// The fastest round.
fn best_of(tracer: &impl Tracer, flush: impl Fn()) -> Took {
    let round = || {
        let started = Instant::now();
        for _ in 0..SPANS {
            let attributes = [KeyValue::new("stage", "write"), KeyValue::new("node", "n")];
            let mut span = tracer.span_builder("bench").with_attributes(attributes).start(tracer);
            span.set_attribute(KeyValue::new("row_count", 7));
            span.end();
            black_box(&span);
        }
        let caller = started.elapsed();
        flush();
        Took { caller, all: started.elapsed() }
    };
    (0..ROUNDS).map(|_| round()).min_by_key(|took| took.all).unwrap()
}

/// The exporter as a program without the bridge would configure it.
fn bare_http(endpoint: &str) -> SpanExporter {
    // A blocking client, because the SDK's batch processor has its own thread and no runtime.
    let url = endpoint.parse().unwrap();
    let client = build(client_builder(&url, &Trust::System, None).unwrap()).unwrap();
    SpanExporter::builder()
        .with_http()
        .with_http_client(PlainClient(Arc::new(client)))
        .with_endpoint(format!("{endpoint}/v1/traces"))
        .with_protocol(Protocol::HttpBinary)
        .build()
        .unwrap()
}

#[derive(Debug)]
struct PlainClient(Arc<Client>);

#[async_trait]
impl HttpClient for PlainClient {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (head, body) = request.into_parts();
        let answer = self.0.post(head.uri.to_string()).headers(head.headers).body(body).send()?;
        let mut response = Response::builder().status(answer.status());
        *response.headers_mut().ok_or("the status is valid")? = answer.headers().clone();
        Ok(response.body(answer.bytes()?)?)
    }
}

/// An endpoint that reads each request to its end and accepts all of it.
fn http_endpoint() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || serve(stream.unwrap()));
        }
    });
    address
}

fn serve(mut stream: TcpStream) {
    const ANSWER: &[u8] =
        b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";
    let (mut received, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(size) => received.extend_from_slice(&buffer[..size]),
        }
        while let Some(size) = request_size(&received).filter(|size| *size <= received.len()) {
            received.drain(..size);
            if stream.write_all(ANSWER).is_err() {
                return;
            }
        }
    }
}

/// The size of head and body of the first request, once its head is complete.
fn request_size(received: &[u8]) -> Option<usize> {
    let head = received.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&received[..head]).to_ascii_lowercase();
    let body: Option<usize> =
        text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    Some(head + body.unwrap_or(0))
}
