//! The test command: set-up, then unit, doc and system tests.

use std::{env, num::NonZero, thread};

use anyhow::{Result, anyhow};
use dev_services::{Browser, Groff, Postgres, Python, VirtualEnv, Workspace};

use crate::conformance;

/// Options of the test command.
#[derive(Default, clap::Args)]
pub(crate) struct Options {
    /// Passed on to `cargo test`, such as `-p daglight-cli` or a name to filter by; without any, `--workspace`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    cargo_test_arguments: Vec<String>,
}

/// The environments of Python that tests use beside those that have a command of their own, and the files with their packages.
const ENVIRONMENTS: [(&str, &str); 8] = [
    ("otlp", "requirements.txt"),
    ("openlineage", "openlineage.txt"),
    ("perfetto", "perfetto.txt"),
    ("grafana", "grafana.txt"),
    ("collector", "collector.txt"),
    ("compose", "compose.txt"),
    ("cyclonedx", "cyclonedx.txt"),
    ("tpcds", "tpcds.txt"),
];

/// How many tests run at once. Whoever sets it is heard.
const THREADS: &str = "RUST_TEST_THREADS";

/// Sets up what the tests need, then runs them. Nothing is skipped: what is missing is named, and that is a failure.
pub(crate) fn run(options: &Options) -> Result<()> {
    let workspace = Workspace::locate()?;
    eprintln!("set-up: programs, browser, PostgreSQL, groff, Python environments, DataFusion's own tests");
    // Installing waits for servers most of its time, building for processors.
    let (installed, built) = thread::scope(|scope| {
        let installing =
            scope.spawn(|| install(&workspace).inspect_err(|error| eprintln!("set-up: {error:#}")));
        let built = build(&workspace);
        (installing.join(), built)
    });
    installed.map_err(|_| anyhow!("the set-up panicked"))??;
    built?;
    eprintln!("tests");
    let mut tests = workspace.cargo();
    tests.arg("test");
    // Most of them wait for programs and servers more than half of their time.
    if env::var_os(THREADS).is_none() {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        tests.env(THREADS, (2 * cores).to_string());
    }
    if options.cargo_test_arguments.is_empty() {
        tests.arg("--workspace");
    } else {
        tests.args(&options.cargo_test_arguments);
    }
    dev_services::run(&mut tests)
}

fn install(workspace: &Workspace) -> Result<()> {
    Browser::find_or_install()?;
    Postgres::find_or_install()?;
    Groff::find_or_install()?;
    let python = Python::find()?;
    VirtualEnv::prepare(workspace, &python, "hamilton-ui", &workspace.python_file("hamilton-ui.txt"))?;
    VirtualEnv::prepare(workspace, &python, "maturin", &workspace.python_file("maturin.txt"))?;
    for (name, file) in ENVIRONMENTS {
        VirtualEnv::prepare(workspace, &python, name, &workspace.root().join("tests/python").join(file))?;
    }
    conformance::fetch(workspace)
}

/// Builds the programs of all members, as the tests are built: with another selection cargo would build DataFusion a second time.
fn build(workspace: &Workspace) -> Result<()> {
    dev_services::run(workspace.cargo().args(["build", "--workspace", "--bins"]))
}
