//! The benches that need a server: starts a Hamilton UI, then runs them in release.

use anyhow::Result;
use xtask::{HamiltonUi, Python, USER, VirtualEnv, Workspace};

pub(crate) fn run() -> Result<()> {
    let (workspace, python) = (Workspace::locate()?, Python::find()?);
    let packages =
        VirtualEnv::prepare(&workspace, &python, "hamilton-ui", &workspace.python_file("hamilton-ui.txt"))?;
    let folder = tempfile::tempdir()?;
    let ui = HamiltonUi::start(&workspace, &python, folder.path())?;
    let project = ui.project("bench", "the benches")?;
    xtask::run(
        workspace
            .cargo()
            .args(["bench", "--quiet", "--package", "daglight-tracker-client", "--bench", "tracker"])
            .env("HAMILTON_API_URL", ui.url())
            .env("HAMILTON_USERNAME", USER)
            .env("HAMILTON_PROJECT_ID", project.to_string())
            .env("PYTHON", packages.python()),
    )
}
