//! The console as a destination: what `OTEL_TRACES_EXPORTER=console` and its like ask for.

use std::io::{self, Write as _};

use opentelemetry_proto::{
    tonic::{
        collector::metrics::v1::ExportMetricsServiceRequest, logs::v1::LogsData, metrics::v1::MetricsData,
        trace::v1::TracesData,
    },
    transform::{
        common::tonic::ResourceAttributesWithSchema, trace::tonic::group_spans_by_resource_and_scope,
    },
};
use opentelemetry_sdk::{Resource, logs::LogBatch, metrics::data::ResourceMetrics, trace::SpanData};
use serde::Serialize;

use crate::{messages::resource_logs, resource};

/// Shows signals on standard error, as the lines that a run's files have. Standard output is the program's own.
#[derive(Debug)]
pub(crate) struct Console {
    resource: ResourceAttributesWithSchema,
}

impl Console {
    pub(crate) fn new(resource: &Resource) -> Self {
        Self { resource: resource::for_files(resource) }
    }

    pub(crate) fn spans(&self, spans: Vec<SpanData>) {
        show(&TracesData { resource_spans: group_spans_by_resource_and_scope(spans, &self.resource) });
    }

    pub(crate) fn logs(&self, logs: &LogBatch<'_>) {
        show(&LogsData { resource_logs: resource_logs(logs, &self.resource) });
    }

    pub(crate) fn metrics(&self, metrics: &ResourceMetrics) {
        let request = ExportMetricsServiceRequest::from(metrics);
        show(&MetricsData { resource_metrics: request.resource_metrics });
    }
}

/// A console that cannot be written to has nobody who could be told.
fn show<T: Serialize>(value: &T) {
    if let Ok(line) = serde_json::to_string(value) {
        let _ = writeln!(io::stderr().lock(), "{line}");
    }
}
