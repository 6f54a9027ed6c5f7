//! `daglight sync`.

use std::{process::ExitCode, time::Duration};

use daglight::{
    bundle::Bundle,
    policy::{SettingsLoader, in_one_line},
    sync_run,
    tracker::Connection,
};
use indicatif::{ProgressBar, ProgressStyle};

use crate::{args::SyncArgs, bundles::bundles_at, failure::Failure, progress::grouped, say::say};

pub(crate) fn sync(args: &SyncArgs) -> Result<ExitCode, Failure> {
    let settings = SettingsLoader::from_process().load().map_err(Failure::input)?;
    let connection = Connection::from_settings(&settings.tracker).map_err(Failure::input)?.ok_or_else(|| {
        Failure::input(
            "no tracking server is configured: set HAMILTON_API_URL, HAMILTON_PROJECT_ID and HAMILTON_USERNAME",
        )
    })?;
    let bundles = bundles_at(&args.dir)?;
    let bar = ProgressBar::new(bundles.len() as u64).with_style(
        ProgressStyle::with_template("{spinner} [{bar:24}] {pos}/{len} bundles")
            .expect("the template is well formed"),
    );
    let mut failed = false;
    for bundle in &bundles {
        let (line, ok) = sync_one(bundle, &connection, Duration::from_secs(args.timeout));
        failed |= !ok;
        bar.suspend(|| say!("{}: {line}", bundle.dir().display()));
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What to say of one bundle, and whether nothing is left to do.
fn sync_one(bundle: &Bundle, connection: &Connection, timeout: Duration) -> (String, bool) {
    let report = match sync_run(bundle, connection, timeout) {
        Ok(Some(report)) => report,
        Ok(None) => return ("not recorded for the tracker".to_owned(), true),
        Err(error) => return (format!("error: {}", in_one_line(&error)), false),
    };
    let outcome = &report.outcome;
    let mut said = match (outcome.delivered, outcome.ledger.waiting) {
        (0, 0) => vec!["nothing to do".to_owned()],
        (delivered, 0) => vec![format!("{} records delivered", grouped(delivered))],
        (delivered, waiting) => vec![
            format!("{} records delivered, {} still wait", grouped(delivered), grouped(waiting)),
            outcome.ledger.last_error.clone().unwrap_or_default(),
        ],
    };
    if outcome.closed {
        said.push("the run's process had ended: closed as FAILURE".to_owned());
    }
    said.extend(outcome.ledger.dropped.iter().map(|(reason, count)| format!("{count} dropped: {reason}")));
    said.extend(outcome.link.as_ref().map(|link| link.run_url.clone()));
    said.extend(report.warnings.iter().map(|warning| format!("warning: {warning}")));
    (said.join("; "), outcome.ledger.waiting == 0)
}
