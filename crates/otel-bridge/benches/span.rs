//! The cost of a span of a run for the thread that creates it, compared with a span of the plain OpenTelemetry SDK.
//!
//! `cargo bench -p daglight-otel-bridge`. The figures are from one machine at one moment: compare only the ratios.

use std::{
    collections::BTreeMap,
    hint::black_box,
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bench_ratios::Ratio;
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
use tracing_subscriber::{layer::SubscriberExt as _, registry};

const ROUNDS: usize = 5;
const SPANS: u32 = 20_000;
/// Few enough to fit into the queues, so that the cost of the caller is measured and not that of the disk.
const BURST: u32 = 500;
const SUSTAINED: u32 = 200_000;
const BURST_OF_ALL: u32 = 100_000;
const THREADS: u32 = 4;

#[derive(Debug)]
struct NoExporter;

impl SpanExporter for NoExporter {
    async fn export(&self, _batch: Vec<SpanData>) -> OTelSdkResult {
        Ok(())
    }
}

fn main() -> io::Result<()> {
    let provider = SdkTracerProvider::builder().with_batch_exporter(NoExporter).build();
    let sdk = provider.tracer("bench");
    let off = SdkTracerProvider::builder().with_sampler(Sampler::AlwaysOff).build().tracer("bench");
    let folder = TempDir::new().expect("a temporary folder");
    let config = BridgeConfig { environment: BTreeMap::new(), ..BridgeConfig::new("bench") };
    let bridge = Bridge::start(config);
    let signals = open_run(&bridge, folder.path());
    let root = signals.root();

    let bare = best_of(|| bare_span(&sdk));
    println!("{:<34}{:>10}{:>10}", "a span with 4 attributes", "ns", "ratio");
    let show = |name: &str, time: Duration| {
        let ratio = time.as_secs_f64() / bare.as_secs_f64();
        println!("{name:<34}{:>10}{ratio:>10.2}", time.as_nanos());
    };
    show("SDK, batch processor", bare);
    show("SDK, sampled out", best_of(|| bare_span(&off)));
    let say = |name: &str, time: Duration, target: f64| {
        show(name, time);
        let ratio = time.as_secs_f64() / bare.as_secs_f64();
        Ratio::new("span", format!("{name}, beside the SDK"), ratio).target(target).say()
    };
    say("run span, files and metrics", best_of(|| run_span(&signals, &root.context())), 3.0)?;
    everything_on(|time| say("run span, files, metrics and OTLP", time, 3.0))?;
    nothing_on(&bridge, |time| show("run span, no file can be made", time));
    tracing::subscriber::with_default(registry().with(bridge.layer()), || {
        let _inside = root.context().attach();
        show("tracing span in a run", best_of(tracing_span));
        show("tracing span, filtered out", best_of(filtered_span));
    });
    sustained_and_burst(&sdk, &bridge, &signals, &root.context())?;
    root.end();
    let ledgers = signals.finish(Duration::from_secs(60));
    assert!(ledgers.traces.bundle.is_complete(), "{ledgers:?}");
    Ok(())
}

/// With an unreachable endpoint: the caller does the same work, and the queue accepts all spans of the bench.
fn everything_on<T>(show: impl FnOnce(Duration) -> T) -> T {
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "200000"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000"),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let bridge = Bridge::start(BridgeConfig { environment, ..BridgeConfig::new("bench") });
    let folder = TempDir::new().expect("a temporary folder");
    let signals = open_run(&bridge, folder.path());
    let root = signals.root();
    let shown = show(best_of(|| run_span(&signals, &root.context())));
    root.end();
    bridge.shutdown(Duration::from_secs(1));
    shown
}

/// In a folder that does not exist.
fn nothing_on(bridge: &Bridge, show: impl FnOnce(Duration)) {
    let folder = TempDir::new().expect("a temporary folder");
    let signals = open_run(bridge, &folder.path().join("nowhere"));
    let root = signals.root();
    show(best_of(|| run_span(&signals, &root.context())));
}

/// More spans than the queues hold: how fast they are processed, and how many.
fn sustained_and_burst(
    sdk: &SdkTracer,
    bridge: &Bridge,
    signals: &RunSignals,
    parent: &Context,
) -> io::Result<()> {
    let per_second = |spans: u32, time: Duration| f64::from(spans) / time.as_secs_f64();
    let started = Instant::now();
    (0..SUSTAINED).for_each(|_| bare_span(sdk));
    let bare = per_second(SUSTAINED, started.elapsed());
    let started = Instant::now();
    (0..SUSTAINED).for_each(|_| run_span(signals, parent));
    signals.flush_files(Duration::from_secs(60));
    let sustained = per_second(SUSTAINED, started.elapsed());
    println!("\n{:<34}{:>10}{:>10}", "sustained, one thread", "spans/s", "ratio");
    println!("{:<34}{bare:>10.0}{:>10.2}", "SDK, into an exporter of nothing", 1.0);
    println!("{:<34}{sustained:>10.0}{:>10.2}", "run spans, into the bundle", sustained / bare);
    Ratio::new("span", "200,000 spans into the bundle, beside the SDK into nothing", bare / sustained)
        .say()?;

    let exported = Arc::new(AtomicU64::new(0));
    let slow = SlowExporter(Arc::clone(&exported));
    let provider = SdkTracerProvider::builder().with_batch_exporter(slow).build();
    let tracer = provider.tracer("bench");
    let burst = |call: &(dyn Fn() + Sync)| {
        let started = Instant::now();
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| (0..BURST_OF_ALL / THREADS).for_each(|_| call()));
            }
        });
        started.elapsed()
    };
    let bare = burst(&|| bare_span(&tracer));
    let _ = provider.shutdown();
    let folder = TempDir::new().expect("a temporary folder");
    let signals = open_run(bridge, folder.path());
    let root = signals.root();
    let run = burst(&|| run_span(&signals, &root.context()));
    let kept = signals.finish(Duration::from_secs(60)).traces.bundle.delivered;
    println!("\n{:<34}{:>10}{:>10}", "a burst of 100,000, four threads", "ms", "kept");
    let bare_kept = exported.load(Ordering::Relaxed);
    println!("{:<34}{:>10}{bare_kept:>10}", "SDK, 2 ms for each batch", bare.as_millis());
    println!("{:<34}{:>10}{kept:>10}", "run spans, into the bundle", run.as_millis());
    Ok(())
}

fn tracing_span() {
    let span = tracing::info_span!("bench", stage = "write", node = "n", row_count = 7, status = "ok");
    span.in_scope(|| black_box(()));
}

fn filtered_span() {
    let span = tracing::debug_span!("bench", stage = "write", node = "n", row_count = 7, status = "ok");
    span.in_scope(|| black_box(()));
}

/// An exporter as fast as a nearby backend.
#[derive(Debug)]
struct SlowExporter(Arc<AtomicU64>);

impl SpanExporter for SlowExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        thread::sleep(Duration::from_millis(2));
        self.0.fetch_add(batch.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}

fn open_run(bridge: &Bridge, folder: &Path) -> RunSignals {
    let files = SignalFiles::in_folder(folder);
    let dag_name = "bench".try_into().expect("a name");
    bridge.open_run(RunScope::new(RunId::new(), dag_name, files, folder))
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

/// The time of one call, in the fastest of several rounds.
fn best_of(mut call: impl FnMut()) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let mut round = Duration::ZERO;
        for _ in 0..SPANS / BURST {
            let started = Instant::now();
            (0..BURST).for_each(|_| call());
            round += started.elapsed();
            thread::sleep(Duration::from_millis(20));
        }
        best = best.min(round / SPANS);
    }
    best
}
