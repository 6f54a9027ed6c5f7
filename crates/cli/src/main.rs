//! The `daglight` command: run SQL scripts as instrumented pipelines, report on bundles, deliver what waits.
//!
//! Exit codes: 0 when it worked, 1 when the pipeline or the command failed, 2 when the input was wrong, 3 when
//! `daglight sync` has to be run again later, and where a signal ended the run, 130 (ctrl-c), 143 (SIGTERM) or 129 (SIGHUP).

mod args;
mod bundles;
mod config;
mod console;
mod doctor;
mod ending;
mod failure;
mod output_dir;
mod progress;
mod prune;
mod replay;
mod report;
mod run;
mod say;
mod stack;
mod status;
mod summary;
mod sync;
mod threads;

use std::{env, process::ExitCode, sync::Arc};

use clap::{Parser as _, error::ErrorKind};
use daglight::ErrorReport;

use crate::{
    args::{Args, Command},
    failure::print_json,
};

fn main() -> ExitCode {
    stack::with_large_stack(command)
}

fn command() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return refused(&error),
    };
    let json = args.command.prints_json();
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
        Err(failure) => failure.print(json),
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

/// A command line that cannot be read, or one that asks for help or the version.
fn refused(error: &clap::Error) -> ExitCode {
    // There is nowhere left to say that it failed.
    let _ = error.print();
    let unreadable = || env::args_os().find(|argument| argument.to_str().is_none());
    if error.kind() == ErrorKind::InvalidUtf8
        && let Some(argument) = unreadable()
    {
        // What follows may be secret.
        let shown = argument.to_string_lossy();
        let shown = shown.split_once('=').map_or(&*shown, |(name, _)| name);
        say::note!("the argument that starts with {shown:?} is not valid UTF-8, as only a path may be");
    }
    if error.use_stderr() && env::args_os().any(|argument| argument == "--json") {
        let text = error.to_string();
        // The first paragraph is the error, the others say how the command is used.
        let message: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
        let message = message.join(" ");
        print_json(&ErrorReport::new(message.strip_prefix("error: ").unwrap_or(&message)));
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}
