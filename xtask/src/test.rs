//! The test command: set-up, then unit, doc and system tests.

use anyhow::Result;
use dev_services::{Browser, Groff, Postgres, Python, VirtualEnv, Workspace};

use crate::conformance;

/// Options of the test command.
#[derive(Default, clap::Args)]
pub(crate) struct Options {
    /// Passed on to `cargo test`, such as `-p daglight-cli` or a name to filter by; without any, `--workspace`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    cargo_test_arguments: Vec<String>,
}

/// Sets up what the tests need, then runs them. Nothing is skipped: what is missing is named, and that is a failure.
pub(crate) fn run(options: &Options) -> Result<()> {
    let workspace = Workspace::locate()?;
    eprintln!("set-up: browser, PostgreSQL, groff, Python environments");
    Browser::find_or_install()?;
    Postgres::find_or_install()?;
    Groff::find_or_install()?;
    let python = Python::find()?;
    VirtualEnv::prepare(&workspace, &python, "hamilton-ui", &workspace.python_file("hamilton-ui.txt"))?;
    VirtualEnv::prepare(&workspace, &python, "maturin", &workspace.python_file("maturin.txt"))?;
    let environments = [
        ("otlp", "requirements.txt"),
        ("openlineage", "openlineage.txt"),
        ("perfetto", "perfetto.txt"),
        ("grafana", "grafana.txt"),
        ("collector", "collector.txt"),
        ("compose", "compose.txt"),
        ("cyclonedx", "cyclonedx.txt"),
        ("tpcds", "tpcds.txt"),
    ];
    for (name, file) in environments {
        VirtualEnv::prepare(&workspace, &python, name, &workspace.root().join("tests/python").join(file))?;
    }
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
