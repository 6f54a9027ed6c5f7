//! The demo: data, the Hamilton UI, the example pipeline, and where to look.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use xtask::{HamiltonUi, Python, USER, Workspace};

use crate::interrupt::Interrupt;

const PIPELINE: &str = "crates/sql-pipeline/examples/tpch.sql";
const PROJECT: &str = "daglight demo";

/// Options of the demo.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// End after the run; do not keep the Hamilton UI up until ctrl-c
    #[arg(long)]
    no_wait: bool,
    /// Run on the bundle alone, without Python and the Hamilton UI
    #[arg(long)]
    offline: bool,
    /// How much TPC-H data: 1 is a gigabyte as text
    #[arg(long, default_value_t = 0.1)]
    scale_factor: f64,
    /// Build the fast program, which takes seven times as long
    #[arg(long)]
    release: bool,
}

/// Builds, makes data, starts the Hamilton UI, runs the example in it and says where to look.
pub(crate) fn run(options: &Options) -> Result<()> {
    let workspace = Workspace::locate()?;
    let interrupt = Interrupt::listen()?;
    let demo = Demo { options, folder: workspace.root().join(".demo"), workspace };

    step("building (the first time takes minutes, nearly all of it DataFusion)");
    interrupt.explain(demo.build())?;
    step(&format!("TPC-H data at scale factor {}", options.scale_factor));
    interrupt.explain(demo.generate_data())?;
    let ui = interrupt.explain(demo.start_ui())?;
    step(&format!("daglight run {PIPELINE}"));
    let report = interrupt.explain(demo.run_pipeline(ui.as_ref()))?;
    demo.say_where_to_look(ui.as_ref(), &report);
    ensure!(report.status == "success", "the pipeline ended as {}", report.status);

    if let Some(ui) = ui
        && !options.no_wait
    {
        println!("\nThe Hamilton UI stays up at {} until ctrl-c.", ui.url());
        interrupt.wait();
        println!();
    }
    Ok(())
}

fn step(title: &str) {
    eprintln!("\n==> {title}");
}

/// What the demo reads of the finish report that `daglight run --json` prints.
#[derive(Deserialize)]
struct RunReport {
    status: String,
    bundle: PathBuf,
    report: ReportFiles,
    #[serde(default)]
    links: Links,
}

#[derive(Deserialize)]
struct ReportFiles {
    html: Option<PathBuf>,
    markdown: PathBuf,
}

#[derive(Default, Deserialize)]
struct Links {
    hamilton_run: Option<String>,
    hamilton_version: Option<String>,
}

struct Demo<'a> {
    options: &'a Options,
    folder: PathBuf,
    workspace: Workspace,
}

impl Demo<'_> {
    fn build(&self) -> Result<()> {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        // All members, as the tests are built: with another selection cargo would build DataFusion a second time.
        cargo.args(["build", "--workspace", "--bins"]).current_dir(self.workspace.root());
        if self.options.release {
            cargo.arg("--release");
        }
        xtask::run(&mut cargo)
    }

    fn program(&self, name: &str) -> Result<PathBuf> {
        self.workspace.binary(name, if self.options.release { "release" } else { "debug" })
    }

    fn generate_data(&self) -> Result<()> {
        let scale_factor = self.options.scale_factor.to_string();
        let folder = self.folder.join("tpch");
        let stamp = folder.join("scale-factor");
        if fs::read_to_string(&stamp).is_ok_and(|present| present == scale_factor) {
            eprintln!("    in {} already", folder.display());
            return Ok(());
        }
        let mut generator = Command::new(self.program("tpch-data")?);
        generator.args(["--scale-factor", &scale_factor, "--output-dir"]).arg(&folder);
        xtask::run(&mut generator)?;
        fs::write(&stamp, scale_factor).with_context(|| format!("writing {}", stamp.display()))
    }

    /// `None` when the demo runs on the bundle alone.
    fn start_ui(&self) -> Result<Option<HamiltonUi>> {
        if self.options.offline {
            step("offline: no Hamilton UI, the run is recorded in its bundle");
            return Ok(None);
        }
        let python = match Python::find() {
            Ok(python) => python,
            Err(missing) => {
                step(&format!("no Hamilton UI, the run is recorded in its bundle: {missing}"));
                return Ok(None);
            }
        };
        step("starting the Hamilton UI");
        let ui = HamiltonUi::start(&self.workspace, &python, &self.folder.join("hamilton"))?;
        eprintln!("    {} (log: {})", ui.url(), ui.log().display());
        Ok(Some(ui))
    }

    fn run_pipeline(&self, ui: Option<&HamiltonUi>) -> Result<RunReport> {
        let mut daglight = Command::new(self.program("daglight")?);
        daglight
            .args(["run", PIPELINE, "--profile", "dev", "--json", "--output-dir"])
            .arg(relative(&self.folder.join("out"), self.workspace.root()))
            .current_dir(self.workspace.root())
            .stdout(Stdio::piped());
        match ui {
            Some(ui) => {
                let project = ui.project(PROJECT, "The example pipeline of Daglight on TPC-H data")?;
                daglight
                    .env("HAMILTON_API_URL", ui.url())
                    .env("HAMILTON_UI_URL", ui.url())
                    .env("HAMILTON_PROJECT_ID", project.to_string())
                    .env("HAMILTON_USERNAME", USER)
                    .env("HAMILTON_API_KEY", "none");
            }
            None => {
                daglight.env("HAMILTON_TRACKER_ENABLED", "false");
            }
        }
        let output = daglight
            .spawn()
            .and_then(std::process::Child::wait_with_output)
            .context("starting the daglight program")?;
        if output.stdout.is_empty() {
            bail!("daglight ended without a report: {}", output.status);
        }
        serde_json::from_slice(&output.stdout).context("reading the report that daglight printed")
    }

    fn say_where_to_look(&self, ui: Option<&HamiltonUi>, report: &RunReport) {
        let root = self.workspace.root();
        println!();
        if let Some(page) = &report.links.hamilton_run {
            println!("  run       {page}");
        }
        if let Some(page) = &report.links.hamilton_version {
            println!("  pipeline  {page}");
        }
        if ui.is_some() {
            println!("            (the page asks for a user name once: {USER})");
        }
        println!("  report    {}", report.report.html.as_ref().unwrap_or(&report.report.markdown).display());
        println!("  bundle    {}", relative(&report.bundle, root).display());
    }
}

fn relative<'a>(path: &'a Path, root: &Path) -> &'a Path {
    path.strip_prefix(root).unwrap_or(path)
}
