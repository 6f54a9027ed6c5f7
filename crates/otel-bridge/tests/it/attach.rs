//! Programs that have their own providers, and keep them.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use daglight_otel_bridge::{
    Bridge, BridgeConfig, ProgramProviders, RunLogProcessor, RunSpanProcessor,
    names::{Key, span},
};
use opentelemetry::{
    Context, KeyValue, Value, global,
    logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _},
    trace::{
        FutureExt as _, Span as _, SpanId, Status, TraceContextExt as _, Tracer as _, TracerProvider as _,
    },
};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    logs::{LogBatch, LogExporter, SdkLogRecord, SdkLoggerProvider},
    metrics::{SdkMeterProvider, Temporality, data::ResourceMetrics, exporter::PushMetricExporter},
    trace::{Sampler, SdkTracerProvider, SpanData, SpanExporter, TracerProviderBuilder},
};
use serde_json::{Value as Json, json};
use tracing_subscriber::{EnvFilter, layer::SubscriberExt as _, registry};

use crate::support::{TIMEOUT, TestRun, attribute, find, names, one_subscriber_at_a_time, variables};

/// What an exporter of the program was given.
#[derive(Debug)]
pub(crate) struct Exported<T>(Arc<Mutex<Vec<T>>>);

impl<T> Exported<T> {
    pub(crate) fn take(&self) -> Vec<T> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl<T> Clone for Exported<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Exported<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl SpanExporter for Exported<SpanData> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap().extend(batch);
        Ok(())
    }
}

impl LogExporter for Exported<SdkLogRecord> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        self.0.lock().unwrap().extend(batch.iter().map(|(record, _)| record.clone()));
        Ok(())
    }
}

/// Names of metrics.
impl PushMetricExporter for Exported<String> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let metrics = metrics.scope_metrics().flat_map(|scope| scope.metrics());
        self.0.lock().unwrap().extend(metrics.map(|metric| metric.name().to_owned()));
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

/// A program's own tracing, as it was before Daglight came.
struct Program {
    provider: SdkTracerProvider,
    exporter: Exported<SpanData>,
}

impl Program {
    fn new(change: impl FnOnce(TracerProviderBuilder) -> TracerProviderBuilder) -> Self {
        let exporter = Exported::default();
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter.clone());
        Self { provider: change(provider).build(), exporter }
    }

    fn exported(&self) -> Vec<SpanData> {
        self.provider.force_flush().unwrap();
        self.exporter.take()
    }
}

fn attached(to: ProgramProviders) -> Bridge {
    let environment = variables([("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")]);
    Bridge::start(BridgeConfig { environment, attach_to: to, ..BridgeConfig::new("test") })
}

/// A request of the program, with a run in it that has one node, and a span of the program's own in that.
fn request(program: &SdkTracerProvider, bridge: &Bridge) -> TestRun {
    let tracer = program.tracer("program");
    let request = Context::new().with_span(tracer.start_with_context("request", &Context::new()));
    let run = {
        let _inside = request.clone().attach();
        TestRun::open(bridge, "t")
    };
    let root = run.signals.root();
    let node = run.signals.span(span::NODE).node("risk").stage("compile").start();
    node.row_count(7);
    tracer.start_with_context("lookup", &node.context()).end();
    node.end();
    root.end();
    request.span().end();
    run
}

fn exported<'a>(spans: &'a [SpanData], name: &str) -> &'a SpanData {
    spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no {name} in {spans:?}"))
}

fn value<'a>(span: &'a SpanData, key: &str) -> Option<&'a Value> {
    let mut of_key = span.attributes.iter().filter(|attribute| attribute.key.as_str() == key);
    let value = of_key.next().map(|attribute| &attribute.value);
    assert!(of_key.next().is_none(), "{key} is there twice");
    value
}

#[track_caller]
fn check_same_ids(span: &SpanData, in_file: &Json) {
    assert_eq!(span.span_context.trace_id().to_string(), in_file["traceId"]);
    assert_eq!(span.span_context.span_id().to_string(), in_file["spanId"]);
    let parent = Some(span.parent_span_id).filter(|parent| *parent != SpanId::INVALID);
    assert_eq!(parent.map(|parent| parent.to_string()).unwrap_or_default(), in_file["parentSpanId"]);
}

