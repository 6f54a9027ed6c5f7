//! `daglight bundle`: checking a bundle, and packing it into one file.

use std::{path::PathBuf, process::ExitCode};

use daglight::bundle::display::{bytes, exact, exact_plural};
use daglight_bundle_archive::{PackError, PackOptions, pack};

use crate::{
    args::{BundleArgs, BundleCommand, PackArgs, VerifyArgs},
    bundles::{bundles_at, no_runs, one_bundle, runs_folder},
    failure::Failure,
    say::{note, say},
};

pub(crate) fn bundle(args: &BundleArgs) -> Result<ExitCode, Failure> {
    match &args.command {
        BundleCommand::Verify(args) => verify(args),
        BundleCommand::Pack(args) => packed(args),
    }
}

fn verify(args: &VerifyArgs) -> Result<ExitCode, Failure> {
    let folder = runs_folder(args.runs.dir.as_deref())?;
    let bundles = bundles_at(&folder)?;
    if bundles.is_empty() {
        note!("{}", no_runs(&folder));
    }
    let mut with_faults: u64 = 0;
    for bundle in &bundles {
        // Of several, each line says which.
        let shown = if bundles.len() > 1 { bundle.shown() } else { folder.display() };
        let of_bundle = if bundles.len() > 1 { format!("{shown}: ") } else { String::new() };
        let faults = bundle.verify();
        for fault in &faults {
            say!("{of_bundle}{fault}");
        }
        for (account, lost) in bundle.losses() {
            note!("{of_bundle}{account}: {lost}");
        }
        match faults.is_empty() {
            true => note!("{shown}: {}, no fault", exact_plural(bundle.files().len() as u64, "file")),
            false => with_faults += 1,
        }
    }
    if bundles.len() > 1 {
        note!("{} of {} have faults", exact(with_faults), exact_plural(bundles.len() as u64, "run"));
    }
    Ok(if with_faults == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn packed(args: &PackArgs) -> Result<ExitCode, Failure> {
    let bundle = one_bundle(&runs_folder(args.run.bundle.as_deref())?)?;
    let to = args.to.clone().unwrap_or_else(|| {
        let run = bundle.recorded_run().map_or_else(|| "bundle".to_owned(), |run| run.to_string());
        PathBuf::from(format!("{run}.tar.gz"))
    });
    let options = PackOptions::default().without_sql(args.without_sql);
    let packed = pack(&bundle, &to, options).map_err(|error| match error {
        PackError::Exists { .. } | PackError::Named { .. } => Failure::input(error),
        error => Failure::work(error),
    })?;
    for fault in &packed.faults {
        note!("damaged: {fault}");
    }
    for (path, error) in &packed.unreadable {
        note!("warning: not packed: {path}: {error}");
    }
    for path in &packed.left_out {
        note!("left out: {path}");
    }
    if args.without_sql {
        note!(
            "left out of the other files: SQL, texts of plans, errors, checks and warnings, previews of rows, values of \
             parameters, the command line; names and tags stay"
        );
    }
    let size = to.metadata().map(|metadata| metadata.len()).unwrap_or_default();
    note!("packed {}, {}:", exact_plural(packed.files.len() as u64 + 1, "file"), bytes(size));
    say!("{}", to.display());
    Ok(ExitCode::SUCCESS)
}
