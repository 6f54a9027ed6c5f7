//! Sending the signals of a bundle to an OpenTelemetry backend after the run.

use std::{collections::BTreeMap, path::Path, sync::Arc, thread, time::Duration};

use daglight_capture_policy::Redactor;
use opentelemetry_proto::tonic::{logs::v1::LogsData, metrics::v1::MetricsData, trace::v1::TracesData};
use serde::Deserialize;

use crate::{
    SignalFiles,
    door::{Exportable, IntoRequest},
    environment::Environment,
    grpc_endpoint::GrpcRuntime,
    ledger::Signal,
    lines::{DamagedLines, ReadError, for_each_line},
    messages::OtlpRequest,
    metric_changes::data_points,
    send_error::SendError,
    sender::{RetryPolicy, Sender},
    signal_export::SignalExport,
};

/// Only the user who started a replay waits for it.
const POLICY: RetryPolicy =
    RetryPolicy { attempts: 6, first_wait: Duration::from_millis(250), longest: Duration::from_secs(120) };
/// The maximum number of rejection reasons that are kept; a backend usually has one.
const MOST_REASONS: usize = 10;

/// What was sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Replayed {
    /// Spans.
    pub spans: ReplayedItems,
    /// Data points of metrics, counted once for each snapshot.
    pub data_points: ReplayedItems,
    /// Log records.
    pub log_records: ReplayedItems,
    /// The reasons of the backend for rejected items, and its warnings; each only once.
    pub reasons: Vec<String>,
    /// Lines of the files that could not be read, and were not sent.
    pub damaged: DamagedLines,
}

/// What was sent of one signal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReplayedItems {
    /// Items in requests that the backend accepted.
    pub sent: u64,
    /// Items among them that it still rejected.
    pub rejected: u64,
}

/// Why signals could not be sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The variables do not set an endpoint for a signal, or disable it.
    #[error(
        "no OTLP endpoint for {signal}: set OTEL_EXPORTER_OTLP_ENDPOINT, and neither OTEL_{}_EXPORTER=none nor \
         OTEL_SDK_DISABLED",
        .signal.name().to_uppercase()
    )]
    NoEndpoint {
        /// The signal.
        signal: Signal,
    },
    /// The client for the endpoint cannot be created.
    #[error("cannot connect to the OTLP endpoint for {signal}")]
    Connect {
        /// The signal.
        signal: Signal,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A request did not arrive.
    #[error(transparent)]
    Send(#[from] SendError),
    /// A signal file could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Sends the signals in `files` to the endpoint in `variables` (`OTEL_EXPORTER_OTLP_*`), over the configured protocol. Each line is
/// a request, so a long run needs no more memory than a short one. It blocks.
///
/// # Errors
/// When a signal has no endpoint; nothing is sent then. When an endpoint cannot be reached or refuses a request, or a file cannot
/// be read; everything before that was sent. Items that the backend rejects of an accepted request and damaged lines are not
/// errors: [`Replayed`] counts both. Its reasons repeat values of variables only as far as `redactor` shows them.
pub fn replay(
    files: &SignalFiles,
    variables: &BTreeMap<String, String>,
    redactor: &Redactor,
) -> Result<Replayed, ReplayError> {
    let environment = Environment::read(variables, redactor);
    // A blocking HTTP client cannot be used on a thread of a runtime.
    thread::scope(|scope| {
        let sent = scope.spawn(|| {
            let mut reasons = environment.warnings.clone();
            let mut damaged = DamagedLines::default();
            // One runtime for all three, started with the first one that needs it.
            let mut grpc = None;
            // All three before the first line is sent: if one endpoint is missing, nothing must be sent at all.
            let traces = Replay::new(Signal::Traces, &environment.traces, &mut grpc)?;
            let metrics = Replay::new(Signal::Metrics, &environment.metrics, &mut grpc)?;
            let logs = Replay::new(Signal::Logs, &environment.logs, &mut grpc)?;
            let spans = traces.send_lines(
                &files.traces,
                &mut reasons,
                &mut damaged,
                |TracesData { resource_spans }: &TracesData| {
                    let scopes = resource_spans.iter().flat_map(|resource| &resource.scope_spans);
                    scopes.map(|scope| scope.spans.len()).sum()
                },
            )?;
            let data_points = metrics.send_lines(
                &files.metrics,
                &mut reasons,
                &mut damaged,
                |MetricsData { resource_metrics }: &MetricsData| {
                    let scopes = resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
                    scopes.flat_map(|scope| &scope.metrics).map(data_points).sum()
                },
            )?;
            let log_records = logs.send_lines(
                &files.logs,
                &mut reasons,
                &mut damaged,
                |LogsData { resource_logs }: &LogsData| {
                    let scopes = resource_logs.iter().flat_map(|resource| &resource.scope_logs);
                    scopes.map(|scope| scope.log_records.len()).sum()
                },
            )?;
            Ok(Replayed { spans, data_points, log_records, reasons, damaged })
        });
        sent.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The replay of one signal.
struct Replay(Sender);

impl Replay {
    fn new(
        signal: Signal,
        export: &SignalExport,
        grpc: &mut Option<Arc<GrpcRuntime>>,
    ) -> Result<Self, ReplayError> {
        let target = export.otlp.as_ref().ok_or(ReplayError::NoEndpoint { signal })?;
        let sender = Sender::new(target, POLICY, grpc);
        sender.map(Self).map_err(|error| ReplayError::Connect { signal, source: error.into() })
    }

    /// `count` returns the number of items of a line.
    fn send_lines<T>(
        &self,
        file: &Path,
        reasons: &mut Vec<String>,
        damaged: &mut DamagedLines,
        count: impl Fn(&T) -> usize,
    ) -> Result<ReplayedItems, ReplayError>
    where
        T: for<'de> Deserialize<'de> + IntoRequest<Request: OtlpRequest>,
    {
        let mut items = ReplayedItems::default();
        let found = for_each_line(file, |line: T| {
            let count = count(&line) as u64;
            let rejected = self.0.send(&Exportable::of_bundle(line).into_request())?;
            items.sent += count;
            // A server may report any number, but no more than were sent can be lost.
            items.rejected += rejected.items.min(count);
            let is_new = !rejected.reason.is_empty() && !reasons.contains(&rejected.reason);
            if is_new && reasons.len() < MOST_REASONS {
                reasons.push(rejected.reason);
            }
            Ok::<_, ReplayError>(())
        })?;
        damaged.add(found.unwrap_or_default());
        Ok(items)
    }
}
