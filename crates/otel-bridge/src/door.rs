//! The only way out: everything that is exported, to any destination, is [`Exportable`], which only a [`Door`] creates.
//!
//! Nothing is trusted because of its scope or key, because a program can use both. The values that [`crate::StageSpan`] records
//! separately have passed the capture policy and are exported unchanged; everything on the span itself may come from any code, and
//! is scrubbed. If both have an attribute with the same key, or a name or status, that of the record is exported, and the other
//! counts as dropped.

use std::borrow::Cow;

use opentelemetry::{
    InstrumentationScope, KeyValue,
    logs::{AnyValue, LogRecord as _},
};
use opentelemetry_proto::{
    tonic::{
        collector::{
            logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
            trace::v1::ExportTraceServiceRequest,
        },
        logs::v1::LogsData,
        metrics::v1::{MetricsData, ResourceMetrics},
        trace::v1::TracesData,
    },
    transform::{
        common::tonic::ResourceAttributesWithSchema, trace::tonic::group_spans_by_resource_and_scope,
    },
};
use opentelemetry_sdk::{
    logs::{LogBatch, SdkLogRecord},
    metrics::data,
    trace::{SpanData, SpanLimits},
};
use prost::{DecodeError, Message as _};

use crate::{
    exemplars::Exemplars,
    messages::resource_logs,
    origin::Origin,
    own_record::{RawSpan, Recorded},
    scrub::Scrubber,
};

/// A value that may leave the process.
#[derive(Debug, Clone)]
pub(crate) struct Exportable<T>(T);

impl<T> Exportable<T> {
    pub(crate) fn get(&self) -> &T {
        &self.0
    }

    pub(crate) fn into_inner(self) -> T {
        self.0
    }
}

impl<T: Default> Exportable<T> {
    /// An empty message.
    pub(crate) fn nothing() -> Self {
        Self(T::default())
    }
}

/// A log record and the scope that created it.
pub(crate) type LogItem = Box<(SdkLogRecord, InstrumentationScope)>;

/// Makes signals exportable: removes credentials and hidden values, shortens long texts, and keeps only what OTLP/JSON can
/// represent.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    scrubber: Scrubber,
    limits: SpanLimits,
}

impl Door {
    pub(crate) fn new(scrubber: Scrubber, limits: SpanLimits) -> Self {
        Self { scrubber, limits }
    }

    /// The span with the ids of its origin.
    pub(crate) fn span(&mut self, span: RawSpan, origin: &Origin) -> Exportable<SpanData> {
        let RawSpan { data: mut span, own } = span;
        // Everything that any code may have written, before our own values are added: those have passed the policy, and scrubbing
        // them again would hide what the policy shows.
        self.scrubber.span(&mut span);
        if let Some(own) = own {
            self.merge(&mut span, own);
        }
        for attribute in origin.run_attributes() {
            // Last, overwriting existing values: a program that sets `run_id` itself must not move its span to another run.
            set(&mut span.attributes, attribute);
        }
        Exportable(span)
    }

    fn merge(&mut self, span: &mut SpanData, mut own: Recorded) {
        span.name = Cow::Borrowed(own.name);
        // The keys are ours but the values come from users: a node or a table can have any name.
        self.scrubber.attributes(&mut own.names);
        let mut attributes: Vec<KeyValue> = Vec::new();
        for attribute in own.names.into_iter().chain(own.attributes) {
            set(&mut attributes, attribute);
        }
        // Cut but not scrubbed: the policy has already decided what is shown of these texts, and scrubbing could only hide parts of
        // it.
        self.scrubber.cut(&mut attributes);
        // Ours first: the limit below keeps the first ones, and a program that sets hundreds must not displace `run_id`.
        for others in std::mem::take(&mut span.attributes) {
            if attributes.iter().any(|attribute| attribute.key == others.key) {
                span.dropped_attributes_count += 1;
            } else {
                attributes.push(others);
            }
        }
        span.dropped_attributes_count += cut_to(&mut attributes, self.limits.max_attributes_per_span);
        span.attributes = attributes;
        for event in &mut own.events {
            self.scrubber.cut(&mut event.attributes);
            event.dropped_attributes_count +=
                cut_to(&mut event.attributes, self.limits.max_attributes_per_event);
        }
        let mut events = own.events;
        events.append(&mut span.events.events);
        // A stable sort, so that two events at the same time keep the order in which they were recorded.
        events.sort_by_key(|event| event.timestamp);
        span.events.dropped_count += own.dropped_events;
        span.events.dropped_count += cut_to(&mut events, self.limits.max_events_per_span);
        span.events.events = events;
        if let Some(status) = own.status {
            span.status = status;
        }
    }

    /// The maximum number of exported events of a span.
    pub(crate) fn max_events_per_span(&self) -> u32 {
        self.limits.max_events_per_span
    }

    /// The log record with the ids of its origin.
    pub(crate) fn log(&mut self, mut log: LogItem, origin: &Origin) -> Exportable<LogItem> {
        self.scrubber.log(&mut log.0);
        self.scrubber.scope(&mut log.1);
        origin.add_run_attributes(&mut log.0);
        Exportable(log)
    }

    /// Metrics, which any code with access to the meter provider may have recorded, with their exemplars.
    pub(crate) fn metrics(
        &self,
        metrics: &data::ResourceMetrics,
        exemplars: &Exemplars,
    ) -> Exportable<ExportMetricsServiceRequest> {
        self.scrubbed_metrics(ExportMetricsServiceRequest::from(metrics), exemplars)
    }

