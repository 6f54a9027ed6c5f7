//! `daglight prune`.

use std::{fs, process::ExitCode};

use chrono::{DateTime, TimeDelta, Utc};
use daglight::{
    BundleStatus,
    policy::{BundleSettings, SettingsLoader},
};

use crate::{args::PruneArgs, bundles::bundles_at, failure::Failure, progress::grouped, say::say};

/// What bundles are deleted for.
struct Limits {
    max_age_days: Option<u32>,
    max_count: Option<usize>,
    max_bytes: Option<u64>,
}

pub(crate) fn prune(args: &PruneArgs) -> Result<ExitCode, Failure> {
    let settings = SettingsLoader::from_process().load().map_err(Failure::input)?;
    let limits = Limits::of(args, &settings.bundle).ok_or_else(|| {
        Failure::input(
            "nothing says which bundles may go: give --older-than, --keep or --max-bytes, or set bundle.keep_days, \
             bundle.keep_count or bundle.keep_bytes",
        )
    })?;
    let mut statuses: Vec<BundleStatus> = bundles_at(&args.dir)?.iter().map(BundleStatus::of).collect();
    statuses.sort_by_key(|status| std::cmp::Reverse(status.started_at));
    let mut freed_bytes = 0;
    for status in limits.over(&statuses, Utc::now()) {
        if let Some(reason) = kept_because(status, args.even_waiting) {
            say!("kept     {}: {reason}", status.dir.display());
            continue;
        }
        if !args.dry_run {
            fs::remove_dir_all(&status.dir)
                .map_err(|error| Failure::work(format!("cannot delete {}: {error}", status.dir.display())))?;
        }
        freed_bytes += status.size_bytes;
        say!("{} {}", if args.dry_run { "would go" } else { "deleted " }, status.dir.display());
    }
    say!("{} bytes {}", grouped(freed_bytes), if args.dry_run { "would be freed" } else { "freed" });
    Ok(ExitCode::SUCCESS)
}

impl Limits {
    /// An option goes before its setting. `None` where there is no limit at all.
    fn of(args: &PruneArgs, settings: &BundleSettings) -> Option<Self> {
        let limits = Self {
            max_age_days: args.older_than.or(settings.keep_days),
            max_count: args.keep.or(settings.keep_count),
            max_bytes: args.max_bytes.or(settings.keep_bytes),
        };
        let any = limits.max_age_days.is_some() || limits.max_count.is_some() || limits.max_bytes.is_some();
        any.then_some(limits)
    }

    /// The bundles, of those sorted from the newest to the oldest, that are over one of the limits.
    fn over<'a>(
        &self,
        statuses: &'a [BundleStatus],
        now: DateTime<Utc>,
    ) -> impl Iterator<Item = &'a BundleStatus> {
        let oldest = self.max_age_days.map(|days| now - TimeDelta::days(days.into()));
        let mut total_bytes = 0;
        statuses.iter().enumerate().filter_map(move |(position, status)| {
            total_bytes += status.size_bytes;
            let too_old = oldest.zip(status.started_at).is_some_and(|(oldest, started)| started < oldest);
            let too_many = self.max_count.is_some_and(|count| position >= count);
            let too_large = self.max_bytes.is_some_and(|bytes| total_bytes > bytes);
            (too_old || too_many || too_large).then_some(status)
        })
    }
}

fn kept_because(status: &BundleStatus, even_waiting: bool) -> Option<String> {
    if status.is_running() {
        return Some("the run has not ended".to_owned());
    }
    if even_waiting {
        return None;
    }
    match status.waiting() {
        _ if status.process_ended => {
            Some("its process ended before the run did, and `daglight sync` has not closed it".to_owned())
        }
        0 if status.problems.is_empty() => None,
        0 => Some("what waits in it cannot be read".to_owned()),
        waiting => Some(format!("{} records wait for the tracker", grouped(waiting))),
    }
}