#[test]
fn the_exporter_of_the_program_gets_the_spans_of_runs() {
    let program = Program::new(|builder| builder);
    let bridge = attached(ProgramProviders::default().with_tracers(program.provider.clone()));
    let run = request(&program.provider, &bridge);
    let ledgers = run.finish();
    assert_eq!((ledgers.traces.bundle.delivered, ledgers.traces.otlp), (2, None));

    let (spans, in_file) = (program.exported(), run.spans());
    assert_eq!(spans.len(), 4);
    assert_eq!(names(&in_file), [span::NODE, span::PIPELINE_EXECUTE]);
    let (root, node) = (exported(&spans, span::PIPELINE_EXECUTE), exported(&spans, span::NODE));
    check_same_ids(root, find(&in_file, span::PIPELINE_EXECUTE));
    check_same_ids(node, find(&in_file, span::NODE));
    assert_eq!(root.parent_span_id, exported(&spans, "request").span_context.span_id());
    assert_eq!(exported(&spans, "lookup").parent_span_id, node.span_context.span_id());
    assert_eq!(value(node, "daglight.row_count"), Some(&Value::I64(7)));
    assert_eq!(value(node, "daglight.status"), Some(&Value::from("ok")));
    assert_eq!(value(node, "hamilton.run_id"), Some(&Value::from(run.id.to_string())));
    assert_eq!(node.instrumentation_scope.name(), "daglight");
    assert!(node.start_time <= node.end_time && root.start_time <= node.start_time);
}

#[test]
fn a_sampler_of_the_program_decides_over_its_exporter_only() {
    let program = Program::new(|builder| builder.with_sampler(Sampler::AlwaysOff));
    let bridge = attached(ProgramProviders::default().with_tracers(program.provider.clone()));
    let run = request(&program.provider, &bridge);
    assert_eq!(run.finish().traces.bundle.delivered, 2);
    let in_file = run.spans();
    assert_eq!(names(&in_file), [span::NODE, span::PIPELINE_EXECUTE]);
    assert_eq!(in_file[0]["traceId"], in_file[1]["traceId"]);
    assert_eq!(program.exported().len(), 0);
}

#[test]
fn spans_of_the_program_come_into_the_files_of_the_run_they_start_in() {
    let program = Program::new(|builder| builder.with_span_processor(RunSpanProcessor::default()));
    let bridge = attached(ProgramProviders::default().with_tracers(program.provider.clone()));
    let run = request(&program.provider, &bridge);
    assert_eq!(run.finish().traces.bundle.delivered, 3);
    let in_file = run.spans();
    assert_eq!(names(&in_file), ["lookup", span::NODE, span::PIPELINE_EXECUTE]);
    assert_eq!(in_file[0]["parentSpanId"], in_file[1]["spanId"]);
    let run_id = run.id.to_string();
    assert_eq!(attribute(&in_file[0], "hamilton.run_id"), Some(&json!(run_id)));
    let spans = program.exported();
    assert_eq!(spans.len(), 4);
    assert_eq!(value(exported(&spans, "lookup"), "hamilton.run_id"), Some(&Value::from(run_id)));
    assert_eq!(value(exported(&spans, "request"), "hamilton.run_id"), None);
}

#[test]
fn what_the_program_makes_with_the_bridge_is_in_the_files_whatever_its_sampler_says() {
    let _one = one_subscriber_at_a_time();
    for (sampler, exported) in [(Sampler::AlwaysOn, 2), (Sampler::AlwaysOff, 0)] {
        let program = Program::new(|builder| builder.with_sampler(sampler));
        let bridge = attached(ProgramProviders::default().with_tracers(program.provider.clone()));
        let run = TestRun::open(&bridge, "t");
        let root = run.signals.root();
        tracing::subscriber::with_default(registry().with(bridge.layer()), || {
            let _inside = root.context().attach();
            tracing::info_span!("step").in_scope(|| {});
        });
        root.end();
        run.finish();
        assert_eq!(names(&run.spans()), ["step", span::PIPELINE_EXECUTE]);
        assert_eq!(program.exported().len(), exported);
    }
}

