//! `daglight sync`.

use std::{
    iter,
    process::ExitCode,
    time::{Duration, Instant},
};

use chrono::Local;
use daglight::{
    BundleStatus, RunStatus, SERVER_VARIABLES, SyncReport, Tracking,
    bundle::{
        Bundle, DeliveryCounts,
        display::{exact, exact_plural},
    },
    lineage::Target,
    policy::in_one_line,
    settings::Settings,
    sync_lineage_of, sync_run,
    tracker::{Connection, Outcome, SyncOutcome},
};
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    args::SyncArgs,
    bundles::{how_to_close, is_unclosed, no_runs, runs_folder, unpacked_or_named},
    config::process_settings,
    failure::Failure,
    left_jobs::{AskedCluster, end_left_jobs},
    say::say,
    summary::{waiting_events, waiting_records},
};

pub(crate) fn sync(args: &SyncArgs) -> Result<ExitCode, Failure> {
    let settings = process_settings()?;
    let folder = &runs_folder(args.runs.dir.as_deref())?;
    let bundles = unpacked_or_named(folder)?;
    if bundles.is_empty() {
        say!("{}", no_runs(folder));
        return Ok(ExitCode::SUCCESS);
    }
    let connection = Connection::from_settings(&settings.tracker).map_err(Failure::input)?;
    let receiver = Target::from_settings(&settings.openlineage).map_err(Failure::input)?;
    let mut cluster = args.cluster.as_ref().map(AskedCluster::new).transpose()?;
    let bar = ProgressBar::new(bundles.len() as u64).with_style(
        ProgressStyle::with_template("{spinner} [{bar:24}] {pos}/{len} bundles")
            .expect("the template is well formed"),
    );
    let (mut failed, mut unverified, mut no_server, mut no_receiver) = (false, false, false, false);
    let (mut is_other_server, mut is_unasked) = (false, false);
    let (begun, timeout) = (Instant::now(), Duration::from_secs(args.timeout));
    for (position, bundle) in bundles.iter().enumerate() {
        let left = timeout.saturating_sub(begun.elapsed());
        let has_server = connection.is_some() || receiver.is_some();
        if let Some(archive) = bundle.archive().filter(|_| is_unclosed(bundle)) {
            // Closing it would close a temporary copy, and every command would do so, and ask the server, again.
            let why = how_to_close(archive);
            bar.suspend(|| say!("{}: not delivered: {why}", bundle.shown()));
            bar.inc(1);
            failed = true;
            continue;
        }
        let (mut line, result) = match position > 0 && left.is_zero() && has_server {
            true => ("not tried: the time of --timeout is over".to_owned(), Synced::Incomplete),
            false if is_other_server => {
                ("not tried: it would go to the same server".to_owned(), Synced::Incomplete)
            }
            false => sync_one(bundle, connection.as_ref(), left),
        };
        is_other_server |= result == Synced::OtherServer;
        // After that, the run is closed. What is found out about a packed one could not be recorded.
        if bundle.archive().is_none() {
            let jobs = end_left_jobs(bundle, cluster.as_mut());
            failed |= jobs.is_incomplete;
            is_unasked |= jobs.is_unasked;
            line = iter::once(line).chain(jobs.sentences).collect::<Vec<_>>().join("; ");
        }
        let left = timeout.saturating_sub(begun.elapsed());
        let lineage = match &receiver {
            Some(receiver) => send_lineage(bundle, receiver, left),
            None => waiting_lineage(bundle),
        };
        if let Some((said, waits)) = lineage {
            failed |= waits && receiver.is_some();
            no_receiver |= receiver.is_none();
            line = format!("{line}; {said}");
        }
        failed |= matches!(result, Synced::Incomplete | Synced::OtherServer);
        unverified |= result == Synced::Unverified;
        no_server |= result == Synced::NoServer;
        bar.suspend(|| say!("{}: {line}", bundle.shown()));
        bar.inc(1);
    }
    bar.finish_and_clear();
    let unconfigured: Vec<_> = [
        no_server.then(|| server_missing(&settings)),
        no_receiver.then(|| receiver_missing(&settings)),
        is_unasked.then(|| scheduler_missing(cluster.is_some())),
    ]
    .into_iter()
    .flatten()
    .collect();
    if !unconfigured.is_empty() {
        return Err(Failure::input(unconfigured.join("; ")));
    }
    Ok(match (failed, unverified) {
        (true, _) => ExitCode::FAILURE,
        (false, true) => ExitCode::from(UNVERIFIED),
        (false, false) => ExitCode::SUCCESS,
    })
}

fn server_missing(settings: &Settings) -> String {
    match settings.tracker.enabled {
        true => format!("no tracking server is configured: set {SERVER_VARIABLES}"),
        false => "the tracker is off, by the profile or by HAMILTON_TRACKER_ENABLED".to_owned(),
    }
}

fn scheduler_missing(is_other: bool) -> String {
    match is_other {
        true => "--cluster names another scheduler than that of jobs which may still be running",
        false => "jobs may still be running on the scheduler of a cluster: name it with --cluster",
    }
    .to_owned()
}

fn receiver_missing(settings: &Settings) -> String {
    let settings = &settings.openlineage;
    match settings.disabled || settings.transport.is_some() {
        true => "OpenLineage is off, by OPENLINEAGE_DISABLED or the transport noop".to_owned(),
        false => "no receiver of OpenLineage is configured: set OPENLINEAGE_URL".to_owned(),
    }
}

