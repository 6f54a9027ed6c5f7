//! `daglight prune`.

use std::{fs, process::ExitCode};

use chrono::{DateTime, TimeDelta, Utc};
use daglight::BundleStatus;

use crate::{args::PruneArgs, bundles::bundles_at, failure::Failure, progress::grouped};

pub(crate) fn prune(args: &PruneArgs) -> Result<ExitCode, Failure> {
    let mut statuses: Vec<BundleStatus> = bundles_at(&args.dir)?.iter().map(BundleStatus::of).collect();
    statuses.sort_by_key(|status| std::cmp::Reverse(status.started_at));
    let mut freed_bytes = 0;
    for status in over_limits(&statuses, args, Utc::now()) {
        if let Some(reason) = kept_because(status, args.even_waiting) {
            println!("kept     {}: {reason}", status.dir.display());
            continue;
        }
        if !args.dry_run {
            fs::remove_dir_all(&status.dir)
                .map_err(|error| Failure::work(format!("cannot delete {}: {error}", status.dir.display())))?;
        }
        freed_bytes += status.size_bytes;
        println!("{} {}", if args.dry_run { "would go" } else { "deleted " }, status.dir.display());
    }
    println!("{} bytes {}", grouped(freed_bytes), if args.dry_run { "would be freed" } else { "freed" });
    Ok(ExitCode::SUCCESS)
}

/// The bundles, of those sorted from the newest to the oldest, that are over one of the limits.
fn over_limits<'a>(
    statuses: &'a [BundleStatus],
    args: &PruneArgs,
    now: DateTime<Utc>,
) -> impl Iterator<Item = &'a BundleStatus> {
    let oldest = args.older_than.map(|days| now - TimeDelta::days(days.into()));
    let (keep, max_bytes) = (args.keep, args.max_bytes);
    let mut total_bytes = 0;
    statuses.iter().enumerate().filter_map(move |(position, status)| {
        total_bytes += status.size_bytes;
        let too_old = oldest.zip(status.started_at).is_some_and(|(oldest, started)| started < oldest);
        let too_many = keep.is_some_and(|keep| position >= keep);
        let too_large = max_bytes.is_some_and(|max_bytes| total_bytes > max_bytes);
        (too_old || too_many || too_large).then_some(status)
    })
}

fn kept_because(status: &BundleStatus, even_waiting: bool) -> Option<String> {
    if status.is_running() {
        return Some("the run has not ended".to_owned());
    }
    if even_waiting {
        return None;
    }
    match status.waiting() {
        0 if status.problems.is_empty() => None,
        0 => Some("what waits in it cannot be read".to_owned()),
        waiting => Some(format!("{} records wait for the tracker", grouped(waiting))),
    }
}
