//! The plans alone, with an OpenTelemetry set-up of one's own: a span for each query, with what its operators have done.
//!
//! `cargo run -p daglight-plan-diagnostics --example own_spans`

use std::{any::Any, sync::Arc};

use daglight_plan_diagnostics::{
    LiveQueries, MeasuredQuery, Observation, PlannedQuery, QueryListener, QueryObserver, instrument,
};
use datafusion::{execution::SessionStateBuilder, prelude::SessionContext};
use opentelemetry::{
    KeyValue,
    trace::{Span as _, Tracer as _, TracerProvider as _},
};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{SdkTracer, SdkTracerProvider, SpanData, SpanExporter},
};

/// Makes a span of each query.
#[derive(Debug)]
struct Spans(SdkTracer);

impl QueryObserver for Spans {
    fn planned(&self, query: &Arc<PlannedQuery>) -> Option<Observation> {
        let listener = Listener { tracer: self.0.clone(), operation: query.kind.operation().to_owned() };
        Some(Observation { listener: Arc::new(listener), tap: None })
    }
}

struct Listener {
    tracer: SdkTracer,
    operation: String,
}

impl QueryListener for Listener {
    fn entered(&self) -> Option<Box<dyn Any>> {
        None
    }

    fn ended(&self, report: MeasuredQuery) {
        let started = self.tracer.span_builder(self.operation.clone()).with_start_time(report.started_at);
        let mut span = started.start(&self.tracer);
        if let Some(rows) = report.rows.and_then(|rows| i64::try_from(rows).ok()) {
            span.set_attribute(KeyValue::new("rows", rows));
        }
        for operator in &report.operators {
            let busy = KeyValue::new("busy_ms", operator.busy.as_secs_f64() * 1e3);
            span.add_event(operator.name.clone(), vec![busy]);
        }
        span.end_with_timestamp(report.ended_at());
    }
}

/// Stands for the exporter that the program has.
#[derive(Debug)]
struct Console;

impl SpanExporter for Console {
    async fn export(&self, spans: Vec<SpanData>) -> OTelSdkResult {
        for span in spans {
            let operators: Vec<&str> = span.events.iter().map(|event| &*event.name).collect();
            println!("{} {:?}: {}", span.name, span.attributes, operators.join(", "));
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let provider = SdkTracerProvider::builder().with_simple_exporter(Console).build();
    let observer = Arc::new(Spans(provider.tracer("shop")));
    let session = SessionStateBuilder::new_with_default_features();
    let ctx = SessionContext::new_with_state(instrument(session, observer, LiveQueries::default()).build());

    let sql = "SELECT value % 7 AS day, count(*) AS orders FROM generate_series(1, 1000) GROUP BY 1";
    ctx.sql(sql).await?.collect().await?;
    provider.shutdown()?;
    Ok(())
}
