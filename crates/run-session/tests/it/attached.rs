//! A program with its own tracer provider.

use std::sync::{Arc, Mutex};

use daglight_capture_policy::Profile;
use daglight_otel_bridge::ProgramProviders;
use daglight_run_session::{RunOptions, Telemetry};
use daglight_settings::Settings;
use datafusion::execution::SessionStateBuilder;
use opentelemetry::{
    Context,
    trace::{FutureExt as _, TraceContextExt as _, Tracer as _, TracerProvider as _},
};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{Sampler, SdkTracerProvider, SpanData, SpanExporter},
};

use crate::{dag, spans};

/// What the program's exporter was given.
#[derive(Debug, Clone, Default)]
struct Exported(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Exported {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap().extend(batch);
        Ok(())
    }
}

/// The spans that the program's exporter got of a run inside a span of the program, and how many the bundle has.
async fn run(sampler: Sampler) -> (Vec<SpanData>, usize) {
    let exported = Exported::default();
    let provider =
        SdkTracerProvider::builder().with_sampler(sampler).with_simple_exporter(exported.clone()).build();
    let out = tempfile::tempdir().unwrap();
    let mut settings = Settings::of_profile(Profile::Dev);
    settings.bundle.output_dir = out.path().to_owned();
    let telemetry =
        Telemetry::attached_to(ProgramProviders::default().with_tracers(provider.clone()), settings);
    let ctx = telemetry.session(SessionStateBuilder::new_with_default_features());

    let request = Context::new().with_span(provider.tracer("program").start("request"));
    let report = async {
        let run = telemetry.start_run(&dag(), RunOptions::default());
        run.node("orders", async |_| ctx.sql("SELECT 1").await?.collect().await).await.unwrap();
        run.finish().await
    }
    .with_context(request.clone())
    .await;
    request.span().end();
    provider.force_flush().unwrap();
    // How often it beats depends on the machine.
    let kept = spans(&report.bundle.unwrap()).iter().filter(|span| span["name"] != "build.heartbeat").count();
    let mut exported = std::mem::take(&mut *exported.0.lock().unwrap());
    exported.retain(|span| span.name != "build.heartbeat");
    (exported, kept)
}

#[tokio::test]
async fn the_programs_exporter_gets_the_run_below_its_own_span() {
    let (exported, kept) = run(Sampler::AlwaysOn).await;
    let find = |name: &str| exported.iter().find(|span| span.name == name).unwrap();
    let (request, root) = (find("request"), find("pipeline.execute"));
    assert_eq!(root.parent_span_id, request.span_context.span_id());
    assert!(exported.iter().all(|span| span.span_context.trace_id() == request.span_context.trace_id()));
    for name in ["hamilton.node", "datafusion.plan", "datafusion.execute"] {
        assert!(find(name).attributes.iter().any(|attribute| attribute.key.as_str() == "daglight.run_id"));
    }
    assert_eq!(exported.len(), kept + 1);
}

#[tokio::test]
async fn the_bundle_has_what_the_programs_sampler_leaves_out() {
    let (exported, kept) = run(Sampler::AlwaysOff).await;
    // Run, node, planning in two parts, execution of two operators.
    assert_eq!((exported.len(), kept), (0, 8));
}
