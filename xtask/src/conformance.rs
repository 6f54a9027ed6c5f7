//! `cargo xtask conformance`: DataFusion's own tests and the queries of TPC-DS, on a bare session, on an observed one, and as scripts.

use std::process::Command;

use anyhow::Result;
use dev_services::Workspace;

/// The crate that ships the tests, in the version of DataFusion.
const FILES: &str = "datafusion-sqllogictest@55.2.0";

/// Options of the conformance command.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only files whose path contains one of these
    only: Vec<String>,
    /// Leave out the runs as scripts
    #[arg(long)]
    no_scripts: bool,
    /// Print every record that differs in full
    #[arg(long)]
    verbose: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let workspace = Workspace::locate()?;
    fetch(&workspace)?;
    // All members, as the tests are built: with another selection cargo would build DataFusion a second time.
    dev_services::run(workspace.cargo().args(["build", "--workspace", "--bins"]))?;
    let mut conformance = Command::new(workspace.binary("conformance", "debug")?);
    conformance.args(&options.only);
    if !options.no_scripts {
        conformance.arg("--scripts");
    }
    if options.verbose {
        conformance.arg("--verbose");
    }
    conformance.env("HAMILTON_TRACKER_ENABLED", "false").env("DAGLIGHT_OPERATOR_SPANS", "true");
    dev_services::run(&mut conformance)
}

/// Brings the test files into cargo's registry.
pub(crate) fn fetch(workspace: &Workspace) -> Result<()> {
    // It reads the manifest of the crate, for which it unpacks it.
    let mut info = workspace.cargo();
    info.args(["info", "--quiet", FILES]).stdout(std::process::Stdio::null());
    dev_services::run(&mut info)
}
