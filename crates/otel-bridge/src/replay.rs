//! Sending the signals of a bundle to an OpenTelemetry backend after the run.

use std::{collections::BTreeMap, path::Path, thread, time::Duration};

use daglight_capture_policy::Redactor;
use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
        trace::v1::ExportTraceServiceRequest,
    },
    logs::v1::LogsData,
    metrics::v1::MetricsData,
    trace::v1::TracesData,
};
use prost::Message;
use reqwest::{StatusCode, blocking::Client};
use serde::Deserialize;

use crate::{
    ReadError, Signal, SignalFiles,
    environment::{Environment, OtlpProtocol, OtlpTarget},
    lines::for_each_line,
    transport::http_client,
};

/// How often a request is sent that a backend cannot take at the moment.
const ATTEMPTS: u32 = 5;
/// How long to wait before the second attempt; each further wait is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// What was sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Spans.
    pub spans: u64,
    /// Metrics, each with all its data points, once for each snapshot.
    pub metrics: u64,
    /// Log records.
    pub log_records: u64,
}

/// Why signals could not be sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The variables name no endpoint for a signal.
    #[error("no OTLP endpoint for {signal}: set OTEL_EXPORTER_OTLP_ENDPOINT")]
    NoEndpoint {
        /// The signal.
        signal: Signal,
    },
    /// The variables ask for gRPC.
    #[error("signals are replayed over http/protobuf only, not over grpc: give the backend's HTTP endpoint")]
    Grpc,
    /// There is no HTTP client for the endpoint.
    #[error("cannot connect to {endpoint}")]
    Connect {
        /// The endpoint.
        endpoint: String,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A request did not get through.
    #[error("cannot send to {endpoint}")]
    Send {
        /// The endpoint.
        endpoint: String,
        /// Why not.
        source: reqwest::Error,
    },
    /// The backend refused a request.
    #[error("{endpoint} answered {status}: {answer}")]
    Refused {
        /// The endpoint.
        endpoint: String,
        /// The status of the answer.
        status: u16,
        /// The beginning of what it says.
        answer: String,
    },
    /// A signal file could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Sends the signals in `files` to the endpoint that `variables` (`OTEL_EXPORTER_OTLP_*`) name. Each line is a request,
/// so it needs no more memory for a long run than for a short one. It blocks.
///
/// # Errors
/// When there is no endpoint, it cannot be reached, refuses something, or a file cannot be read. What was sent before
/// that has arrived.
pub fn replay(files: &SignalFiles, variables: &BTreeMap<String, String>) -> Result<Replayed, ReplayError> {
    let environment = Environment::read(variables);
    // A blocking HTTP client cannot be used on a thread of a runtime.
    thread::scope(|scope| {
        let sent = scope.spawn(|| {
            let mut replayed = Replayed::default();
            let traces = Sender::new(Signal::Traces, environment.traces.otlp.as_ref())?;
            traces.send_lines(&files.traces, |TracesData { resource_spans }| {
                let scopes = resource_spans.iter().flat_map(|resource| &resource.scope_spans);
                replayed.spans += scopes.map(|scope| scope.spans.len() as u64).sum::<u64>();
                ExportTraceServiceRequest { resource_spans }
            })?;
            let metrics = Sender::new(Signal::Metrics, environment.metrics.otlp.as_ref())?;
            metrics.send_lines(&files.metrics, |MetricsData { resource_metrics }| {
                let scopes = resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
                replayed.metrics += scopes.map(|scope| scope.metrics.len() as u64).sum::<u64>();
                ExportMetricsServiceRequest { resource_metrics }
            })?;
            let logs = Sender::new(Signal::Logs, environment.logs.otlp.as_ref())?;
            logs.send_lines(&files.logs, |LogsData { resource_logs }| {
                let scopes = resource_logs.iter().flat_map(|resource| &resource.scope_logs);
                replayed.log_records += scopes.map(|scope| scope.log_records.len() as u64).sum::<u64>();
                ExportLogsServiceRequest { resource_logs }
            })?;
            Ok(replayed)
        });
        sent.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Sends one signal.
struct Sender<'a> {
    target: &'a OtlpTarget,
    /// The endpoint without what may be a credential in it.
    shown_endpoint: String,
    client: Client,
}

impl<'a> Sender<'a> {
    fn new(signal: Signal, target: Option<&'a OtlpTarget>) -> Result<Self, ReplayError> {
        let target = target.ok_or(ReplayError::NoEndpoint { signal })?;
        if target.protocol == OtlpProtocol::Grpc {
            return Err(ReplayError::Grpc);
        }
        let shown_endpoint = Redactor::default().text(&target.endpoint);
        match http_client(target) {
            Ok(client) => Ok(Self { target, shown_endpoint, client }),
            Err(error) => Err(ReplayError::Connect { endpoint: shown_endpoint, source: error.into() }),
        }
    }

    fn send_lines<T, R>(&self, file: &Path, mut request: impl FnMut(T) -> R) -> Result<(), ReplayError>
    where
        T: for<'de> Deserialize<'de>,
        R: Message,
    {
        for_each_line(file, |line: T| self.send(&request(line).encode_to_vec()))?;
        Ok(())
    }

    fn send(&self, body: &[u8]) -> Result<(), ReplayError> {
        let mut wait = FIRST_WAIT;
        for _ in 1..ATTEMPTS {
            match self.attempt(body) {
                Err(error) if error.may_pass() => thread::sleep(wait),
                result => return result,
            }
            wait *= 2;
        }
        self.attempt(body)
    }

    fn attempt(&self, body: &[u8]) -> Result<(), ReplayError> {
        let endpoint = || self.shown_endpoint.clone();
        let mut request = self.client.post(&self.target.endpoint);
        for (name, value) in &self.target.headers {
            request = request.header(name, value.expose());
        }
        let answer = request
            .header("content-type", "application/x-protobuf")
            .body(body.to_vec())
            .send()
            .map_err(|source| ReplayError::Send { endpoint: endpoint(), source: source.without_url() })?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let answer = answer.text().unwrap_or_default().chars().take(200).collect();
        Err(ReplayError::Refused { endpoint: endpoint(), status: status.as_u16(), answer })
    }
}

impl ReplayError {
    /// Whether the same request may get through a moment later. Sending it twice does no harm: spans and records have
    /// ids and times.
    fn may_pass(&self) -> bool {
        const LATER: [StatusCode; 4] = [
            StatusCode::TOO_MANY_REQUESTS,
            StatusCode::BAD_GATEWAY,
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::GATEWAY_TIMEOUT,
        ];
        match self {
            Self::Send { .. } => true,
            Self::Refused { status, .. } => LATER.iter().any(|later| later.as_u16() == *status),
            _ => false,
        }
    }
}
