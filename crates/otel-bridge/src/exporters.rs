//! The exporters of `opentelemetry-otlp`, with every exported item accounted for.
//!
//! An exporter only reports whether an export succeeded. The answer of the endpoint is observed at the transport: over HTTP by our
//! client, over gRPC in the exporter's events. Attempts and pauses are up to the exporter; whether to retry is decided in one
//! place, by the endpoint.

use std::{sync::Arc, time::Duration};

use futures::executor::block_on;
use opentelemetry_http::HttpClient;
use opentelemetry_otlp::{
    Compression, LogExporter, MetricExporter, Protocol, RetryPolicy, SpanExporter, WithExportConfig as _,
    WithHttpConfig as _, WithTonicConfig as _,
};
use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
    trace::v1::ExportTraceServiceRequest,
};
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    logs::{LogBatch, LogExporter as _},
    metrics::{data::ResourceMetrics, exporter::PushMetricExporter as _},
    trace::{SpanData, SpanExporter as _},
};
use tonic::Request;

use crate::{
    door::{Exportable, LogItem},
    exporter_client::{ExporterClient, Prepare},
    exporter_events::{ExporterEvents, unlogged},
    grpc_endpoint::{GrpcEndpoint, GrpcRuntime},
    http_endpoint::HttpEndpoint,
    messages::{OtlpRequest, Rejected},
    metric_door::MetricDoor,
    otlp_target::{OtlpProtocol, OtlpTarget},
    send_error::{SendError, ShownEndpoint},
    sender::{self, Sender},
    transport::EndpointError,
};

/// A new exporter, with the route as its transport.
macro_rules! exporter {
    ($exporter:ident, $route:expr, $target:expr, $protocol:expr) => {
        match $route {
            Route::Http(client) => $exporter::builder()
                .with_http()
                .with_shared_http_client(Arc::clone(client) as Arc<dyn HttpClient>)
                .with_endpoint(client.endpoint().url())
                .with_protocol($protocol)
                .with_timeout($target.timeout)
                .with_retry_policy(RetryPolicy::recommended())
                .build(),
            Route::Grpc { endpoint, .. } => {
                let metadata = endpoint.metadata().clone();
                let builder = $exporter::builder()
                    .with_tonic()
                    .with_channel(endpoint.channel().clone())
                    // Replaces what the exporter has read from variables, which may differ from those of the bridge.
                    .with_interceptor(move |mut request: Request<()>| {
                        *request.metadata_mut() = metadata.clone();
                        Ok(request)
                    })
                    .with_timeout($target.timeout)
                    .with_retry_policy(RetryPolicy::recommended());
                match endpoint.gzip() {
                    true => builder.with_compression(Compression::Gzip).build(),
                    false => builder.build(),
                }
            }
        }
    };
}

/// A new exporter with its route, for a signal that is changed before the export, so that its client has nothing left to prepare. A
/// macro, because the `set_resource` of each exporter is from a different trait.
macro_rules! prepared_exporter {
    ($exporter:ident, $target:expr, $resource:expr, $grpc:expr) => {{
        let route = Route::new($target, $grpc, None)?;
        let mut exporter = exporter!($exporter, &route, $target, protocol($target))?;
        exporter.set_resource($resource);
        (exporter, route)
    }};
}

/// Exports spans to an endpoint.
#[derive(Debug)]
pub(crate) struct SpanExport {
    exporter: SpanExporter,
    route: Route<ExportTraceServiceRequest>,
}

impl SpanExport {
    pub(crate) fn new(
        target: &OtlpTarget,
        resource: &Resource,
        grpc: &mut Option<Arc<GrpcRuntime>>,
    ) -> Result<Self, EndpointError> {
        let (exporter, route) = prepared_exporter!(SpanExporter, target, resource, grpc);
        Ok(Self { exporter, route })
    }

    /// Exports a batch, and returns what the endpoint rejected. It blocks.
    pub(crate) fn export(&self, spans: Vec<Exportable<SpanData>>) -> Result<Rejected, SendError> {
        let spans = spans.into_iter().map(Exportable::into_inner).collect();
        self.route.wait_for(self.exporter.export(spans))
    }
}

