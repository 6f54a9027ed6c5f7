//! `cargo xtask ci`: everything that a change must pass, and then each fuzz target for a while.

use std::process::Command;

use anyhow::Result;
use dev_services::Workspace;

use crate::fuzz;

/// What every change must pass.
const SCRIPT: &str = ".ci/run";

/// Options of the command.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How long each fuzz target runs
    #[arg(long, value_name = "SECONDS", default_value = "60")]
    fuzz_seconds: u64,
}

/// Runs the script, then the fuzz targets.
pub(crate) fn run(options: &Options) -> Result<()> {
    let workspace = Workspace::locate()?;
    let mut script = Command::new(workspace.root().join(SCRIPT));
    // Where this program was put is where the script finds what is built.
    script.env("CARGO_TARGET_DIR", workspace.target());
    dev_services::run(dev_services::as_from_a_shell(&mut script))?;
    fuzz::run(&fuzz::Options::all(options.fuzz_seconds))
}
