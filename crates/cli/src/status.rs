//! `daglight status`.

use std::process::ExitCode;

use chrono::Utc;
use daglight::{
    BundleState, BundleStatus, SERVER_VARIABLES,
    bundle::{
        display::{age, command, exact},
        saturating_sum,
    },
};

use crate::{
    args::StatusArgs,
    bundles::{how_to_close, is_unclosed, no_runs, runs_folder, unpacked_or_named},
    failure::Failure,
    say::{self, say},
    summary::{waiting_events, waiting_records},
};

pub(crate) fn status(args: &StatusArgs) -> Result<ExitCode, Failure> {
    let folder = runs_folder(args.runs.dir.as_deref())?;
    let bundles = unpacked_or_named(&folder)?;
    let mut statuses: Vec<BundleStatus> = bundles.iter().map(|bundle| BundleStatus::of(bundle)).collect();
    statuses.sort_by_key(|status| std::cmp::Reverse(status.started_at));
    if args.json {
        say::document(&serde_json::to_string_pretty(&statuses).map_err(Failure::work)?);
        return Ok(ExitCode::SUCCESS);
    }
    if statuses.is_empty() {
        say!("{}", no_runs(&folder));
        return Ok(ExitCode::SUCCESS);
    }
    say!("{:<36}  {:<24} {:<13} {:>8} {:>9} {:>8}", "run", "dag", "status", "age", "delivered", "waiting");
    for status in &statuses {
        let run = status.run_id.map_or_else(|| status.dir.display().to_string(), |id| id.to_string());
        let age = status.started_at.map(|started| age(Utc::now() - started)).unwrap_or_default();
        let tracker = status.tracker.as_ref();
        let count = |count: Option<u64>| count.map_or_else(|| "-".to_owned(), exact);
        say!(
            "{run:<36}  {:<24} {:<13} {age:>8} {:>9} {:>8}",
            status.dag_name.as_deref().unwrap_or("?"),
            word(status),
            count(tracker.map(|ledger| ledger.delivered)),
            count(tracker.map(|ledger| ledger.waiting)),
        );
        for problem in &status.problems {
            say!("  {problem}");
        }
    }
    if let Some(archive) = bundles.iter().find_map(|bundle| bundle.archive().filter(|_| is_unclosed(bundle)))
    {
        // It is the only one, and `sync` cannot do anything for it.
        say!("{}", how_to_close(archive));
        return Ok(ExitCode::SUCCESS);
    }
    let waiting = |expected: bool| -> u64 {
        let statuses = statuses.iter().filter(|status| status.tracking.is_expected() == expected);
        saturating_sum(statuses.map(BundleStatus::waiting))
    };
    let sync = command("sync", &folder);
    let (expected, without_server) = (waiting(true), waiting(false));
    if expected > 0 {
        say!("{}; to deliver: {sync}", waiting_records(expected));
    }
    if without_server > 0 {
        say!(
            "{} of runs without a server; to see them in the Hamilton UI, configure it ({SERVER_VARIABLES}), then: {sync}",
            waiting_records(without_server)
        );
    }
    let events = saturating_sum(statuses.iter().map(BundleStatus::waiting_lineage));
    if events > 0 {
        say!("{} for a receiver of OpenLineage; to deliver: {sync}", waiting_events(events));
    }
    let dead = statuses.iter().filter(|status| status.status == BundleState::ProcessEnded).count();
    if dead > 0 {
        say!("{dead} ended with their process; to close them as failures: {sync}");
    }
    let unverified = statuses.iter().filter(|status| status.unverified_until().is_some()).count();
    if unverified > 0 {
        say!("runs that are unverified: {unverified}; to verify them: {sync}");
    }
    Ok(ExitCode::SUCCESS)
}

fn word(status: &BundleStatus) -> &'static str {
    match status.status {
        BundleState::ProcessEnded => "process ended",
        BundleState::Running => "running",
        BundleState::Success => "success",
        BundleState::Failure => "failure",
        BundleState::Interrupted => "interrupted",
        _ => "unknown",
    }
}
