//! The benches that need a server or data: they run in release.

use anyhow::Result;
use clap::ValueEnum;
use dev_services::{Browser, HamiltonUi, Python, USER, VirtualEnv, Workspace};

/// The bench of `datafusion-tracing`.
const TRACED: &str = "tests/tracing-bench/Cargo.toml";

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Suite {
    /// The tracker: recording and delivering, beside raw requests and the Python SDK
    Tracker,
    /// What watching costs the 22 queries of TPC-H, and what `datafusion-tracing` costs them
    Overhead,
    /// What watching costs the 22 queries of TPC-H on two workers, and what 100,000 tasks on 1,000 workers mean for a bundle
    Cluster,
    /// What a script costs with the number of its statements
    Statements,
    /// What a run of 100,000 queries takes in memory
    Queries,
    /// A report of 1,000,000 spans: time and memory
    Report,
    /// The page of a run of 10,000 nodes and 100,000 spans in Chromium: opening, scrolling, zooming
    Page,
    /// The list of 1,000 runs in the browser
    Serve,
}

pub(crate) fn run(suite: Option<Suite>) -> Result<()> {
    let workspace = Workspace::locate()?;
    let all = Suite::value_variants().to_vec();
    let suites = suite.map_or(all, |suite| vec![suite]);
    suites.into_iter().try_for_each(|suite| match suite {
        Suite::Tracker => tracker(&workspace),
        Suite::Overhead => overhead(&workspace),
        Suite::Cluster => in_workspace(&workspace, "cluster"),
        Suite::Statements => in_workspace(&workspace, "statements"),
        Suite::Queries => in_workspace(&workspace, "queries"),
        Suite::Report => of_package(&workspace, "daglight-bundle-report", "report"),
        Suite::Page => {
            Browser::find_or_install()?;
            of_package(&workspace, "daglight-bundle-report", "page")
        }
        Suite::Serve => of_package(&workspace, "daglight-bundle-server", "listing"),
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

/// Of a crate that links no DataFusion, and so has no features to share with the program.
fn of_package(workspace: &Workspace, package: &str, bench: &str) -> Result<()> {
    dev_services::run(workspace.cargo().args(["bench", "--quiet", "--package", package, "--bench", bench]))
}

/// With the features of the whole workspace, as below.
fn in_workspace(workspace: &Workspace, bench: &str) -> Result<()> {
    dev_services::run(workspace.cargo().args(["bench", "--quiet", "--workspace", "--bench", bench]))
}

/// With the features of the whole workspace, so that DataFusion is the one of the program; then the same queries on the same
/// tables with `datafusion-tracing`, in a workspace of its own.
fn overhead(workspace: &Workspace) -> Result<()> {
    for [scale_factor, rounds] in [["0.01", "40"], ["1", "5"]] {
        let folder = tempfile::tempdir()?;
        // Replaced by the bench, which makes the folder when it is complete.
        let data = folder.path().join("tpch");
        let of_daglight =
            ["bench", "--quiet", "--workspace", "--bench", "overhead", "--", scale_factor, rounds];
        dev_services::run(workspace.cargo().args(of_daglight).arg(&data))?;
        let mut traced = workspace.cargo();
        traced
            .args(["run", "--quiet", "--release", "--locked", "--manifest-path"])
            .arg(workspace.root().join(TRACED));
        // Beside the target folder of the workspace, whose DataFusion has other features.
        traced.arg("--target-dir").arg(workspace.scratch().join("tracing-bench"));
        dev_services::run(traced.arg("--").arg(&data).args([scale_factor, rounds]))?;
    }
    Ok(())
}
