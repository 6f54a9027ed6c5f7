//! The console as a destination, as requested by `OTEL_TRACES_EXPORTER=console` and similar variables.

use std::io::{self, Write as _};

use daglight_capture_policy::printable_lines;
use opentelemetry_proto::{
    tonic::collector::metrics::v1::ExportMetricsServiceRequest,
    transform::common::tonic::ResourceAttributesWithSchema,
};
use opentelemetry_sdk::{Resource, trace::SpanData};
use serde::Serialize;

use crate::{
    door::{self, Exportable, LogItem},
    resource,
};

/// Prints signals to standard error, as the same lines that the files of a run contain. Standard output belongs to the program.
#[derive(Debug)]
pub(crate) struct Console {
    resource: ResourceAttributesWithSchema,
}

impl Console {
    pub(crate) fn new(resource: &Resource) -> Self {
        Self { resource: resource::for_files(resource) }
    }

    pub(crate) fn spans(&self, spans: Vec<Exportable<SpanData>>) {
        show(&door::traces(spans, &self.resource));
    }

    pub(crate) fn logs(&self, logs: &[Exportable<LogItem>]) {
        show(&door::logs(logs, &self.resource));
    }

    pub(crate) fn metrics(&self, metrics: &Exportable<ExportMetricsServiceRequest>) {
        show(&metrics.clone().into_file());
    }
}

/// Errors are ignored: there is no place left to report that the console cannot be written to.
fn show<T: Serialize>(value: &Exportable<T>) {
    if let Ok(line) = serde_json::to_string(value.get()) {
        let _ = writeln!(io::stderr().lock(), "{}", printable_lines(&line));
    }
}
