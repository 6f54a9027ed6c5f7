//! `daglight report`.

use std::process::ExitCode;

use daglight::bundle::{Bundle, Report};

use crate::{
    args::ReportArgs,
    failure::Failure,
    say::{note, say},
};

pub(crate) fn report(args: &ReportArgs) -> Result<ExitCode, Failure> {
    let bundle = Bundle::open(&args.bundle).map_err(Failure::input)?;
    if daglight::close_dead_run(&bundle).map_err(Failure::work)? {
        note!("the run's process had ended: closed as FAILURE");
    }
    let report = Report::of_bundle(&bundle).map_err(Failure::work)?;
    if args.json {
        say!("{}", serde_json::to_string_pretty(&report).map_err(Failure::work)?);
    } else {
        say!("{}", report.to_markdown().trim_end());
    }
    report.write(&bundle).map_err(Failure::work)?;
    note!("written: {}", bundle.report_html().display());
    Ok(ExitCode::SUCCESS)
}