#[test]
fn two_bridges_in_one_process_keep_to_their_providers() {
    let programs = [Program::new(|builder| builder), Program::new(|builder| builder)];
    let bridges = programs
        .each_ref()
        .map(|program| attached(ProgramProviders::default().with_tracers(program.provider.clone())));
    for (program, bridge) in programs.iter().zip(&bridges) {
        let runs = [request(&program.provider, bridge), request(&program.provider, bridge)];
        let ids: BTreeSet<_> = runs.iter().map(|run| run.id.to_string()).collect();
        runs.iter().for_each(|run| assert_eq!(run.finish().traces.bundle.delivered, 2));
        let spans = program.exported();
        let of_runs = spans.iter().filter_map(|span| value(span, "hamilton.run_id"));
        assert_eq!(of_runs.map(Value::to_string).collect::<BTreeSet<_>>(), ids);
        assert_eq!(spans.len(), 8);
    }
    let global = global::tracer_provider().tracer("anybody").start("nobody records this");
    assert!(!global.is_recording(), "no global provider is set");
}

#[test]
fn a_provider_that_records_nothing_takes_nothing_from_the_files() {
    let bridge = attached(ProgramProviders::global());
    let program = Program::new(|builder| builder);
    let run = request(&program.provider, &bridge);
    assert_eq!(run.finish().traces.bundle.delivered, 2);
    let spans = run.spans();
    let ids: BTreeSet<_> = spans.iter().map(|span| span["spanId"].to_string()).collect();
    assert_eq!(ids.len(), 2, "{spans:?}");
    assert_eq!(spans[0]["parentSpanId"], spans[1]["spanId"]);
}

#[test]
fn what_spans_of_the_program_say_is_redacted_and_whole() {
    let program = Program::new(|builder| builder);
    let bridge = attached(ProgramProviders::default().with_tracers(program.provider.clone()));
    let run = TestRun::open(&bridge, "t");
    let tracer = bridge.tracer_provider().tracer("program");
    let link = tracer.start_with_context("linked", &Context::new()).span_context().clone();
    let mut span = tracer.start_with_context("begin", &run.signals.context());
    span.update_name("step of http://me:pw@host/".to_owned());
    span.set_attribute(KeyValue::new("api_key", "abc"));
    span.set_attribute(KeyValue::new("rows", 1));
    span.set_attribute(KeyValue::new("rows", 2));
    span.add_event("seen", vec![KeyValue::new("url", "http://me:pw@host/")]);
    span.add_link(link.clone(), vec![KeyValue::new("why", "because")]);
    span.set_status(Status::error("password=hunter2"));
    span.end();
    run.finish();
    let spans = program.exported();
    let step = exported(&spans, "step of http://[redacted]@host/");
    check_same_ids(step, find(&run.spans(), &step.name));
    assert_eq!(value(step, "api_key"), Some(&Value::from("[redacted]")));
    assert_eq!(value(step, "rows"), Some(&Value::I64(2)));
    assert_eq!(step.events[0].attributes[0].value, Value::from("http://[redacted]@host/"));
    assert_eq!((&step.links[0].span_context, step.links.len()), (&link, 1));
    assert_eq!(step.status, Status::error("password=[redacted]"));
    assert!(spans.iter().any(|span| span.name == "linked"), "spans of no run are the provider's too");
}

#[test]
fn metrics_are_recorded_with_the_meters_of_the_program_too() {
    let exporter = Exported::<String>::default();
    let meters = SdkMeterProvider::builder().with_periodic_exporter(exporter.clone()).build();
    let bridge = attached(ProgramProviders::default().with_meters(meters.clone()));
    let run = TestRun::open(&bridge, "t");
    run.signals.span(span::NODE).attribute(Key::Table, "orders").start().end();
    assert_eq!(run.finish().metrics.otlp, None);
    meters.force_flush().unwrap();
    let names = exporter.take();
    assert!(names.iter().any(|name| name == "daglight.task.duration"), "{names:?}");
    assert!(run.metrics().contains_key("daglight.task.duration"));
}

