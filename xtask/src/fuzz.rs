//! The fuzz targets of `tests/fuzz`: building them, running each for a while, and what came of it.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use dev_services::Workspace;

use crate::interrupt::Interrupt;

/// Pinned, because a build depends on the flags that it gives the compiler.
const VERSION: &str = "0.13.2";
/// The crate of the targets.
const CRATE: &str = "tests/fuzz";
/// Memory of one target, in megabytes.
const MEMORY_MB: u64 = 1_024;
/// How long one input may take: a machine that does something else as well takes a second for the largest.
const INPUT_SECONDS: u64 = 20;

/// Options of the command.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How long each target runs
    #[arg(long, default_value = "60")]
    seconds: u64,
    /// Build the targets and run none
    #[arg(long)]
    build_only: bool,
    /// The targets to run; all without any
    targets: Vec<String>,
}

impl Options {
    /// All targets, each for a time.
    pub(crate) fn all(seconds: u64) -> Self {
        Self { seconds, build_only: false, targets: Vec::new() }
    }
}

/// What came of a target.
struct Outcome {
    target: String,
    executions: Option<u64>,
    /// Inputs that were kept, because each of them reaches what no other does.
    corpus: usize,
    /// The inputs that it failed on.
    crashes: Vec<PathBuf>,
    /// Why it failed, where no input is to blame.
    failure: Option<PathBuf>,
}

/// Builds the targets, and runs them one after another.
pub(crate) fn run(options: &Options) -> Result<()> {
    let workspace = Workspace::locate()?;
    let all = targets(&workspace)?;
    for target in &options.targets {
        ensure!(
            all.contains(target),
            "no fuzz target is called {target}: expected one of {}",
            all.join(", ")
        );
    }
    install(&workspace)?;
    copy_lock_file(&workspace)?;
    let interrupt = Interrupt::listen()?;
    let mut build = cargo_fuzz(&workspace, "build");
    build.args((options.targets.len() == 1).then(|| &options.targets[0]));
    interrupt.explain(dev_services::run(&mut build))?;
    if options.build_only {
        return Ok(());
    }
    let chosen = if options.targets.is_empty() { &all } else { &options.targets };
    let mut outcomes = Vec::new();
    for target in chosen {
        eprintln!("{target}: {} s", options.seconds);
        outcomes.push(interrupt.explain(run_target(&workspace, target, options.seconds))?);
    }
    print!("{}", table(&outcomes));
    report_crashes(&outcomes)
}

/// The names of the targets, each of which is a file.
fn targets(workspace: &Workspace) -> Result<Vec<String>> {
    let folder = workspace.root().join(CRATE).join("fuzz_targets");
    let files = files_in(&folder).with_context(|| format!("reading {}", folder.display()))?;
    Ok(files.iter().filter_map(|file| Some(file.file_stem()?.to_str()?.to_owned())).collect())
}

/// Installs cargo-fuzz where it is not there in this version.
fn install(workspace: &Workspace) -> Result<()> {
    let found = workspace.cargo().args(["fuzz", "--version"]).stderr(Stdio::null()).output();
    let wanted = format!("cargo-fuzz {VERSION}");
    if found.is_ok_and(|found| String::from_utf8_lossy(&found.stdout).trim() == wanted) {
        return Ok(());
    }
    eprintln!("set-up: {wanted}");
    let package = format!("cargo-fuzz@{VERSION}");
    dev_services::run(workspace.cargo().args(["install", "--quiet", "--locked", &package]))
}

/// Has the targets built with the versions of dependencies that the workspace has: they are a separate workspace.
fn copy_lock_file(workspace: &Workspace) -> Result<()> {
    let (from, to) = (workspace.root().join("Cargo.lock"), workspace.root().join(CRATE).join("Cargo.lock"));
    let changed = |path: &Path| path.metadata().and_then(|metadata| metadata.modified());
    let is_current = changed(&to).is_ok_and(|copied| changed(&from).is_ok_and(|changed| changed < copied));
    if !is_current {
        fs::copy(&from, &to).with_context(|| format!("copying {} to {}", from.display(), to.display()))?;
    }
    Ok(())
}

/// A command of cargo-fuzz, without a sanitizer: it would need another compiler than the stable one, and code without `unsafe` gains
/// little from it.
fn cargo_fuzz(workspace: &Workspace, command: &str) -> Command {
    let mut cargo = workspace.cargo();
    cargo.args(["fuzz", command, "--sanitizer", "none", "--fuzz-dir", CRATE, "--target-dir"]);
    cargo.arg(workspace.target().join("fuzz"));
    cargo
}