    /// Metrics after an exporter has encoded them as Protocol Buffers.
    ///
    /// The SDK's [`data::ResourceMetrics`] cannot be changed: its fields are private, and only a reader can create one
    /// (`opentelemetry_sdk` 0.33.1, `src/metrics/data/mod.rs`, lines 13 to 18). So the door comes after the exporter.
    pub(crate) fn request_of_metrics(
        &self,
        encoded: &[u8],
        exemplars: &Exemplars,
    ) -> Result<Exportable<ExportMetricsServiceRequest>, DecodeError> {
        Ok(self.scrubbed_metrics(ExportMetricsServiceRequest::decode(encoded)?, exemplars))
    }

    fn scrubbed_metrics(
        &self,
        mut request: ExportMetricsServiceRequest,
        exemplars: &Exemplars,
    ) -> Exportable<ExportMetricsServiceRequest> {
        // Before anything is hidden: a series is identified by its attributes as recorded.
        exemplars.attach(&mut request);
        for resource in &mut request.resource_metrics {
            for scope in &mut resource.scope_metrics {
                self.scrubber.scope_metrics(scope);
            }
        }
        Exportable(request)
    }
}

impl Exportable<LogItem> {
    /// The record, with an empty body if it has none.
    pub(crate) fn with_body(mut self) -> Self {
        if self.0.0.body().is_none() {
            self.0.0.set_body(AnyValue::from(""));
        }
        self
    }
}

impl Exportable<ExportMetricsServiceRequest> {
    /// Calls `select` to remove what is not to be exported; `select` returns how many data points are left.
    pub(crate) fn select(&mut self, select: impl FnOnce(&mut Vec<ResourceMetrics>) -> u64) -> u64 {
        select(&mut self.0.resource_metrics)
    }

    /// The form for a line of a signal file, with the resource attributes sorted by key.
    pub(crate) fn into_file(self) -> Exportable<MetricsData> {
        let mut data = MetricsData { resource_metrics: self.0.resource_metrics };
        for resource in data.resource_metrics.iter_mut().filter_map(|metrics| metrics.resource.as_mut()) {
            // The SDK keeps them in a hash map, so that each process would write them in a different order: readers compare lines
            // of several runs.
            resource.attributes.sort_by(|a, b| a.key.cmp(&b.key));
        }
        Exportable(data)
    }
}

/// Spans as one message.
pub(crate) fn traces(
    spans: Vec<Exportable<SpanData>>,
    resource: &ResourceAttributesWithSchema,
) -> Exportable<TracesData> {
    let spans = spans.into_iter().map(Exportable::into_inner).collect();
    Exportable(TracesData { resource_spans: group_spans_by_resource_and_scope(spans, resource) })
}

/// Log records as one message.
pub(crate) fn logs(
    logs: &[Exportable<LogItem>],
    resource: &ResourceAttributesWithSchema,
) -> Exportable<LogsData> {
    // The batch of the SDK can only be created from borrowed records.
    let borrowed: Vec<_> = logs.iter().map(|Exportable(log)| (&log.0, &log.1)).collect();
    Exportable(LogsData { resource_logs: resource_logs(&LogBatch::new(&borrowed), resource) })
}

/// Conversion of the content of a signal file to an export request.
pub(crate) trait IntoRequest {
    type Request;

    fn into_request(self) -> Self::Request;
}

macro_rules! requests {
    ($($data:ty => $request:ident { $field:ident };)+) => {$(
        impl IntoRequest for $data {
            type Request = $request;

            fn into_request(self) -> $request {
                $request { $field: self.$field }
            }
        }
    )+};
}

requests! {
    TracesData => ExportTraceServiceRequest { resource_spans };
    MetricsData => ExportMetricsServiceRequest { resource_metrics };
    LogsData => ExportLogsServiceRequest { resource_logs };
}

impl<T: IntoRequest> Exportable<T> {
    /// Converts to a request.
    pub(crate) fn into_request(self) -> Exportable<T::Request> {
        Exportable(self.0.into_request())
    }

    /// A line from the bundle of an earlier run: it was made exportable before it was written.
    pub(crate) fn of_bundle(line: T) -> Self {
        Self(line)
    }
}

fn set(attributes: &mut Vec<KeyValue>, attribute: KeyValue) {
    match attributes.iter_mut().find(|other| other.key == attribute.key) {
        Some(other) => other.value = attribute.value,
        None => attributes.push(attribute),
    }
}

/// Truncates to the limit and returns how many were removed.
fn cut_to<T>(items: &mut Vec<T>, limit: u32) -> u32 {
    let dropped = items.len().saturating_sub(limit as usize);
    items.truncate(items.len() - dropped);
    u32::try_from(dropped).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use daglight_capture_policy::Redactor;
    use opentelemetry::metrics::MeterProvider as _;
    use opentelemetry_sdk::metrics::{SdkMeterProvider, Temporality};

    use super::*;
    use crate::metric_reader::SharedReader;

    #[test]
    fn metrics_of_any_code_are_scrubbed() {
        let reader = SharedReader::new(Temporality::Cumulative);
        let provider = SdkMeterProvider::builder().with_reader(reader.clone()).build();
        let meter = provider.meter(crate::names::SCOPE);
        let counter = meter.u64_counter("requests").with_description("to postgres://ann:hunter2@db/").build();
        let attributes = [
            KeyValue::new("db.password", "hunter2"),
            KeyValue::new("daglight.stage", "token=hunter2"),
            KeyValue::new("method", "get"),
        ];
        counter.add(1, &attributes);
        let door = Door::new(Scrubber::new(Redactor::default(), None, None), SpanLimits::default());
        let (metrics, _) = reader.snapshot().unwrap();
        let shown = serde_json::to_string(door.metrics(&metrics, &Exemplars::default()).get()).unwrap();
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(
            shown.contains("requests") && shown.contains("get") && shown.contains("[redacted]"),
            "{shown}"
        );
    }
}
