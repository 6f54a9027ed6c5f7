//! The program of the README, as somebody who copies it has it.

#![expect(
    clippy::disallowed_methods,
    reason = "a test is an edge: it compares with the clock, and clears variables for the programs that it starts"
)]
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test ends at its first surprise")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

const README: &str = include_str!("../../../../README.md");
const PROGRAM: &str = include_str!("../../examples/readme.rs");

/// What stands in the first block of a language after a heading of the README.
fn block(heading: &str, language: &str) -> &'static str {
    let (_, section) = README.split_once(heading).unwrap();
    let (_, block) = section.split_once(&format!("```{language}\n")).unwrap();
    block.split_once("```").unwrap().0
}

const HEADING: &str = "## Use it in a Rust program";

#[test]
fn the_readme_shows_the_program_that_is_built_here() {
    assert_eq!(block(HEADING, "rust"), PROGRAM, "README.md and crates/daglight/examples/readme.rs differ");
}

#[test]
fn the_three_dependencies_beside_it_are_those_that_it_is_built_with() {
    let shown: toml::Table = block(HEADING, "toml").parse().unwrap();
    let shown = shown["dependencies"].as_table().unwrap();
    assert_eq!(shown.keys().collect::<Vec<_>>(), ["daglight", "datafusion", "tokio"]);
    assert!(shown["daglight"]["path"].as_str().unwrap().ends_with("crates/daglight"));
    let major = datafusion::DATAFUSION_VERSION.split('.').next().unwrap();
    assert_eq!(shown["datafusion"].as_str(), Some(major));
    assert_eq!(shown["tokio"]["features"].as_array().unwrap(), &["full".into()]);
}

#[test]
fn the_program_of_the_readme_runs_and_leaves_a_report() {
    let tests = env::current_exe().unwrap();
    let program = tests.parent().and_then(Path::parent).unwrap().join("examples/readme");
    assert!(program.exists(), "{} is not built: run `cargo build --workspace --examples`", program.display());
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(program);
    command.current_dir(folder.path());
    let is_setting =
        |name: &str| ["HAMILTON_", "DAGLIGHT_", "OTEL_"].iter().any(|begin| name.starts_with(begin));
    for (name, _) in env::vars().filter(|(name, _)| is_setting(name)) {
        command.env_remove(name);
    }
    let output = command.env("HOME", folder.path()).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{stdout}{}", String::from_utf8_lossy(&output.stderr));
    let line = |begin: &str| stdout.lines().find_map(|line| line.strip_prefix(begin)).unwrap().to_owned();
    let report = fs::read_to_string(folder.path().join(PathBuf::from(line("report ")))).unwrap();
    assert!(report.contains("order_risk_parquet"));
    assert!(stdout.contains("285 rows written"), "{stdout}");
    assert!(folder.path().join("out/order_risk.parquet").exists());
    assert!(folder.path().join(line("bundle ")).join("manifest.json").exists());
    assert_eq!(line("Hamilton "), "is not configured");
    let traces = fs::read_to_string(folder.path().join(line("bundle ")).join("otel_traces.json")).unwrap();
    assert!(
        traces.contains(r#""key":"service.name","value":{"stringValue":"readme"}"#),
        "{}",
        &traces[..600]
    );
}
