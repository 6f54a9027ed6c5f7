//! `daglight sync`.

use std::{process::ExitCode, time::Duration};

use daglight::{
    bundle::Bundle,
    policy::{SettingsLoader, in_one_line},
    sync_run,
    tracker::{Connection, SyncOutcome},
};
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    args::SyncArgs, bundles::bundles_at, failure::Failure, progress::grouped, say::say,
    summary::SERVER_VARIABLES,
};

pub(crate) fn sync(args: &SyncArgs) -> Result<ExitCode, Failure> {
    let settings = SettingsLoader::from_process().load().map_err(Failure::input)?;
    let connection = Connection::from_settings(&settings.tracker).map_err(Failure::input)?;
    let bundles = bundles_at(&args.dir)?;
    let bar = ProgressBar::new(bundles.len() as u64).with_style(
        ProgressStyle::with_template("{spinner} [{bar:24}] {pos}/{len} bundles")
            .expect("the template is well formed"),
    );
    let mut failed = false;
    let mut unconfigured = false;
    for bundle in &bundles {
        let (line, result) = sync_one(bundle, connection.as_ref(), Duration::from_secs(args.timeout));
        failed |= result == Synced::Incomplete;
        unconfigured |= result == Synced::NoServer;
        bar.suspend(|| say!("{}: {line}", bundle.dir().display()));
        bar.inc(1);
    }
    bar.finish_and_clear();
    if unconfigured {
        return Err(Failure::input(match settings.tracker.enabled {
            true => format!("no tracking server is configured: set {SERVER_VARIABLES}"),
            false => "the tracker is off, by the profile or by HAMILTON_TRACKER_ENABLED".to_owned(),
        }));
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What is left to do for a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Synced {
    /// Nothing.
    Complete,
    /// Some of it: the server does not answer, or an error said why.
    Incomplete,
    /// Records wait for a server, and none is configured.
    NoServer,
}

/// What to say of one bundle.
fn sync_one(bundle: &Bundle, connection: Option<&Connection>, timeout: Duration) -> (String, Synced) {
    let report = match sync_run(bundle, connection, timeout) {
        Ok(report) => report,
        Err(error) => return (format!("error: {}", in_one_line(&error)), Synced::Incomplete),
    };
    let (mut said, result) = match &report.outcome {
        Some(outcome) => {
            (delivered(outcome), if report.waiting == 0 { Synced::Complete } else { Synced::Incomplete })
        }
        None if report.waiting == 0 => (vec!["not recorded for the tracker".to_owned()], Synced::Complete),
        None => {
            let waits = format!("{} records wait for a tracking server", grouped(report.waiting));
            (vec![waits], if report.tracking.is_expected() { Synced::NoServer } else { Synced::Complete })
        }
    };
    if report.closed {
        said.push("the run's process had ended: closed as FAILURE".to_owned());
    }
    said.extend(report.warnings.iter().map(|warning| format!("warning: {warning}")));
    (said.join("; "), result)
}

fn delivered(outcome: &SyncOutcome) -> Vec<String> {
    let mut said = match (outcome.delivered, outcome.ledger.waiting) {
        (0, 0) => vec!["nothing to do".to_owned()],
        (delivered, 0) => vec![format!("{} records delivered", grouped(delivered))],
        (delivered, waiting) => vec![
            format!("{} records delivered, {} still wait", grouped(delivered), grouped(waiting)),
            outcome.ledger.last_error.clone().unwrap_or_default(),
        ],
    };
    said.extend(outcome.ledger.dropped.iter().map(|(reason, count)| format!("{count} dropped: {reason}")));
    said.extend(outcome.link.as_ref().map(|link| link.run_url.clone()));
    said
}
