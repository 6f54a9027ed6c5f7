//! The requests of OTLP, one type for each signal, and the interpretation of their answers.

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

/// Log records as messages. JSON cannot omit the body, so an empty one is used instead.
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

/// What an endpoint rejected of a request that it accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rejected {
    /// Spans, data points or log records.
    pub(crate) items: u64,
    /// The reason, or a warning if nothing was rejected. Often empty.
    pub(crate) reason: String,
}

impl Rejected {
    /// A negative count is invalid: nothing is known to be rejected, but the answer is not a silent success.
    fn of(items: i64, reason: String) -> Self {
        match u64::try_from(items) {
            Ok(items) => Self { items, reason },
            Err(_) if reason.is_empty() => {
                Self { items: 0, reason: format!("it says that {items} items were rejected") }
            }
            Err(_) => {
                Self { items: 0, reason: format!("it says that {items} items were rejected: {reason}") }
            }
        }
    }
}

/// A request of one signal.
pub(crate) trait OtlpRequest: Message + Serialize + Clone + 'static {
    type Answer: Message + Default + 'static;

    /// The path of the gRPC method.
    const GRPC_METHOD: &'static str;
    /// The key of the number of rejected items in a JSON answer.
    const REJECTED_KEY: &'static str;
    /// The same key under its field name, which JSON may also use.
    const REJECTED_FIELD: &'static str;

    fn rejected(answer: Self::Answer) -> Rejected;
}