/// Exports log records to an endpoint.
#[derive(Debug)]
pub(crate) struct LogExport {
    exporter: LogExporter,
    route: Route<ExportLogsServiceRequest>,
    json: bool,
}

impl LogExport {
    pub(crate) fn new(
        target: &OtlpTarget,
        resource: &Resource,
        grpc: &mut Option<Arc<GrpcRuntime>>,
    ) -> Result<Self, EndpointError> {
        let (exporter, route) = prepared_exporter!(LogExporter, target, resource, grpc);
        Ok(Self { exporter, route, json: target.protocol == OtlpProtocol::HttpJson })
    }

    /// Exports a batch, and returns what the endpoint rejected. It blocks.
    pub(crate) fn export(&self, logs: Vec<Exportable<LogItem>>) -> Result<Rejected, SendError> {
        // The exporter's JSON has `"body": null` for a record without a body, which not every endpoint accepts.
        let logs: Vec<_> =
            logs.into_iter().map(|log| if self.json { log.with_body() } else { log }).collect();
        let borrowed: Vec<_> = logs.iter().map(|log| (&log.get().0, &log.get().1)).collect();
        self.route.wait_for(self.exporter.export(LogBatch::new(&borrowed)))
    }
}

/// Exports metrics to an endpoint.
#[derive(Debug)]
pub(crate) enum MetricExport {
    /// The exporter gets what the SDK has collected, and its client sends what has passed the door.
    Http { exporter: MetricExporter, route: Route<ExportMetricsServiceRequest> },
    /// What the SDK has collected cannot be changed, and a gRPC exporter has no hook in which the door could run.
    Grpc { sender: Sender, door: MetricDoor },
}

impl MetricExport {
    pub(crate) fn new(
        target: &OtlpTarget,
        door: &MetricDoor,
        grpc: &mut Option<Arc<GrpcRuntime>>,
    ) -> Result<Self, EndpointError> {
        let door = door.clone();
        if target.protocol == OtlpProtocol::Grpc {
            let sender = Sender::new(target, same_policy(target), grpc)?;
            return Ok(Self::Grpc { sender, door });
        }
        // The SDK's metrics cannot be changed before the exporter encodes them: all fields of `ResourceMetrics` are private. So its
        // request is decoded again here, passes the door, and is encoded for the endpoint.
        let prepare: Prepare = Box::new(move |endpoint, body| {
            let request = door.request_of_metrics(body).map_err(|error| endpoint.unsendable(error))?;
            endpoint.encode(request.get())
        });
        let route = Route::new(target, grpc, Some(prepare))?;
        // Whatever encoding the endpoint gets, the exporter creates its request as Protocol Buffers: JSON cannot represent all
        // numbers.
        let exporter = exporter!(MetricExporter, &route, target, Protocol::HttpBinary)?;
        Ok(Self::Http { exporter, route })
    }

    /// Exports what was collected, and returns what the endpoint rejected. It blocks.
    pub(crate) fn export(&self, metrics: &ResourceMetrics) -> Result<Rejected, SendError> {
        match self {
            Self::Http { exporter, route } => route.wait_for(exporter.export(metrics)),
            Self::Grpc { sender, door } => sender.send(&door.metrics(metrics)),
        }
    }
}

/// The policy of [`RetryPolicy::recommended`], for requests that do not go through an exporter.
fn same_policy(target: &OtlpTarget) -> sender::RetryPolicy {
    // The same as in the exporters (`opentelemetry-otlp` 0.33.1: three retries from 100 ms), so that metrics behave like spans and
    // logs.
    sender::RetryPolicy { attempts: 4, first_wait: Duration::from_millis(100), longest: target.timeout }
}

fn protocol(target: &OtlpTarget) -> Protocol {
    match target.protocol {
        OtlpProtocol::Grpc => Protocol::Grpc,
        OtlpProtocol::HttpProtobuf => Protocol::HttpBinary,
        OtlpProtocol::HttpJson => Protocol::HttpJson,
    }
}

/// How the requests of an exporter are sent, and where their answers are observed.
#[derive(Debug)]
pub(crate) enum Route<R> {
    Http(Arc<ExporterClient<R>>),
    Grpc { endpoint: Box<GrpcEndpoint>, events: ExporterEvents },
}

