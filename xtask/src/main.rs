//! `cargo xtask`: the development tasks of this workspace.

mod api;
mod bench;
mod book;
mod ci;
mod circles;
mod clippy_lists;
mod codegen;
mod conformance;
#[cfg(test)]
mod containerfile;
mod dashboard;
mod demo;
mod demo_workers;
mod deny;
#[cfg(test)]
mod example_scripts;
mod false_alarms;
mod features;
mod fuzz;
mod interrupt;
mod layers;
mod lint_tables;
mod markdown;
mod module_files;
mod packages;
mod release;
mod screenshots;
mod test;
mod ui;
mod unused;
mod wheel;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use dev_services::{HamiltonUi, Python, Workspace};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Development tasks of Daglight", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run the example pipeline on TPC-H data and show it in the Hamilton UI
    Demo(demo::Options),
    /// Start a Hamilton UI for development, and print what a shell must set to send runs to it
    Ui,
    /// Take the pictures of the documentation anew, of the report and the Hamilton pages of the demo
    Screenshots {
        /// Take them of the program that is built in minutes
        #[arg(long)]
        debug: bool,
    },
    /// Set up what the tests need, and run them all: unit, doc and system tests
    Test(test::Options),
    /// Generate the wire types of the Hamilton tracking API from its OpenAPI document, and the dashboard for Grafana
    Codegen {
        /// Change nothing; fail when the generated files are stale
        #[arg(long)]
        check: bool,
        /// Start the pinned Hamilton UI and take its document, instead of the one that is checked in
        #[arg(long)]
        from_server: bool,
    },
    /// Measure what Daglight costs queries, scripts and programs, deliveries to a Hamilton UI, reports and pages, and print one table of
    /// ratios
    Bench(bench::Options),
    /// Run TPC-H with a fast heart, and fail where a query that works is taken for a stall
    FalseAlarms {
        /// How much data: 1 is a gigabyte as text. From 1 on, the beat is 1 s and the threshold 5 s, else 0.2 s and 1 s
        #[arg(long, default_value = "0.1")]
        scale_factor: f64,
        /// Build the fast programs, which takes seven times as long
        #[arg(long)]
        release: bool,
    },
    /// Run DataFusion's own tests on a bare session, on an observed one and as scripts, and compare record for record
    Conformance(conformance::Options),
    /// Do all that a change must pass, as .ci/run does, and run each fuzz target for a minute
    Ci(ci::Options),
    /// Build the fuzz targets, and run each for a while
    Fuzz(fuzz::Options),
    /// Write the list of the public API of each published crate
    Api {
        /// Change nothing; fail where a list is not what the crate has
        #[arg(long)]
        check: bool,
    },
    /// Check, version, package and build a release; without --execute it changes nothing
    Release(release::Options),
    /// Build the command as a package that pip installs
    Wheel(wheel::Options),
    /// Check licences, bans and sources of all dependencies against deny.toml
    Deny,
    /// Check the facade with each of its features alone
    Features,
    /// Check that every dependency is used
    Unused,
    /// Check what each crate depends on against the table in docs/architecture.md, and that the lists for clippy agree
    Layers,
    /// Check that no files of a crate use each other in a circle
    Circles,
    /// Check that every page of docs is in its table of contents, and that the links of the documentation lead somewhere
    Book,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().task {
        Task::Demo(options) => demo::run(&options),
        Task::Ui => ui::run(),
        Task::Screenshots { debug } => screenshots::run(debug),
        Task::Test(options) => test::run(&options),
        Task::Codegen { check, from_server: false } => codegen::run(check),
        Task::Codegen { check, from_server: true } => {
            server_document().and_then(|document| codegen::run_with_document(&document, check))
        }
        Task::Bench(options) => bench::run(&options),
        Task::FalseAlarms { scale_factor, release } => false_alarms::run(scale_factor, release),
        Task::Conformance(options) => conformance::run(&options),
        Task::Ci(options) => ci::run(&options),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Api { check } => api::run(check),
        Task::Release(options) => release::run(&options),
        Task::Wheel(options) => wheel::run(&options),
        Task::Deny => deny::run(),
        Task::Features => features::run(),
        Task::Unused => unused::run(),
        Task::Layers => layers::run(),
        Task::Circles => circles::run(),
        Task::Book => book::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<interrupt::Interrupted>() => ExitCode::from(interrupt::EXIT_CODE),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn server_document() -> Result<String> {
    let folder = tempfile::tempdir()?;
    let ui = HamiltonUi::start(&Workspace::locate()?, &Python::find()?, folder.path())?;
    Ok(dev_services::http_client()?
        .get(format!("{}/api/openapi.json", ui.url()))
        .send()?
        .error_for_status()?
        .text()?)
}
