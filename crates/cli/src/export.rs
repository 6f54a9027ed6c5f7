//! `daglight export`: the spans of a bundle for other viewers, and its tables.

use std::{
    fs,
    io::{self, BufWriter, ErrorKind, IsTerminal as _, Write},
    process::ExitCode,
};

use daglight::bundle::{
    ExportFormat, ExportSignal, Manifest,
    display::{exact, exact_plural},
    export as write_export,
};

use crate::{
    args::{ExportArgs, FormatName, SignalName},
    bundles::{one_bundle, runs_folder},
    export_tables::export_tables,
    failure::Failure,
    printable_output::PrintableOutput,
    private_file,
    say::{self, note},
};

pub(crate) fn export(args: &ExportArgs) -> Result<ExitCode, Failure> {
    if args.signal.is_some() && args.format != FormatName::Otlp {
        return Err(Failure::input(
            "--signal is for --format otlp: perfetto and speedscope show spans, and parquet has everything",
        ));
    }
    if args.to.as_deref().is_some_and(|path| path.as_os_str() == "-") {
        return Err(Failure::input(
            "--to takes a file or folder: for standard output, leave it out; for a file of that name, give ./-",
        ));
    }
    let Some(format) = format_of_spans(args) else {
        return export_tables(&runs_folder(args.run.bundle.as_deref())?, args.to.as_deref());
    };
    let bundle = one_bundle(&runs_folder(args.run.bundle.as_deref())?)?;
    Manifest::refuse_newer(&bundle).map_err(Failure::work)?;
    let mut to: Box<dyn Write> = match &args.to {
        Some(path) => {
            // An export can be repeated, but the existing file perhaps not.
            let file = private_file::create_new(path).map_err(|error| match error.kind() {
                ErrorKind::AlreadyExists => {
                    Failure::input(format!("{} already exists: choose a new file", path.display()))
                }
                _ => Failure::work(format!("cannot write {}: {error}", path.display())),
            })?;
            Box::new(BufWriter::new(PrintableOutput::new(file)))
        }
        // Megabytes in one line on a terminal are useless, and not intended.
        None if io::stdout().is_terminal() => {
            return Err(Failure::input(
                "an export is not for a terminal: name a file by --to, or use a pipe",
            ));
        }
        None => Box::new(BufWriter::new(say::json_output())),
    };
    let exported = match write_export(&bundle, format, &mut *to) {
        // The reader may disconnect.
        Err(error) if args.to.is_none() && error.is_broken_pipe() => return Ok(ExitCode::SUCCESS),
        written => written.map_err(|error| {
            if let Some(path) = &args.to {
                // The first error is the reason; a leftover partial file would be the lesser problem.
                let _ = fs::remove_file(path);
            }
            Failure::work(error)
        })?,
    };
    for file in [Some(&exported.file), exported.open_file.as_ref()].into_iter().flatten() {
        if let Some(problem) = &file.problem {
            note!("warning: {}: {problem}", file.file);
        }
    }
    if exported.unended > 0 {
        let spans = exact_plural(exported.unended, "span");
        note!("{spans} had not ended: shown until the run was last seen");
    }
    if exported.left_out > 0 {
        note!("warning: {} spans were omitted: the limit was reached", exact(exported.left_out));
    }
    if let Some(path) = &args.to {
        note!("written: {}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// The format for spans; `None` for that of tables.
fn format_of_spans(args: &ExportArgs) -> Option<ExportFormat> {
    Some(match args.format {
        FormatName::Perfetto => ExportFormat::Perfetto,
        FormatName::Speedscope => ExportFormat::Speedscope,
        FormatName::Otlp => ExportFormat::Otlp(match args.signal {
            None | Some(SignalName::Traces) => ExportSignal::Traces,
            Some(SignalName::Metrics) => ExportSignal::Metrics,
            Some(SignalName::Logs) => ExportSignal::Logs,
        }),
        FormatName::Parquet => return None,
    })
}
