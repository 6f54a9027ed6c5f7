//! The test command: set-up, then unit, doc and system tests.

use anyhow::Result;
use dev_services::{Browser, Postgres, Python, VirtualEnv, Workspace};

use crate::conformance;

/// Options of the test command.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Passed on to `cargo test`, such as `-p daglight-cli` or a name to filter by; without any, `--workspace`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    cargo_test_arguments: Vec<String>,
}

/// Sets up what the tests need, then runs them. Nothing is skipped: what is missing is named, and that is a failure.
pub(crate) fn run(options: &Options) -> Result<()> {
    let workspace = Workspace::locate()?;
    eprintln!("set-up: browser, PostgreSQL, Python environments");
    Browser::find_or_install()?;
    Postgres::find_or_install()?;
    let python = Python::find()?;
    VirtualEnv::prepare(&workspace, &python, "hamilton-ui", &workspace.python_file("hamilton-ui.txt"))?;
    VirtualEnv::prepare(
        &workspace,
        &python,
        "otlp",
        &workspace.root().join("tests/python/requirements.txt"),
    )?;
    let openlineage = workspace.root().join("tests/python/openlineage.txt");
    VirtualEnv::prepare(&workspace, &python, "openlineage", &openlineage)?;
    let perfetto = workspace.root().join("tests/python/perfetto.txt");
    VirtualEnv::prepare(&workspace, &python, "perfetto", &perfetto)?;
    let grafana = workspace.root().join("tests/python/grafana.txt");
    VirtualEnv::prepare(&workspace, &python, "grafana", &grafana)?;
    let tpcds = workspace.root().join("tests/python/tpcds.txt");
    VirtualEnv::prepare(&workspace, &python, "tpcds", &tpcds)?;
    eprintln!("set-up: DataFusion's own tests");
    conformance::fetch(&workspace)?;
    eprintln!("set-up: programs");
    // All members, as the tests are built: with another selection cargo would build DataFusion a second time.
    dev_services::run(workspace.cargo().args(["build", "--workspace", "--bins"]))?;
    eprintln!("tests");
    let mut tests = workspace.cargo();
    tests.arg("test");
    if options.cargo_test_arguments.is_empty() {
        tests.arg("--workspace");
    } else {
        tests.args(&options.cargo_test_arguments);
    }
    dev_services::run(&mut tests)
}
