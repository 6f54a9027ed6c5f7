//! The `daglight` command: run SQL scripts as instrumented pipelines, report on bundles, deliver what waits.
//!
//! Exit codes: 0 when it worked, 1 when the pipeline or the command failed, 2 when the input was wrong, 130 when it was
//! interrupted.

mod args;
mod bundles;
mod config;
mod console;
mod doctor;
mod failure;
mod progress;
mod prune;
mod replay;
mod report;
mod run;
mod say;
mod status;
mod summary;
mod sync;

use std::{process::ExitCode, sync::Arc};

use clap::Parser as _;

use crate::args::{Args, Command};

fn main() -> ExitCode {
    let args = Args::parse();
    survive_file_size_limit();
    let done = match args.command {
        Command::Run(run) => run::run(run),
        Command::Report(report) => report::report(&report),
        Command::Replay(replay) => replay::replay(&replay),
        Command::Sync(sync) => sync::sync(&sync),
        Command::Status(status) => status::status(&status),
        Command::Prune(prune) => prune::prune(&prune),
        Command::Doctor => doctor::doctor(),
        Command::Config(config) => config::config(&config),
    };
    match done {
        Ok(_) if say::output_is_incomplete() => ExitCode::FAILURE,
        Ok(code) => code,
        Err(failure) => failure.print(),
    }
}

/// A limit on the size of files (`ulimit -f`) makes the write fail that meets it, which is a warning, and does not kill
/// the process.
fn survive_file_size_limit() {
    #[cfg(unix)]
    if let Err(error) = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default()) {
        say::note!("warning: a limit on the size of files will end the program: {error}");
    }
}
