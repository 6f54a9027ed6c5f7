//! The requests of OTLP, one kind for each signal, and what their answers say.

use opentelemetry_proto::{
    tonic::{
        collector::{
            logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse},
            metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse},
            trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
        },
        logs::v1::ResourceLogs,
    },
    transform::{common::tonic::ResourceAttributesWithSchema, logs::tonic::group_logs_by_resource_and_scope},
};
use opentelemetry_sdk::logs::LogBatch;
use prost::Message;
use serde::Serialize;
use serde_json::Value;

/// Log records as messages. JSON has no absent body: where there is none, an empty one stands.
pub(crate) fn resource_logs(
    logs: &LogBatch<'_>,
    resource: &ResourceAttributesWithSchema,
) -> Vec<ResourceLogs> {
    let mut resource_logs = group_logs_by_resource_and_scope(logs, resource);
    let scopes = resource_logs.iter_mut().flat_map(|resource| &mut resource.scope_logs);
    for record in scopes.flat_map(|scope| &mut scope.log_records) {
        record.body.get_or_insert_default();
    }
    resource_logs
}

/// What an endpoint did not take of a request that it took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rejected {
    /// Spans, data points or log records.
    pub(crate) items: u64,
    /// Why; or a warning, where nothing was rejected. Often empty.
    pub(crate) reason: String,
}

/// A request of one signal.
pub(crate) trait OtlpRequest: Message + Serialize + Clone + 'static {
    type Answer: Message + Default + 'static;

    /// The path of the gRPC method.
    const GRPC_METHOD: &'static str;
    /// The key of the number of rejected items in an answer that is JSON.
    const REJECTED_KEY: &'static str;

    fn rejected(answer: Self::Answer) -> Rejected;
}

macro_rules! requests {
    ($($request:ty => $answer:ty, $method:literal, $rejected:ident, $key:literal;)+) => {$(
        impl OtlpRequest for $request {
            type Answer = $answer;

            const GRPC_METHOD: &'static str = $method;
            const REJECTED_KEY: &'static str = $key;

            fn rejected(answer: $answer) -> Rejected {
                let partial = answer.partial_success.unwrap_or_default();
                let items = u64::try_from(partial.$rejected).unwrap_or_default();
                Rejected { items, reason: partial.error_message }
            }
        }
    )+};
}

requests! {
    ExportTraceServiceRequest => ExportTraceServiceResponse,
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export", rejected_spans, "rejectedSpans";
    ExportMetricsServiceRequest => ExportMetricsServiceResponse,
        "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export", rejected_data_points,
        "rejectedDataPoints";
    ExportLogsServiceRequest => ExportLogsServiceResponse,
        "/opentelemetry.proto.collector.logs.v1.LogsService/Export", rejected_log_records,
        "rejectedLogRecords";
}

/// What an answer says that is a Protocol Buffers message. One that is none says nothing.
pub(crate) fn rejected_in_protobuf<R: OtlpRequest>(body: &[u8]) -> Rejected {
    R::Answer::decode(body).map(R::rejected).unwrap_or_default()
}

/// What an answer says that is JSON. 64-bit integers are texts there, and many endpoints write numbers.
pub(crate) fn rejected_in_json<R: OtlpRequest>(body: &[u8]) -> Rejected {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let partial = &answer["partialSuccess"];
    let items = &partial[R::REJECTED_KEY];
    let items = items.as_u64().or_else(|| items.as_str()?.parse().ok()).unwrap_or_default();
    Rejected { items, reason: partial["errorMessage"].as_str().unwrap_or_default().to_owned() }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsPartialSuccess;

    use super::*;

    #[track_caller]
    fn check(answer: &str, items: u64, reason: &str) {
        let expected = Rejected { items, reason: reason.to_owned() };
        assert_eq!(rejected_in_json::<ExportTraceServiceRequest>(answer.as_bytes()), expected);
    }

    #[test]
    fn answers_in_json_say_what_was_rejected() {
        check(r#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"too old"}}"#, 3, "too old");
        check(r#"{"partialSuccess":{"rejectedSpans":3}}"#, 3, "");
        check(r#"{"partialSuccess":{"errorMessage":"hurry"}}"#, 0, "hurry");
        check("{}", 0, "");
        check("", 0, "");
    }

    #[test]
    fn answers_in_protobuf_say_what_was_rejected() {
        let partial = ExportLogsPartialSuccess { rejected_log_records: 2, error_message: "x".to_owned() };
        let answer = ExportLogsServiceResponse { partial_success: Some(partial) };
        let rejected = rejected_in_protobuf::<ExportLogsServiceRequest>(&answer.encode_to_vec());
        assert_eq!(rejected, Rejected { items: 2, reason: "x".to_owned() });
        assert_eq!(rejected_in_protobuf::<ExportLogsServiceRequest>(b"?"), Rejected::default());
    }
}
