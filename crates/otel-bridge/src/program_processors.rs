//! Processors that a program can add to its own providers so that the files of runs also contain its own spans and log records.

use std::{sync::Arc, time::Duration};

use opentelemetry::{Context, InstrumentationScope, trace::Span as _};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    logs::{LogProcessor, SdkLogRecord},
    trace::{Span, SpanData, SpanProcessor},
};

use crate::{
    attach::IsMirrored, own_record::RawSpan, processors::complete, run_state::RunState, span_map::SpanMap,
};

/// Passes the spans of a program's own `SdkTracerProvider` to the files of the run in whose context they start, and adds the ids of
/// that run.
///
/// It sees only the spans that the provider's sampler records. For spans that must be in the files regardless of that sampler, use
/// [`crate::Bridge::tracer_provider`] or [`crate::Bridge::layer`].
#[derive(Debug, Default)]
pub struct RunSpanProcessor {
    runs: SpanMap<Arc<RunState>>,
}

impl SpanProcessor for RunSpanProcessor {
    fn on_start(&self, span: &mut Span, context: &Context) {
        if let Some(run) = run_of(context) {
            span.set_attributes(run.origin.run_attributes());
            run.span_started(span, None);
            self.runs.insert(span.span_context().span_id(), run);
        }
    }

    fn on_end(&self, span: SpanData) {
        if let Some(run) = self.runs.remove(span.span_context.span_id()) {
            run.span_ended(RawSpan { data: span, own: None });
        }
    }

    /// A run completes its files by itself.
    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Passes the log records of a program's own `SdkLoggerProvider` to the files of the run in whose context they are created, and
/// adds the ids of that run. Processors that are added after it export them with these ids.
#[derive(Debug, Default)]
pub struct RunLogProcessor(());

impl LogProcessor for RunLogProcessor {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        if let Some(run) = Context::map_current(run_of) {
            let mut of_run = record.clone();
            complete(&mut of_run);
            run.log(of_run, scope.clone());
            run.origin.add_run_attributes(record);
        }
    }

    /// A run completes its files by itself.
    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// The run to whose files a span or record belongs that the program itself creates in `context`.
fn run_of(context: &Context) -> Option<Arc<RunState>> {
    RunState::of(context).filter(|_| context.get::<IsMirrored>().is_none())
}