impl<R: OtlpRequest> Route<R> {
    fn new(
        target: &OtlpTarget,
        grpc: &mut Option<Arc<GrpcRuntime>>,
        prepare: Option<Prepare>,
    ) -> Result<Self, EndpointError> {
        Ok(match target.protocol {
            OtlpProtocol::Grpc => Self::Grpc {
                endpoint: Box::new(GrpcEndpoint::new(target, grpc)?),
                events: ExporterEvents::new(),
            },
            OtlpProtocol::HttpProtobuf | OtlpProtocol::HttpJson => {
                Self::Http(ExporterClient::new(HttpEndpoint::new(target)?, prepare))
            }
        })
    }

    /// Runs an export on this thread, and returns what the endpoint rejected.
    fn wait_for(&self, export: impl Future<Output = OTelSdkResult>) -> Result<Rejected, SendError> {
        match self {
            Self::Http(client) => {
                // Our client blocks inside its future, so that nothing here needs a runtime, and a runtime of the program is never
                // entered.
                let result = unlogged(|| block_on(export));
                client.take_outcome().unwrap_or_else(|| {
                    // A request that was never sent, for example because it is too large.
                    let cause = result.err().map_or_else(|| "nothing was sent".to_owned(), text_of);
                    Err(client.endpoint().shown().unreachable(cause))
                })
            }
            Self::Grpc { endpoint, events } => {
                // The exporter's own timeout ends its retries but not a hanging attempt, hence the timeout of `wait_for`.
                let (result, seen) = events.during(|| endpoint.wait_for(export));
                match result? {
                    Ok(()) => Ok(endpoint.shown().rejected(seen.rejected)),
                    Err(error) => Err(grpc_error(endpoint.shown(), &text_of(error), seen.status)),
                }
            }
        }
    }
}

fn text_of(error: OTelSdkError) -> String {
    match error {
        OTelSdkError::InternalFailure(text) => text,
        other => other.to_string(),
    }
}

/// The exporter's text contains the code, followed by the causes if the status was created on this side; the message of the
/// endpoint is only in the event.
fn grpc_error(endpoint: &ShownEndpoint, text: &str, status: Option<(String, String)>) -> SendError {
    let Some((code, message)) = status else { return endpoint.unreachable(text.to_owned()) };
    // If a cause follows the code, the status was created on this side: no endpoint has answered. Otherwise the endpoint has
    // refused, and its message is in the event.
    match text.split_once(&format!("gRPC code: {code}: ")) {
        Some((_, causes)) => endpoint.unreachable(without_repeats(causes)),
        None => endpoint.refused(format!("gRPC {code}"), &message),
    }
}

/// Causes in one line, without those that only repeat the previous one.
fn without_repeats(causes: &str) -> String {
    let mut parts: Vec<&str> = causes.split(": ").collect();
    // Each layer of tonic and hyper repeats the text of the one below.
    parts.dedup();
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use daglight_capture_policy::with_causes;

    use super::*;
    use crate::send_error::tests::endpoint;

    #[track_caller]
    fn check(text: &str, status: Option<(&str, &str)>, expected: &str) {
        let status = status.map(|(code, message)| (code.to_owned(), message.to_owned()));
        assert_eq!(with_causes(&grpc_error(&endpoint(), text, status)), expected);
    }

    #[test]
    fn errors_over_grpc_name_who_failed() {
        let failed = "TonicTracesClient export failed with gRPC code: ";
        check(
            &format!("{failed}PermissionDenied"),
            Some(("PermissionDenied", "token=abc of quendolin is not known")),
            "http://c:1 answered gRPC PermissionDenied: token=[redacted] of [redacted] is not known",
        );
        check(
            &format!("{failed}Unavailable: transport error: tcp connect error: tcp connect error: refused"),
            Some(("Unavailable", "tcp connect error")),
            "cannot send to http://c:1: transport error: tcp connect error: refused",
        );
        check("exporter already shutdown", None, "cannot send to http://c:1: exporter already shutdown");
    }
}