macro_rules! requests {
    ($($request:ty => $answer:ty, $method:literal, $rejected:ident, $key:literal;)+) => {$(
        impl OtlpRequest for $request {
            type Answer = $answer;

            const GRPC_METHOD: &'static str = $method;
            const REJECTED_KEY: &'static str = $key;
            const REJECTED_FIELD: &'static str = stringify!($rejected);

            fn rejected(answer: $answer) -> Rejected {
                let partial = answer.partial_success.unwrap_or_default();
                Rejected::of(partial.$rejected, partial.error_message)
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

/// Why an answer does not conform to OTLP.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnswerError {
    /// It is something else, such as a login page.
    #[error("its content type is {0:?}")]
    ContentType(String),
    #[error("it is not a Protocol Buffers message of OTLP")]
    Protobuf(#[from] prost::DecodeError),
    #[error("it is not a JSON object")]
    Json(#[source] Option<serde_json::Error>),
    #[error("its JSON is not that of OTLP: {0:?} is not a member of it, or has a value of another type")]
    Member(String),
}

/// The maximum number of characters shown of a name in an answer.
const MAX_NAME_CHARS: usize = 60;

/// Interprets an answer with a success status.
///
/// OTLP prescribes the message of the answer, in the encoding of the request and with its content type. If the endpoint accepts
/// everything, the message is empty, which in Protocol Buffers is an empty body. An empty body is a success in either encoding, and
/// without a content type, because endpoints and proxies that answer this way are common. An answer in the other encoding of OTLP
/// is accepted, too. Any other content type, whatever the body, means that this is not an OTLP endpoint, or that something in front
/// of it has answered.
pub(crate) fn rejected_in<R: OtlpRequest>(
    body: &[u8],
    content_type: Option<&str>,
    asked_in_json: bool,
) -> Result<Rejected, AnswerError> {
    let media_type = content_type
        .map(|kind| kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
        .filter(|kind| !kind.is_empty());
    match media_type.as_deref() {
        None | Some("application/json" | "application/x-protobuf" | "application/protobuf")
            if body.is_empty() =>
        {
            Ok(Rejected::default())
        }
        Some("application/json") => rejected_in_json::<R>(body),
        Some("application/x-protobuf" | "application/protobuf") => rejected_in_protobuf::<R>(body),
        None if asked_in_json => rejected_in_json::<R>(body),
        None => rejected_in_protobuf::<R>(body),
        Some(other) => Err(AnswerError::ContentType(other.to_owned())),
    }
}

fn rejected_in_protobuf<R: OtlpRequest>(body: &[u8]) -> Result<Rejected, AnswerError> {
    Ok(R::rejected(R::Answer::decode(body)?))
}

/// 64-bit integers are strings in JSON, but many endpoints write numbers. Members may have their JSON names or their field names.
/// Any other member means that something else has answered: a login page as JSON, for example, has accepted nothing.
fn rejected_in_json<R: OtlpRequest>(body: &[u8]) -> Result<Rejected, AnswerError> {
    let answer: Value = serde_json::from_slice(body).map_err(|error| AnswerError::Json(Some(error)))?;
    let answer = answer.as_object().ok_or(AnswerError::Json(None))?;
    let other = |name: &str| AnswerError::Member(name.chars().take(MAX_NAME_CHARS).collect());
    let (mut items, mut reason) = (0, String::new());
    for (name, partial) in answer {
        let members = match (name.as_str(), partial) {
            ("partialSuccess" | "partial_success", Value::Object(members)) => members,
            ("partialSuccess" | "partial_success", Value::Null) => continue,
            _ => return Err(other(name)),
        };
        for (name, value) in members.iter().filter(|(_, value)| !value.is_null()) {
            if name == R::REJECTED_KEY || name == R::REJECTED_FIELD {
                let count = value.as_i64().or_else(|| value.as_str()?.parse().ok());
                items = count.ok_or_else(|| other(name))?;
            } else if matches!(name.as_str(), "errorMessage" | "error_message") {
                value.as_str().ok_or_else(|| other(name))?.clone_into(&mut reason);
            } else {
                return Err(other(name));
            }
        }
    }
    Ok(Rejected::of(items, reason))
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsPartialSuccess;

    use super::*;

    const JSON: Option<&str> = Some("application/json; charset=utf-8");
    const PROTOBUF: Option<&str> = Some("application/x-protobuf");

    #[track_caller]
    fn check(answer: &str, items: u64, reason: &str) {
        let expected = Rejected { items, reason: reason.to_owned() };
        for content_type in [JSON, None] {
            let rejected = rejected_in::<ExportTraceServiceRequest>(answer.as_bytes(), content_type, true);
            assert_eq!(rejected.unwrap(), expected);
        }
    }

    #[test]
    fn answers_in_json_say_what_was_rejected() {
        check(r#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"too old"}}"#, 3, "too old");
        check(r#"{"partialSuccess":{"rejectedSpans":3}}"#, 3, "");
        check(r#"{"partialSuccess":{"errorMessage":"soon"}}"#, 0, "soon");
        check(r#"{"partial_success":{"rejected_spans":"3","error_message":"too old"}}"#, 3, "too old");
        check(r#"{"partialSuccess":{"rejectedSpans":-5}}"#, 0, "it says that -5 items were rejected");
        check(r#"{"partialSuccess":null}"#, 0, "");
        check("{}", 0, "");
        check("", 0, "");
    }

    #[test]
    fn answers_in_protobuf_say_what_was_rejected() {
        let partial = ExportLogsPartialSuccess { rejected_log_records: 2, error_message: "x".to_owned() };
        let answer = ExportLogsServiceResponse { partial_success: Some(partial) }.encode_to_vec();
        let rejected = Rejected { items: 2, reason: "x".to_owned() };
        for content_type in [PROTOBUF, None] {
            let read = rejected_in::<ExportLogsServiceRequest>(&answer, content_type, false);
            assert_eq!(read.unwrap(), rejected);
        }
        // An answer in the other encoding is understood.
        let read = rejected_in::<ExportLogsServiceRequest>(b"{}", JSON, false);
        assert_eq!(read.unwrap(), Rejected::default());
    }

    #[track_caller]
    fn check_other(body: &str, content_type: Option<&str>, expected: &str) {
        for asked_in_json in [true, false] {
            let read = rejected_in::<ExportLogsServiceRequest>(body.as_bytes(), content_type, asked_in_json);
            let error = read.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_page_is_not_the_answer_of_an_endpoint() {
        let page = "<!doctype html><title>Sign in</title>";
        check_other(page, Some("text/html; charset=utf-8"), "text/html");
        check_other(page, None, "not a");
        check_other(page, PROTOBUF, "Protocol Buffers");
        check_other(page, JSON, "JSON");
        check_other("[]", JSON, "JSON");
        check_other(r#"{"error":"login required"}"#, JSON, "\"error\"");
        check_other(r#"{"partialSuccess":{"rejectedLogRecords":"many"}}"#, JSON, "rejectedLogRecords");
        check_other(r#"{"partialSuccess":"no"}"#, JSON, "partialSuccess");
        check_other("OK", Some("text/plain"), "text/plain");
        check_other("{}", Some("text/html"), "text/html");
        check_other("", Some("text/html"), "text/html");
        check_other("", Some("text/plain; charset=utf-8"), "text/plain");
        // An empty body is the message of an endpoint without anything to report.
        for content_type in [None, JSON, PROTOBUF, Some("application/protobuf"), Some("")] {
            let read = rejected_in::<ExportLogsServiceRequest>(b"", content_type, false);
            assert_eq!(read.unwrap(), Rejected::default());
        }
    }
}
