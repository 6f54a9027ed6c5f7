//! `daglight replay`.

use std::process::ExitCode;

use daglight::{
    bundle::{Manifest, SignalFiles, display::exact_plural},
    otel,
};

use crate::{
    args::ReplayArgs,
    bundles::{bundle_of, no_runs, runs_folder},
    config::process_policy,
    failure::Failure,
    say::{note, say},
};

pub(crate) fn replay(args: &ReplayArgs) -> Result<ExitCode, Failure> {
    let folder = runs_folder(args.run.bundle.as_deref())?;
    let Some(bundle) = bundle_of(&folder)? else {
        say!("{}", no_runs(&folder));
        return Ok(ExitCode::SUCCESS);
    };
    Manifest::refuse_newer(&bundle).map_err(Failure::work)?;
    let is_grpc = args.protocol.as_deref() == Some("grpc");
    if let Some(endpoint) = args.endpoint.as_deref().filter(|endpoint| !is_grpc && !endpoint.contains("://"))
    {
        return Err(Failure::input(format!(
            "--endpoint {endpoint} has no scheme: expected a URL, such as http://{endpoint}"
        )));
    }
    let files = SignalFiles::from(&*bundle);
    let mut variables = otel::BridgeConfig::new("daglight").environment;
    if let Some(endpoint) = &args.endpoint {
        // A user who gives an endpoint wants everything sent there, regardless of the export variables.
        variables.retain(|name, _| {
            !name.ends_with("_ENDPOINT") && !name.ends_with("_EXPORTER") && name != "OTEL_SDK_DISABLED"
        });
        variables.insert("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), endpoint.clone());
    }
    if let Some(protocol) = &args.protocol {
        // Including those of single signals, which would take precedence over the general one that the option sets.
        variables.retain(|name, _| !name.ends_with("_PROTOCOL"));
        variables.insert("OTEL_EXPORTER_OTLP_PROTOCOL".to_owned(), protocol.clone());
    }
    let replayed =
        otel::replay(&files, &variables, process_policy().redactor()).map_err(|error| match error {
            otel::ReplayError::NoEndpoint { .. } => {
                Failure::input(format!("{error}; or pass --endpoint, which overrides these"))
            }
            error => Failure::work(error),
        })?;
    let otel::Replayed { spans, data_points, log_records, reasons, damaged, .. } = replayed;
    say!(
        "sent: {}, {}, {}",
        exact_plural(spans.sent, "span"),
        exact_plural(data_points.sent, "data point"),
        exact_plural(log_records.sent, "log record")
    );
    let rejected = [spans, data_points, log_records].map(|items| items.rejected);
    let any_rejected = rejected != [0; 3];
    if any_rejected {
        let [spans, data_points, log_records] = rejected;
        say!(
            "rejected: {}, {}, {}",
            exact_plural(spans, "span"),
            exact_plural(data_points, "data point"),
            exact_plural(log_records, "log record")
        );
    }
    if damaged.count > 0 {
        let verb = if damaged.count == 1 { "was" } else { "were" };
        note!("warning: {} {verb} not sent", exact_plural(damaged.count, "damaged line"));
    }
    for reason in damaged.named.into_iter().chain(reasons) {
        note!("warning: {reason}");
    }
    Ok(if any_rejected { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