#[test]
fn log_records_of_the_program_come_into_the_files_and_carry_the_ids_of_the_run() {
    let exporter = Exported::default();
    let loggers = SdkLoggerProvider::builder()
        .with_log_processor(RunLogProcessor::default())
        .with_simple_exporter(exporter.clone())
        .build();
    let bridge = attached(ProgramProviders::default());
    let run = TestRun::open(&bridge, "t");
    let root = run.signals.root();
    {
        let _inside = root.context().attach();
        let logger = loggers.logger("program");
        let mut record = logger.create_log_record();
        record.set_body("hello, token=abc".into());
        record.set_event_name("event of the program");
        logger.emit(record);
    }
    root.end();
    run.finish();
    let [record] = &run.logs()[..] else { panic!("{:?}", run.logs()) };
    assert_eq!(record["body"]["stringValue"], "hello, token=[redacted]");
    assert_eq!(record["spanId"], run.spans()[0]["spanId"]);
    let exported = exporter.take();
    assert_eq!(exported[0].event_name(), Some("event of the program"));
    let run_id = AnyValue::from(run.id.to_string());
    let added = exported[0].attributes_iter().filter(|(key, _)| key.as_str() == "hamilton.run_id");
    assert_eq!(added.map(|(_, value)| value).collect::<Vec<_>>(), [&run_id]);
}

#[test]
fn a_subscriber_with_an_opentelemetry_layer_takes_the_log_layer() {
    let _one = one_subscriber_at_a_time();
    let program = Program::new(|builder| builder.with_span_processor(RunSpanProcessor::default()));
    let bridge = attached(ProgramProviders::default().with_tracers(program.provider.clone()));
    let own = tracing_opentelemetry::layer().with_tracer(program.provider.tracer("program"));
    let subscriber = registry().with(own).with(bridge.log_layer(EnvFilter::new("info")));
    let run = TestRun::open(&bridge, "t");
    let root = run.signals.root();
    tracing::subscriber::with_default(subscriber, || {
        let _inside = root.context().attach();
        tracing::info_span!("step").in_scope(|| tracing::info!("stepped"));
    });
    root.end();
    let ledgers = run.finish();
    assert_eq!((ledgers.traces.bundle.delivered, ledgers.logs.bundle.delivered), (2, 1));
    let spans = run.spans();
    let step = find(&spans, "step");
    assert_eq!(step["parentSpanId"], find(&spans, span::PIPELINE_EXECUTE)["spanId"]);
    assert_eq!(run.logs()[0]["spanId"], step["spanId"]);
    assert_eq!(program.exported().len(), 2);
}

async fn request_in_a_runtime() {
    let program = Program::new(|builder| builder);
    let bridge = attached(ProgramProviders::default().with_tracers(program.provider.clone()));
    let run = TestRun::open(&bridge, "t");
    let root = run.signals.root();
    let nodes = (0..3).map(|_| {
        let node = run.signals.span(span::NODE).parent(&root.context()).start();
        let context = node.context();
        let signals = run.signals.clone();
        let work = async move {
            tokio::task::yield_now().await;
            signals.span(span::EXECUTE).start().end();
            node.end();
        };
        tokio::spawn(work.with_context(context))
    });
    for node in futures::future::join_all(nodes).await {
        node.unwrap();
    }
    root.end();
    let signals = run.signals.clone();
    let ledgers = tokio::task::spawn_blocking(move || signals.finish(TIMEOUT)).await.unwrap();
    assert_eq!(ledgers.traces.bundle.delivered, 7);
    let in_file = run.spans();
    let spans = tokio::task::spawn_blocking(move || program.exported()).await.unwrap();
    assert_eq!(spans.len(), 7);
    for span in &spans {
        let id = span.span_context.span_id().to_string();
        check_same_ids(span, in_file.iter().find(|in_file| in_file["spanId"] == id).unwrap());
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_runtime_of_one_thread_will_do() {
    request_in_a_runtime().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runtime_of_many_threads_will_do() {
    request_in_a_runtime().await;
}
