//! The demo: data, the Hamilton UI, the example pipeline, and where to look.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use dev_services::{HamiltonUi, Python, USER, Workspace};
use serde::Deserialize;

use crate::{
    demo_workers::{Workers, shares},
    interrupt::Interrupt,
};

const PIPELINE: &str = "crates/sql-pipeline/examples/tpch.sql";
/// Tables of this size would be read by one task each.
const DIVIDED: &str = "SET distributed.file_scan_config_bytes_per_partition = 1048576;\n";
const PROJECT: &str = "daglight demo";
/// 87 MB as text.
const SCALE_FACTOR: &str = "0.1";

/// Options of the demo.
#[derive(Default, clap::Args)]
pub(crate) struct Options {
    /// End after the run; do not keep the Hamilton UI up until ctrl-c
    #[arg(long)]
    no_wait: bool,
    /// Run on the bundle alone, without Python and the Hamilton UI
    #[arg(long)]
    offline: bool,
    /// Execute the queries on two workers on this machine, which are started for it
    #[arg(long)]
    cluster: bool,
    /// Build the fast program, which takes seven times as long
    #[arg(long)]
    release: bool,
}

impl Options {
    /// With the Hamilton UI and without a cluster, of the fast program or of the other.
    pub(crate) fn of_build(release: bool) -> Self {
        Self { release, ..Self::default() }
    }
}

/// Builds, makes data, starts the Hamilton UI, runs the example in it and says where to look.
pub(crate) fn run(options: &Options) -> Result<()> {
    // Before anything is started, so that ctrl-c ends all of it in order at any time.
    let interrupt = Interrupt::listen()?;
    let demo = Demo::new(options)?;
    let Shown { ui, workers, report } = demo.show(&interrupt)?;
    demo.say_where_to_look(ui.as_ref(), &report);
    if workers.is_some() {
        demo.say_who_did_what(&report)?;
    }
    drop(workers);
    // After the places were said: where it failed, they are what is looked at.
    report.ensure_success()?;

    if let Some(ui) = ui
        && !options.no_wait
    {
        println!("\nThe Hamilton UI stays up at {} until ctrl-c.", ui.url());
        interrupt.wait();
        println!();
    }
    Ok(())
}

/// What the demo has made. Its servers end when this is dropped.
pub(crate) struct Shown {
    /// `None` where the demo runs on the bundle alone.
    pub(crate) ui: Option<HamiltonUi>,
    workers: Option<Workers>,
    pub(crate) report: FinishReport,
}

/// What the demo keeps, its data and the database of its Hamilton UI.
fn folder(workspace: &Workspace) -> PathBuf {
    workspace.root().join(".demo")
}

/// The folder of the Hamilton UI, which keeps what earlier runs have sent.
pub(crate) fn hamilton_folder(workspace: &Workspace) -> PathBuf {
    folder(workspace).join("hamilton")
}

pub(crate) fn step(title: &str) {
    eprintln!("\n==> {title}");
}

/// What the demo reads of the finish report that `daglight run --json` prints.
#[derive(Deserialize)]
pub(crate) struct FinishReport {
    status: String,
    bundle: Option<PathBuf>,
    pub(crate) report: Option<ReportFiles>,
    pub(crate) links: Links,
}

impl FinishReport {
    pub(crate) fn ensure_success(&self) -> Result<()> {
        ensure!(self.status == "success", "the pipeline ended as {}", self.status);
        Ok(())
    }
}

#[derive(Deserialize)]
pub(crate) struct ReportFiles {
    /// Below the root of the workspace.
    pub(crate) html: PathBuf,
}

#[derive(Deserialize)]
pub(crate) struct Links {
    pub(crate) hamilton_run: Option<String>,
    pub(crate) hamilton_version: Option<String>,
}

pub(crate) struct Demo<'a> {
    options: &'a Options,
    folder: PathBuf,
    workspace: Workspace,
}

impl<'a> Demo<'a> {
    pub(crate) fn new(options: &'a Options) -> Result<Self> {
        let workspace = Workspace::locate()?;
        Ok(Self { options, folder: folder(&workspace), workspace })
    }

