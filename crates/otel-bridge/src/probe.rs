//! Checking whether OTLP endpoints accept requests, before there is anything to send.

use std::{collections::BTreeMap, error::Error, sync::Arc, thread, time::Duration};

use daglight_capture_policy::Redactor;
use daglight_http_transport::shown_url;
use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
    trace::v1::ExportTraceServiceRequest,
};

use crate::{
    door::Exportable,
    environment::Environment,
    grpc_endpoint::GrpcRuntime,
    ledger::Signal,
    otlp_target::OtlpTarget,
    sender::{RetryPolicy, Sender},
};

/// The user waits for the answer, and one attempt is enough to know.
const ONE_ATTEMPT: RetryPolicy =
    RetryPolicy { attempts: 1, first_wait: Duration::ZERO, longest: Duration::from_secs(10) };

/// The exports that the OpenTelemetry variables request, and whether they work.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct OtlpCheck {
    /// The endpoint of each signal that has one.
    pub endpoints: Vec<EndpointCheck>,
    /// Warnings about variables with invalid values.
    pub warnings: Vec<String>,
}

/// One signal and its endpoint.
#[derive(Debug)]
#[non_exhaustive]
pub struct EndpointCheck {
    /// The signal.
    pub signal: Signal,
    /// The variable that contains the endpoint.
    pub variable: String,
    /// The endpoint, without credentials.
    pub endpoint: String,
    /// Its answer to an empty request.
    pub result: Result<(), Box<dyn Error + Send + Sync>>,
}

/// Sends an empty request, which no backend keeps, to each OTLP endpoint in `variables` (`OTEL_*`). It blocks, at most for the
/// timeouts of the exporters. Warnings repeat values only as far as `redactor` shows them.
pub fn check_endpoints(variables: &BTreeMap<String, String>, redactor: &Redactor) -> OtlpCheck {
    let environment = Environment::read(variables, redactor);
    let signals = [
        (Signal::Traces, environment.traces.otlp),
        (Signal::Metrics, environment.metrics.otlp),
        (Signal::Logs, environment.logs.otlp),
    ];
    let asked = signals.into_iter().filter_map(|(signal, target)| Some((signal, target?)));
    // A blocking HTTP client cannot be used on a thread of a runtime.
    let endpoints = thread::scope(|scope| {
        let checks: Vec<_> = asked
            .map(|(signal, target)| {
                scope.spawn(move || EndpointCheck {
                    signal,
                    variable: variable(variables, signal),
                    endpoint: shown_url(&target.endpoint),
                    result: ask(signal, &target),
                })
            })
            .collect();
        let answers = checks.into_iter().map(|check| check.join());
        answers.map(|answer| answer.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    OtlpCheck { endpoints, warnings: environment.warnings }
}

fn ask(signal: Signal, target: &OtlpTarget) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut grpc: Option<Arc<GrpcRuntime>> = None;
    let sender = Sender::new(target, ONE_ATTEMPT, &mut grpc)?;
    match signal {
        Signal::Traces => sender.send(&Exportable::<ExportTraceServiceRequest>::nothing()),
        Signal::Metrics => sender.send(&Exportable::<ExportMetricsServiceRequest>::nothing()),
        Signal::Logs => sender.send(&Exportable::<ExportLogsServiceRequest>::nothing()),
    }?;
    Ok(())
}

/// The variable of the signal takes precedence over that of all signals.
fn variable(variables: &BTreeMap<String, String>, signal: Signal) -> String {
    let own = format!("OTEL_EXPORTER_OTLP_{}_ENDPOINT", signal.name().to_uppercase());
    match variables.get(&own) {
        Some(value) if !value.trim().is_empty() => own,
        _ => "OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(),
    }
}
