//! What a span of a run costs the thread that makes it, beside a span of the bare OpenTelemetry SDK.
//!
//! `cargo bench -p daglight-otel-bridge`. Figures are of one machine at one moment: read the ratios.

use std::{
    collections::BTreeMap,
    hint::black_box,
    time::{Duration, Instant},
};

use daglight_otel_bridge::{
    Bridge, BridgeConfig, RunScope, RunSignals, SignalFiles,
    names::{Key, span},
};
use daglight_run_identity::RunId;
use opentelemetry::{
    Context, KeyValue,
    trace::{Span as _, Tracer as _, TracerProvider as _},
};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{Sampler, SdkTracer, SdkTracerProvider, SpanData, SpanExporter},
};
use tempfile::TempDir;

const ROUNDS: usize = 5;
const SPANS: u32 = 20_000;
/// Few enough for the queues to hold them, so that the caller's side is measured and not the disk's.
const BURST: u32 = 500;

#[derive(Debug)]
struct NoExporter;

impl SpanExporter for NoExporter {
    async fn export(&self, _batch: Vec<SpanData>) -> OTelSdkResult {
        Ok(())
    }
}

fn main() {
    let provider = SdkTracerProvider::builder().with_batch_exporter(NoExporter).build();
    let sdk = provider.tracer("bench");
    let off = SdkTracerProvider::builder().with_sampler(Sampler::AlwaysOff).build().tracer("bench");
    let folder = TempDir::new().expect("a temporary folder");
    let config = BridgeConfig { environment: BTreeMap::new(), ..BridgeConfig::new("bench") };
    let bridge = Bridge::start(config);
    let files = SignalFiles::in_folder(folder.path());
    let dag_name = "bench".try_into().expect("a name");
    let signals = bridge.open_run(RunScope::new(RunId::new(), dag_name, files, folder.path()));
    let root = signals.root();

    let bare = best_of(|| bare_span(&sdk));
    println!("{:<34}{:>10}{:>10}", "a span with 4 attributes", "ns", "ratio");
    let show = |name: &str, time: Duration| {
        let ratio = time.as_secs_f64() / bare.as_secs_f64();
        println!("{name:<34}{:>10}{ratio:>10.2}", time.as_nanos());
    };
    show("SDK, batch processor", bare);
    show("SDK, sampled out", best_of(|| bare_span(&off)));
    show("run span, files and metrics", best_of(|| run_span(&signals, &root.context())));

    let started = Instant::now();
    (0..SPANS).for_each(|_| run_span(&signals, &root.context()));
    signals.flush_files(Duration::from_secs(60));
    show("run span, sustained to the disk", started.elapsed() / SPANS);
    root.end();
    let ledgers = signals.finish(Duration::from_secs(60));
    assert!(ledgers.traces.bundle.is_complete(), "{ledgers:?}");
}

fn bare_span(tracer: &SdkTracer) {
    let mut span = tracer
        .span_builder("bench")
        .with_attributes([KeyValue::new("stage", "write"), KeyValue::new("node", "n")])
        .start(tracer);
    span.set_attribute(KeyValue::new("row_count", 7));
    span.set_attribute(KeyValue::new("status", "ok"));
    span.end();
    black_box(&span);
}

fn run_span(signals: &RunSignals, parent: &Context) {
    let span = signals.span(span::WRITE).parent(parent).stage("write").attribute(Key::Table, "n").start();
    span.row_count(7);
    span.end();
}

/// The time of one call, in the best of some rounds.
fn best_of(mut call: impl FnMut()) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let mut round = Duration::ZERO;
        for _ in 0..SPANS / BURST {
            let started = Instant::now();
            (0..BURST).for_each(|_| call());
            round += started.elapsed();
            std::thread::sleep(Duration::from_millis(20));
        }
        best = best.min(round / SPANS);
    }
    best
}
