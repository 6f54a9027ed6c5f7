//! `daglight prune`.

use std::{
    io::{self, IsTerminal as _},
    path::{Component, Path},
    process::ExitCode,
};

use chrono::{TimeDelta, Utc};
use daglight::{
    BundleStatus,
    bundle::{
        Bundle, Deleted,
        display::exact_plural,
        retention::{Kept, Limits},
    },
    policy::in_one_line,
    settings::BundleSettings,
};

use crate::{
    args::PruneArgs,
    bundles::{folders_at, no_runs, runs_folder},
    config::process_settings,
    failure::Failure,
    say::{self, note, say},
    summary::{waiting_events, waiting_records},
};

pub(crate) fn prune(args: &PruneArgs) -> Result<ExitCode, Failure> {
    let settings = process_settings()?;
    let limits = limits(args, &settings.bundle).ok_or_else(|| {
        Failure::input(
            "nothing says which bundles may go: give --older-than, --keep or --max-bytes, or set bundle.keep_days, \
             bundle.keep_count or bundle.keep_bytes",
        )
    })?;
    let folder = &runs_folder(args.runs.dir.as_deref())?;
    check_folder(folder)?;
    let bundles = folders_at(folder)?;
    if bundles.is_empty() {
        say!("{}", no_runs(folder));
        return Ok(ExitCode::SUCCESS);
    }
    let mut found: Vec<(Bundle, BundleStatus)> = bundles
        .into_iter()
        .map(|bundle| {
            let status = BundleStatus::of(&bundle);
            (bundle, status)
        })
        .collect();
    // A bundle without a start is sorted last, as the limits on number and size require.
    found.sort_by_key(|(_, status)| std::cmp::Reverse(status.started_at));
    let has_server = settings.tracker.enabled && settings.tracker.api_url.is_some();
    let candidates: Vec<_> = found.iter().map(|(_, status)| status.candidate(has_server)).collect();
    let mut going = Vec::new();
    for over in limits.over(&candidates, Utc::now()) {
        let (bundle, status) = &found[over];
        match candidates[over].kept_because(args.even_waiting) {
            Some(kept) => {
                say!("kept     {}: {}", status.dir.display(), reason(kept, status));
                // They are the reason why it is kept, or why its state is unknown.
                status.problems.iter().for_each(|problem| say!("  {problem}"));
            }
            None => going.push((bundle, status)),
        }
    }
    let going_bytes = going.iter().map(|(_, status)| status.size_bytes).sum();
    if !args.dry_run && !going.is_empty() && !args.yes && !is_confirmed(&going, going_bytes) {
        say!("nothing was deleted");
        return Ok(ExitCode::SUCCESS);
    }
    let mut freed_bytes = 0;
    let mut failed = false;
    for (bundle, _) in going {
        match if args.dry_run { bundle.would_delete() } else { bundle.delete() } {
            Ok(deleted) => {
                freed_bytes += deleted.freed_bytes;
                say_deleted(bundle, deleted, args.dry_run);
            }
            Err(error) => {
                failed = true;
                note!("error: {}", in_one_line(&error));
            }
        }
    }
    say!("{} {}", exact_plural(freed_bytes, "byte"), if args.dry_run { "would be freed" } else { "freed" });
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Prints the result of deleting a bundle, or of a dry run.
fn say_deleted(bundle: &Bundle, deleted: Deleted, dry_run: bool) {
    let dir = bundle.dir().display();
    let (wholly, partly) = match dry_run {
        true => ("would go", "would partly go"),
        false => ("deleted ", "partly deleted"),
    };
    match deleted.kept.len() as u64 {
        0 => say!("{wholly} {dir}"),
        kept => {
            say!(
                "{partly} {dir}: kept the folder with {} that no run has written",
                exact_plural(kept, "file")
            )
        }
    }
    for other in deleted.kept {
        say!("kept     {}: no run has written it", bundle.dir().join(other).display());
    }
}

/// Rejects folders in which nobody intends to delete.
fn check_folder(dir: &Path) -> Result<(), Failure> {
    let refused = |why: &str| {
        Err(Failure::input(format!("nothing is deleted in {}: {why}; name an output folder", dir.display())))
    };
    // Without a trailing slash, which would follow a link.
    let itself: std::path::PathBuf = dir.components().collect();
    if itself.is_symlink() && Bundle::open(&itself).is_ok() {
        return refused("it is a link to a bundle");
    }
    match dir.canonicalize() {
        Ok(folder) if !folder.components().any(|part| matches!(part, Component::Normal(_))) => {
            refused("it is the root of the file system")
        }
        Ok(folder) if !folder.is_dir() => refused("it is not a folder"),
        _ => Ok(()),
    }
}

/// Asks for confirmation on a terminal. A script has already made its choice.
fn is_confirmed(going: &[(&Bundle, &BundleStatus)], bytes: u64) -> bool {
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return true;
    }
    going.iter().for_each(|(_, status)| note!("to be deleted: {}", status.dir.display()));
    let bundles = exact_plural(going.len() as u64, "bundle");
    let answer = say::ask(format_args!("Delete {bundles}, {}? [y/N]", exact_plural(bytes, "byte")));
    answer.is_some_and(|answer| matches!(&*answer, "y" | "Y" | "yes"))
}

/// The limits: an option takes precedence over its setting. `None` if there is no limit.
fn limits(args: &PruneArgs, settings: &BundleSettings) -> Option<Limits> {
    let limits = Limits {
        max_age: args.older_than.or(settings.keep_days.map(|days| TimeDelta::days(days.into()))),
        max_count: args.keep.or(settings.keep_count),
        max_bytes: args.max_bytes.or(settings.keep_bytes),
    };
    limits.any().then_some(limits)
}

fn reason(kept: Kept, status: &BundleStatus) -> String {
    match kept {
        Kept::Running => "the run has not ended".to_owned(),
        Kept::Newer => "a newer version of Daglight wrote it, which can delete it".to_owned(),
        Kept::Unclosed => {
            "its process ended before the run did, and `daglight sync` has not closed it".to_owned()
        }
        Kept::Unreadable => "what waits in it cannot be read".to_owned(),
        Kept::Waiting { .. } => match (status.waiting(), status.waiting_lineage()) {
            (records, 0) => format!("{} for the tracker", waiting_records(records)),
            (0, events) => format!("{} for a receiver of OpenLineage", waiting_events(events)),
            (records, events) => format!(
                "{} for the tracker, and {} for a receiver of OpenLineage",
                waiting_records(records),
                exact_plural(events, "lineage event")
            ),
        },
        Kept::Unverified => {
            "`daglight sync` has not verified yet what the tracking server has of it".to_owned()
        }
        _ => "it is still needed".to_owned(),
    }
}
