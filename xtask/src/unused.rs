//! The check for dependencies that nothing uses.

use std::process::Command;

use anyhow::Result;
use dev_services::Workspace;

/// Pinned, so that a new version with another opinion does not fail a commit that has passed.
const VERSION: &str = "0.9.2";

/// Builds cargo-machete where it is not there yet, and runs it. What it cannot see is listed in the `Cargo.toml` concerned,
/// below `package.metadata.cargo-machete`.
pub(crate) fn run() -> Result<()> {
    let workspace = Workspace::locate()?;
    let tools = workspace.scratch().join("tools");
    // Does nothing when this version is there.
    dev_services::run(
        workspace
            .cargo()
            .args(["install", "--quiet", "--locked", "cargo-machete", "--version", VERSION, "--root"])
            .arg(&tools),
    )?;
    let members = ["crates", "tests", "xtask"];
    dev_services::run(
        Command::new(tools.join("bin/cargo-machete")).args(members).current_dir(workspace.root()),
    )
}
