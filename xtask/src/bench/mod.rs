//! The benches: they run in release mode, with the servers, data and packages that they need, and one table has their results.

mod table;

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use dev_services::{Browser, HamiltonUi, Python, USER, VirtualEnv, Workspace};
use table::table;

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
    /// What a span of a run costs, beside one of the OpenTelemetry SDK
    Span,
    /// What it costs to export spans with every answer counted, beside the bare exporters
    Exporters,
    /// A data summary of 1,000,000 rows, beside the Python SDK on polars
    Summary,
    /// A report of 1,000,000 spans: time and memory
    Report,
    /// The page of a run of 10,000 nodes and 100,000 spans in Chromium: opening, scrolling, zooming
    Page,
    /// The list of 1,000 runs in the browser
    Serve,
}

/// Options of the benches.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// What to measure; all without it
    suite: Option<Suite>,
    /// Write the ratios to this file, one JSON object on a line, for a later --baseline
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Compare with the ratios that an earlier --save has written
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
}

/// Runs them, and prints one table of their ratios.
pub(crate) fn run(options: &Options) -> Result<()> {
    // Before hours of measuring.
    let baseline = options.baseline.as_deref().map(bench_ratios::read).transpose()?;
    let workspace = Workspace::locate()?;
    let folder = tempfile::tempdir()?;
    let benches = Benches { workspace, ratios: folder.path().join("ratios.jsonl") };
    let suites = options.suite.map_or_else(|| Suite::value_variants().to_vec(), |suite| vec![suite]);
    // What one has measured is not lost where another fails.
    let ended: Vec<Result<()>> = suites.into_iter().map(|suite| benches.suite(suite)).collect();
    let ratios = if benches.ratios.exists() { bench_ratios::read(&benches.ratios)? } else { Vec::new() };
    println!("\n{}", table(&ratios, baseline.as_deref()));
    if let Some(file) = &options.save {
        // In a folder that exists by now.
        ensure!(benches.ratios.exists(), "nothing was measured, so there is nothing to save");
        fs::copy(&benches.ratios, file).with_context(|| format!("writing {}", file.display()))?;
    }
    ended.into_iter().collect()
}

struct Benches {
    workspace: Workspace,
    /// Where they leave their ratios.
    ratios: PathBuf,
}

impl Benches {
    fn suite(&self, suite: Suite) -> Result<()> {
        match suite {
            Suite::Tracker => self.tracker(),
            Suite::Overhead => self.overhead(),
            // Of the tests and of the report.
            Suite::Cluster => self.in_workspace("cluster"),
            Suite::Statements => self.in_workspace("statements"),
            Suite::Queries => self.in_workspace("queries"),
            Suite::Span => self.of_package("daglight-otel-bridge", "span"),
            Suite::Exporters => self.of_package("daglight-otel-bridge", "exporters"),
            Suite::Summary => self.summary(),
            Suite::Report => self.of_package("daglight-bundle-report", "report"),
            Suite::Page => {
                Browser::find_or_install()?;
                self.of_package("daglight-bundle-report", "page")
            }
            Suite::Serve => self.of_package("daglight-bundle-server", "listing"),
        }
    }

    /// Against its own Hamilton UI.
    fn tracker(&self) -> Result<()> {
        let python = Python::find()?;
        let packages = self.python_packages(&python, "hamilton-ui")?;
        let folder = tempfile::tempdir()?;
        let ui = HamiltonUi::start(&self.workspace, &python, folder.path())?;
        let project = ui.project("bench", "the benches")?;
        let mut bench = self.package_bench("daglight-tracker-client", "tracker");
        bench
            .env("HAMILTON_API_URL", ui.url())
            .env("HAMILTON_USERNAME", USER)
            .env("HAMILTON_PROJECT_ID", project.to_string())
            .env("PYTHON", packages.python());
        dev_services::run(&mut bench)
    }

    fn summary(&self) -> Result<()> {
        let packages = self.python_packages(&Python::find()?, "data-summary")?;
        let mut bench = self.package_bench("daglight-data-summary", "summary");
        dev_services::run(bench.env("PYTHON", packages.python()))
    }

    fn python_packages(&self, python: &Python, name: &str) -> Result<VirtualEnv> {
        let pinned = self.workspace.python_file(&format!("{name}.txt"));
        VirtualEnv::prepare(&self.workspace, python, name, &pinned)
    }

    /// With the features of the whole workspace, so that DataFusion is the one of the program; then the same queries on the
    /// same tables with `datafusion-tracing`, in a separate workspace.
    fn overhead(&self) -> Result<()> {
        for [scale_factor, rounds] in [["0.01", "40"], ["1", "5"]] {
            let folder = tempfile::tempdir()?;
            // Replaced by the bench, which makes the folder when it is complete.
            let data = folder.path().join("tpch");
            let mut watched = self.workspace_bench("overhead");
            dev_services::run(watched.args(["--", scale_factor, rounds]).arg(&data))?;
            let mut traced = self.cargo();
            traced
                .args(["run", "--quiet", "--release", "--locked", "--manifest-path"])
                .arg(self.workspace.root().join(TRACED));
            // Beside the target folder of the workspace, whose DataFusion has other features.
            traced.arg("--target-dir").arg(self.workspace.scratch().join("tracing-bench"));
            dev_services::run(traced.arg("--").arg(&data).args([scale_factor, rounds]))?;
        }
        Ok(())
    }

    fn of_package(&self, package: &str, bench: &str) -> Result<()> {
        dev_services::run(&mut self.package_bench(package, bench))
    }

    fn in_workspace(&self, bench: &str) -> Result<()> {
        dev_services::run(&mut self.workspace_bench(bench))
    }

    /// Of a crate that links no DataFusion, and so has no features to share with the program.
    fn package_bench(&self, package: &str, bench: &str) -> Command {
        let mut cargo = self.cargo();
        cargo.args(["bench", "--quiet", "--package", package, "--bench", bench]);
        cargo
    }

    /// With the features of the whole workspace.
    fn workspace_bench(&self, bench: &str) -> Command {
        let mut cargo = self.cargo();
        cargo.args(["bench", "--quiet", "--workspace", "--bench", bench]);
        cargo
    }

    fn cargo(&self) -> Command {
        let mut cargo = self.workspace.cargo();
        cargo.env(bench_ratios::FILE, &self.ratios);
        cargo
    }
}
