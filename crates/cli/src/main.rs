//! The `daglight` command: run SQL scripts as instrumented pipelines, report on bundles, deliver what waits.
//!
//! Exit codes: 0 for success, 1 if the pipeline or the command failed, 2 for invalid input, 3 if `daglight sync` has to be repeated
//! later or a criterion of `daglight compare --fail-on` is met, and if a signal ended the run, 130 (ctrl-c), 143 (SIGTERM) or 129
//! (SIGHUP).

mod advice;
mod args;
mod bundle;
mod bundles;
mod bundle_session;
mod cache_functions;
mod compare;
mod config;
mod console;
mod doctor;
#[cfg(test)]
mod documented;
mod double_names;
mod ending;
mod export;
mod export_tables;
mod failure;
mod generated;
mod given_token;
mod history;
mod ignored_settings;
mod init;
mod left_jobs;
mod map_keys;
mod node_line;
mod option_values;
mod parquet_metadata;
mod plan;
mod printable_output;
mod private_file;
mod progress;
mod prune;
mod query;
mod refused;
mod replay;
mod report;
mod retry;
mod row_writer;
mod run;
mod say;
mod outputs;
mod script;
mod serve;
mod service_manager;
mod session;
mod session_config;
mod set_up_args;
mod spill;
mod stack;
mod statement_errors;
mod stdin_tables;
mod status;
mod store_options;
mod stores;
mod summary;
mod sync;
mod threads;
mod worker;
mod worker_args;

use std::{process::ExitCode, sync::Arc};

use clap::Parser as _;

use crate::args::{Args, Command};

fn main() -> ExitCode {
    ending::answer_signals_early();
    stack::with_large_stack(command)
}

fn command() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let exit_code = refused::exit_code(&error);
            return ending::print_once(exit_code, || refused::refused(error))
                .map_or_else(ending::left_to_others, |()| ExitCode::from(exit_code));
        }
    };
    let json = args.command.prints_json();
    survive_file_size_limit();
    // A run and the server have their own signal handling.
    if !matches!(args.command, Command::Run(_) | Command::Serve(_) | Command::Worker(_)) {
        daglight_bundle_archive::remove_on_signals();
    }
    let done = match args.command {
        Command::Run(run) => run::run(run),
        Command::Plan(plan) => plan::plan(&plan),
        Command::Report(report) => report::report(&report),
        Command::Bundle(bundle) => bundle::bundle(&bundle),
        Command::Compare(compare) => compare::compare(&compare),
        Command::History(history) => history::history(&history),
        Command::Serve(serve) => serve::serve(&serve),
        Command::Query(query) => query::query(&query),
        Command::Export(export) => export::export(&export),
        Command::Replay(replay) => replay::replay(&replay),
        Command::Sync(sync) => sync::sync(&sync),
        Command::Status(status) => status::status(&status),
        Command::Prune(prune) => prune::prune(&prune),
        Command::Worker(worker) => worker::worker(&worker),
        Command::Doctor => doctor::doctor(),
        Command::Config(config) => config::config(&config),
        Command::Init(init) => init::init(&init),
        Command::Completions(completions) => generated::completions(&completions),
        Command::Man(man) => generated::man(&man),
    };
    match done {
        Ok(code) if code == ExitCode::SUCCESS && bundles::some_were_unreadable() => ExitCode::FAILURE,
        Ok(code) if code == ExitCode::SUCCESS && say::output_is_incomplete() => ExitCode::FAILURE,
        Ok(code) => code,
        Err(failure) => ending::failed(failure, json),
    }
}

/// With a limit on the size of files (`ulimit -f`), makes the write that exceeds it fail, which causes a warning, instead of
/// killing the process.
fn survive_file_size_limit() {
    #[cfg(unix)]
    if let Err(error) = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default()) {
        say::note!("warning: a limit on the size of files will end the program: {error}");
    }
}
