//! `daglight report`.

use std::{error::Error, process::ExitCode};

use daglight::{
    CloseError, RunStatus,
    bundle::{Bundle, Manifest, Report, WarningCode},
    policy::in_one_line,
};

use crate::{
    args::ReportArgs,
    bundles::{bundle_of, how_to_close, is_unclosed, no_runs, runs_folder},
    config::report_options,
    failure::Failure,
    say::{self, note, say},
};

pub(crate) fn report(args: &ReportArgs) -> Result<ExitCode, Failure> {
    let folder = runs_folder(args.run.bundle.as_deref())?;
    let Some(bundle) = bundle_of(&folder)? else {
        note!("{}", no_runs(&folder));
        if args.json {
            say!("null");
        }
        return Ok(ExitCode::SUCCESS);
    };
    let mut is_done = true;
    match bundle.archive() {
        // Closing it would close a temporary copy, and print a message every time.
        Some(archive) if is_unclosed(&bundle) => note!("{}", how_to_close(archive)),
        Some(_) => {}
        None => is_done &= close(&bundle),
    }
    let mut options = report_options();
    if let Some(archive) = bundle.archive() {
        options = options.unpacked_from(archive);
    }
    let report = Report::made(&bundle, &options, |_| ()).map_err(Failure::work)?;
    if args.json {
        say::document(&serde_json::to_string_pretty(&report).map_err(Failure::work)?);
    } else {
        say::document(report.to_markdown().trim_end());
    }
    if bundle.archive().is_some() {
        return Ok(ExitCode::SUCCESS);
    }
    match report.write(&bundle) {
        Ok(()) => note!("written: {}", bundle.report_html().display()),
        // The report was printed as requested. The lack of space for the file may be temporary.
        Err(error) => {
            is_done &= !has_no_space(&error);
            note!("warning: the report is not written: {}", in_one_line(&error));
        }
    }
    Ok(if is_done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Closes the run if necessary, and returns whether that succeeded.
fn close(bundle: &Bundle) -> bool {
    match daglight::close_dead_run(bundle) {
        Ok(true) => {
            let status = Manifest::read(bundle).map(|manifest| manifest.status);
            let status =
                if status.is_ok_and(|status| status == RunStatus::Success) { "SUCCESS" } else { "FAILURE" };
            note!("the run's process had ended: closed as {status}");
        }
        Ok(false) => {}
        // The report itself contains the problem with the manifest.
        Err(CloseError::Read(_)) => {}
        Err(error) => {
            note!("warning: the run is not closed: {}", in_one_line(&error));
            return !has_no_space(&error);
        }
    }
    true
}

fn has_no_space(error: &(dyn Error + 'static)) -> bool {
    WarningCode::of_error(error, WarningCode::Uncoded) == WarningCode::DiskFull
}
