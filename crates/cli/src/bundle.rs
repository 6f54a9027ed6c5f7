//! `daglight bundle`: checking a bundle, and packing it into one file.

use std::{path::PathBuf, process::ExitCode};

use daglight::bundle::display::{bytes, exact_plural};
use daglight_bundle_archive::{PackError, PackOptions, pack};

use crate::{
    args::{BundleArgs, BundleCommand, PackArgs, VerifyArgs},
    bundles::{bundle_of, no_runs, one_bundle},
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
    let Some(bundle) = bundle_of(&args.bundle)? else {
        note!("{}", no_runs(&args.bundle));
        return Ok(ExitCode::SUCCESS);
    };
    let faults = bundle.verify();
    for fault in &faults {
        say!("{fault}");
    }
    for (account, lost) in bundle.losses() {
        note!("{account}: {lost}");
    }
    if faults.is_empty() {
        let files = exact_plural(bundle.files().len() as u64, "file");
        note!("{}: {files}, no fault", args.bundle.display());
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

fn packed(args: &PackArgs) -> Result<ExitCode, Failure> {
    let bundle = one_bundle(&args.bundle)?;
    let to = args.to.clone().unwrap_or_else(|| {
        let run = bundle.recorded_run().map_or_else(|| "bundle".to_owned(), |run| run.to_string());
        PathBuf::from(format!("{run}.tar.gz"))
    });
    let options = PackOptions::default().without_sql(args.without_sql);
    let packed = pack(&bundle, &to, options).map_err(|error| match error {
        PackError::Exists { .. } => Failure::input(error),
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
    let size = to.metadata().map(|metadata| metadata.len()).unwrap_or_default();
    note!("packed {}, {}:", exact_plural(packed.files.len() as u64 + 1, "file"), bytes(size));
    say!("{}", to.display());
    Ok(ExitCode::SUCCESS)
}
