//! `daglight replay`.

use std::process::ExitCode;

use daglight::{bundle::Bundle, otel};

use crate::{args::ReplayArgs, failure::Failure, progress::grouped};

pub(crate) fn replay(args: &ReplayArgs) -> Result<ExitCode, Failure> {
    let bundle = Bundle::open(&args.bundle).map_err(Failure::input)?;
    let files = otel::SignalFiles { traces: bundle.traces(), metrics: bundle.metrics(), logs: bundle.logs() };
    let mut variables = otel::BridgeConfig::new("daglight").environment;
    if let Some(endpoint) = &args.endpoint {
        variables.retain(|name, _| !name.ends_with("_ENDPOINT") && !name.ends_with("_PROTOCOL"));
        variables.insert("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), endpoint.clone());
    }
    let sent = otel::replay(&files, &variables).map_err(Failure::work)?;
    println!(
        "sent: {} spans, {} metrics, {} log records",
        grouped(sent.spans),
        grouped(sent.metrics),
        grouped(sent.log_records)
    );
    Ok(ExitCode::SUCCESS)
}