fn run_target(workspace: &Workspace, target: &str, seconds: u64) -> Result<Outcome> {
    let fuzz = workspace.root().join(CRATE);
    let (corpus, artifacts) = (fuzz.join("corpus").join(target), fuzz.join("artifacts").join(target));
    fs::create_dir_all(&corpus).with_context(|| format!("making {}", corpus.display()))?;
    let before = files_in(&artifacts).unwrap_or_default();
    let log = workspace.target().join("fuzz").join(format!("{target}.log"));
    // The targets end without cleaning up.
    let scratch = tempfile::tempdir()?;
    let status = cargo_fuzz(workspace, "run")
        .args([target, &corpus.to_string_lossy(), &fuzz.join("seeds").join(target).to_string_lossy(), "--"])
        .args([
            format!("-max_total_time={seconds}"),
            format!("-timeout={INPUT_SECONDS}"),
            format!("-rss_limit_mb={MEMORY_MB}"),
            format!("-dict={}", fuzz.join("dictionary").display()),
            "-print_final_stats=1".to_owned(),
        ])
        .env("TMPDIR", scratch.path())
        .stderr(File::create(&log).with_context(|| format!("writing {}", log.display()))?)
        .status()
        .context("starting `cargo fuzz run`")?;
    let crashes: Vec<PathBuf> =
        files_in(&artifacts).unwrap_or_default().into_iter().filter(|file| !before.contains(file)).collect();
    let said = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    Ok(Outcome {
        target: target.to_owned(),
        executions: statistic(&said, "number_of_executed_units"),
        corpus: files_in(&corpus)?.len(),
        failure: (!status.success() && crashes.is_empty()).then_some(log),
        crashes,
    })
}

/// A number that libFuzzer prints in the end, on a line `stat::NAME: NUMBER`.
fn statistic(said: &str, name: &str) -> Option<u64> {
    let mut values = said.lines().filter_map(|line| line.strip_prefix("stat::")?.split_once(':'));
    values.rfind(|(found, _)| *found == name)?.1.trim().parse().ok()
}

/// The files of a folder in the order of their names.
fn files_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>>>()?;
    files.retain(|path| path.is_file());
    files.sort();
    Ok(files)
}

fn table(outcomes: &[Outcome]) -> String {
    let row = |target: &str, executions: &str, corpus: &str, crashes: &str| {
        format!("{target:<12} {executions:>12} {corpus:>8} {crashes:>8}\n")
    };
    let mut table = row("target", "executions", "corpus", "crashes");
    for outcome in outcomes {
        let executions = outcome.executions.map_or("-".to_owned(), |executions| executions.to_string());
        let crashes = outcome.crashes.len().max(usize::from(outcome.failure.is_some()));
        table += &row(&outcome.target, &executions, &outcome.corpus.to_string(), &crashes.to_string());
    }
    table
}

/// Names the inputs that a target failed on, and how to see it fail again.
fn report_crashes(outcomes: &[Outcome]) -> Result<()> {
    let failed: Vec<&Outcome> =
        outcomes.iter().filter(|outcome| !outcome.crashes.is_empty() || outcome.failure.is_some()).collect();
    for Outcome { target, crashes, failure, .. } in &failed {
        for crash in crashes {
            let path = crash.display();
            println!("\n{target} fails on {path}");
            println!("  cargo fuzz run --sanitizer none --fuzz-dir {CRATE} {target} {path}");
        }
        if let Some(log) = failure {
            println!("\n{target} failed: see {}", log.display());
        }
    }
    match failed.len() {
        0 => Ok(()),
        1 => bail!("a fuzz target failed"),
        count => bail!("{count} fuzz targets failed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_the_last_ones_of_their_name() {
        let said = "#2 INITED\nstat::number_of_executed_units: 7\nstat::number_of_executed_units:  12\n\
                    stat::new_units_added: 3\n";
        assert_eq!(statistic(said, "number_of_executed_units"), Some(12));
        assert_eq!(statistic(said, "peak_rss_mb"), None);
    }

    #[test]
    fn every_target_has_seeds_and_is_a_program() {
        let workspace = Workspace::locate().unwrap();
        let folder = workspace.root().join(CRATE);
        let manifest: toml::Table = fs::read_to_string(folder.join("Cargo.toml")).unwrap().parse().unwrap();
        let programs: Vec<&str> =
            manifest["bin"].as_array().unwrap().iter().map(|bin| bin["name"].as_str().unwrap()).collect();
        assert_eq!(programs, targets(&workspace).unwrap());
        for program in programs {
            let seeds = files_in(&folder.join("seeds").join(program)).unwrap();
            assert!(!seeds.is_empty(), "{program} has no seeds");
        }
    }

    #[test]
    fn a_crash_and_a_target_that_did_not_run_are_failures() {
        let outcome = |crashes: &[&str], failure: Option<&str>| Outcome {
            target: "outbox".to_owned(),
            executions: Some(7),
            corpus: 3,
            crashes: crashes.iter().map(PathBuf::from).collect(),
            failure: failure.map(PathBuf::from),
        };
        assert!(report_crashes(&[outcome(&[], None)]).is_ok());
        let crash = [outcome(&["a/crash-1"], None), outcome(&[], None)];
        assert_eq!(report_crashes(&crash).unwrap_err().to_string(), "a fuzz target failed");
        assert!(report_crashes(&[outcome(&[], Some("a.log"))]).is_err());
        assert!(table(&crash).ends_with("outbox                  7        3        0\n"));
    }
}
