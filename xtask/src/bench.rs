//! The benches that need a server or data: they run in release.

use anyhow::Result;
use clap::ValueEnum;
use dev_services::{HamiltonUi, Python, USER, VirtualEnv, Workspace};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Suite {
    /// The tracker: recording and delivering, beside raw requests and the Python SDK
    Tracker,
    /// What watching costs the 22 queries of TPC-H
    Overhead,
    /// What a script costs with the number of its statements
    Statements,
    /// What a run of 100,000 queries takes in memory
    Queries,
}

pub(crate) fn run(suite: Option<Suite>) -> Result<()> {
    let workspace = Workspace::locate()?;
    let all = vec![Suite::Tracker, Suite::Overhead, Suite::Statements, Suite::Queries];
    let suites = suite.map_or(all, |suite| vec![suite]);
    suites.into_iter().try_for_each(|suite| match suite {
        Suite::Tracker => tracker(&workspace),
        Suite::Overhead => overhead(&workspace),
        Suite::Statements => in_workspace(&workspace, "statements"),
        Suite::Queries => in_workspace(&workspace, "queries"),
    })
}

/// Against a Hamilton UI of its own.
fn tracker(workspace: &Workspace) -> Result<()> {
    let python = Python::find()?;
    let packages =
        VirtualEnv::prepare(workspace, &python, "hamilton-ui", &workspace.python_file("hamilton-ui.txt"))?;
    let folder = tempfile::tempdir()?;
    let ui = HamiltonUi::start(workspace, &python, folder.path())?;
    let project = ui.project("bench", "the benches")?;
    dev_services::run(
        workspace
            .cargo()
            .args(["bench", "--quiet", "--package", "daglight-tracker-client", "--bench", "tracker"])
            .env("HAMILTON_API_URL", ui.url())
            .env("HAMILTON_USERNAME", USER)
            .env("HAMILTON_PROJECT_ID", project.to_string())
            .env("PYTHON", packages.python()),
    )
}

/// With the features of the whole workspace, as below.
fn in_workspace(workspace: &Workspace, bench: &str) -> Result<()> {
    dev_services::run(workspace.cargo().args(["bench", "--quiet", "--workspace", "--bench", bench]))
}

/// With the features of the whole workspace, so that DataFusion is the one of the program.
fn overhead(workspace: &Workspace) -> Result<()> {
    for [scale_factor, rounds] in [["0.01", "40"], ["1", "5"]] {
        let arguments =
            ["bench", "--quiet", "--workspace", "--bench", "overhead", "--", scale_factor, rounds];
        dev_services::run(workspace.cargo().args(arguments))?;
    }
    Ok(())
}