    /// Does all of it, and says nothing but its steps.
    pub(crate) fn show(&self, interrupt: &Interrupt) -> Result<Shown> {
        step("building (the first time takes minutes, nearly all of it DataFusion)");
        interrupt.explain(self.build())?;
        step(&format!("TPC-H data at scale factor {SCALE_FACTOR}"));
        interrupt.explain(self.generate_data())?;
        let ui = interrupt.explain(self.start_ui())?;
        let workers = interrupt.explain(self.start_workers())?;
        step(&format!("daglight run {PIPELINE}"));
        let report = interrupt.explain(self.run_pipeline(ui.as_ref(), workers.as_ref()))?;
        Ok(Shown { ui, workers, report })
    }

    pub(crate) fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    fn build(&self) -> Result<()> {
        let mut cargo = self.workspace.cargo();
        // All members, as the tests are built: with another selection cargo would build DataFusion a second time.
        cargo.args(["build", "--workspace", "--bins"]);
        if self.options.release {
            cargo.arg("--release");
        }
        dev_services::run(&mut cargo)
    }

    pub(crate) fn program(&self, name: &str) -> Result<PathBuf> {
        self.workspace.binary(name, if self.options.release { "release" } else { "debug" })
    }

    fn generate_data(&self) -> Result<()> {
        // The generator puts the folder there when all tables in it are complete.
        let folder = self.folder.join("tpch").join(format!("sf{SCALE_FACTOR}"));
        if folder.exists() {
            eprintln!("    in {} already", folder.display());
            return Ok(());
        }
        let mut generator = Command::new(self.program("tpch-data")?);
        generator.args(["--scale-factor", SCALE_FACTOR, "--output-dir"]).arg(&folder);
        dev_services::run(&mut generator)
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
        let ui = HamiltonUi::start(&self.workspace, &python, &hamilton_folder(&self.workspace))?;
        eprintln!("    {} (log: {})", ui.url(), ui.log().display());
        Ok(Some(ui))
    }

    /// `None` when the queries run in the program.
    fn start_workers(&self) -> Result<Option<Workers>> {
        if !self.options.cluster {
            return Ok(None);
        }
        step("starting two workers");
        let workers = Workers::start(&self.program("daglight")?, self.workspace.root())?;
        eprintln!("    {}", workers.cluster());
        Ok(Some(workers))
    }

    fn run_pipeline(&self, ui: Option<&HamiltonUi>, workers: Option<&Workers>) -> Result<FinishReport> {
        let mut daglight = Command::new(self.program("daglight")?);
        daglight.arg("run");
        if let Some(workers) = workers {
            let divided = self.folder.join("divided.sql");
            fs::write(&divided, DIVIDED).context("writing the settings of the cluster")?;
            daglight.arg(divided).args(["--cluster", &workers.cluster()]);
            daglight.env("DAGLIGHT_CLUSTER_SCRATCH", self.folder.join("scratch"));
        }
        daglight
            .args([PIPELINE, "--profile", "dev", "--json", "--output-dir", ".demo/out"])
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
                    // A server without accounts takes any, and the client wants one.
                    .env("HAMILTON_API_KEY", "none");
            }
            None => {
                daglight.env("HAMILTON_TRACKER_ENABLED", "false");
            }
        }
        let output =
            daglight.spawn().and_then(Child::wait_with_output).context("starting the daglight program")?;
        if output.stdout.is_empty() {
            bail!("daglight ended without a report: {}", output.status);
        }
        serde_json::from_slice(&output.stdout).context("reading the report that daglight printed")
    }

    fn say_who_did_what(&self, report: &FinishReport) -> Result<()> {
        let bundle = report.bundle.as_ref().context("the run has no bundle")?;
        let (distributed, queries, tasks) = shares(&self.workspace.root().join(bundle))?;
        println!("  cluster  {distributed} of {queries} plans ran on workers");
        for (worker, tasks) in tasks {
            println!("           {worker}: {tasks} tasks");
        }
        Ok(())
    }

    fn say_where_to_look(&self, ui: Option<&HamiltonUi>, report: &FinishReport) {
        // The program ran in the root of the workspace, and says paths as it was given them.
        let root = self.workspace.root();
        println!();
        if let Some(page) = &report.links.hamilton_run {
            println!("  run      {page}");
        }
        if let Some(page) = &report.links.hamilton_version {
            println!("  version  {page}");
        }
        if ui.is_some() {
            println!("           (the page asks once for a user name: {USER})");
        }
        if let Some(files) = &report.report {
            println!("  report   {}", root.join(&files.html).display());
        }
        if let Some(bundle) = &report.bundle {
            println!("  bundle   {}", root.join(bundle).display());
        }
    }
}