/// The exit code if everything is delivered, but the server has to be asked again.
const UNVERIFIED: u8 = 3;

/// What is left to do for a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Synced {
    /// Nothing: everything is delivered, or nobody expects it to be, because the run never had a server.
    Complete,
    /// Everything is delivered. The server may still carry out a request late, and has to be asked again after that.
    Unverified,
    /// Only some was delivered: the server does not respond, or there was an error.
    Incomplete,
    /// Nothing was delivered, and no other run can be: the server is not a Hamilton server.
    OtherServer,
    /// Records are waiting for the server of the run, but none is configured now.
    NoServer,
}

impl Synced {
    fn of(outcome: &SyncOutcome) -> Self {
        match (outcome.ledger.waiting, outcome.ledger.unverified_until) {
            (0, None) => Self::Complete,
            (0, Some(_)) => Self::Unverified,
            _ => Self::Incomplete,
        }
    }
}

/// Synchronises one bundle, and returns the message for it.
fn sync_one(bundle: &Bundle, connection: Option<&Connection>, timeout: Duration) -> (String, Synced) {
    let report = match sync_run(bundle, connection, timeout) {
        Ok(report) => report,
        Err(error) => {
            let result = if error.is_of_other_server() { Synced::OtherServer } else { Synced::Incomplete };
            return (format!("error: {}", in_one_line(&error)), result);
        }
    };
    let (mut said, result) = match &report.outcome {
        Some(outcome) => (delivered(outcome), Synced::of(outcome)),
        None if report.waiting == 0 => (vec!["not recorded for the tracker".to_owned()], Synced::Complete),
        None => {
            let waits = format!("{} for a tracking server", waiting_records(report.waiting));
            // If the manifest cannot be read, it is unknown whether anyone expects the records.
            let had_server = report.tracking == Tracking::Server;
            (vec![waits], if had_server { Synced::NoServer } else { Synced::Complete })
        }
    };
    let status = if ended_well(&report) { "SUCCESS" } else { "FAILURE" };
    if report.closed {
        said.push(format!("the run's process had ended: closed as {status}"));
    }
    if report.completed {
        said.push(format!("the outbox lacked the end of the run: completed from the manifest as {status}"));
    }
    said.extend(report.warnings.iter().map(|warning| format!("warning: {warning}")));
    (said.join("; "), result)
}

/// Sends the OpenLineage events, and returns the message and whether some are still waiting. `None` if the run has no events.
fn send_lineage(bundle: &Bundle, receiver: &Target, timeout: Duration) -> Option<(String, bool)> {
    let synced = match sync_lineage_of(bundle, receiver, timeout) {
        Ok(synced) => synced?,
        Err(error) => return Some((format!("lineage events: error: {}", in_one_line(&error)), true)),
    };
    let (delivered, ledger) = (synced.outcome.delivered, &synced.outcome.ledger);
    let mut said = match (delivered, ledger.waiting) {
        (0, 0) => vec!["lineage events: nothing to do".to_owned()],
        _ => progress(delivered, ledger, "lineage event"),
    };
    said.extend(dropped(ledger));
    said.extend(synced.warnings.iter().map(|warning| format!("warning: {warning}")));
    Some((said.join("; "), ledger.waiting > 0))
}

/// The message for events that are waiting without a configured receiver. `None` if none are waiting.
fn waiting_lineage(bundle: &Bundle) -> Option<(String, bool)> {
    let waiting = BundleStatus::of(bundle).waiting_lineage();
    (waiting > 0).then(|| (format!("{} for a receiver of OpenLineage", waiting_events(waiting)), true))
}

/// According to the server, if it has the run.
fn ended_well(report: &SyncReport) -> bool {
    match report.outcome.as_ref().and_then(|outcome| outcome.status) {
        Some(outcome) => outcome == Outcome::Success,
        None => report.status == Some(RunStatus::Success),
    }
}

/// How many items of a kind were delivered, and what the others are waiting for.
fn progress(delivered: u64, ledger: &DeliveryCounts, item: &str) -> Vec<String> {
    let delivered = exact_plural(delivered, item);
    match ledger.waiting {
        0 => vec![format!("{delivered} delivered")],
        waiting => vec![
            format!("{delivered} delivered, {} still waiting", exact(waiting)),
            ledger.last_error.clone().unwrap_or_default(),
        ],
    }
}

fn dropped(ledger: &DeliveryCounts) -> impl Iterator<Item = String> {
    ledger.dropped.iter().map(|(reason, count)| format!("{count} dropped: {reason}"))
}

fn delivered(outcome: &SyncOutcome) -> Vec<String> {
    let mut said = match (outcome.delivered, outcome.ledger.waiting) {
        (0, 0) => vec!["nothing to do".to_owned()],
        (delivered, _) => progress(delivered, &outcome.ledger, "record"),
    };
    if outcome.ledger.redelivered > 0 {
        said.push(format!(
            "the server no longer had the run: {} sent again",
            exact_plural(outcome.ledger.redelivered, "record")
        ));
    }
    if let Some(until) = outcome.ledger.unverified_until {
        said.push(format!(
            "unverified: the server may still carry out a request that it did not answer with success; to verify \
             it, run this again after {}",
            until.with_timezone(&Local).format("%H:%M:%S")
        ));
    }
    said.extend(dropped(&outcome.ledger));
    said.extend(outcome.link.as_ref().map(|link| link.run_url.clone()));
    said
}
