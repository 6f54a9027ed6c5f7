//! Runs the queries of TPC-H with a fast heartbeat, and fails if one of them is mistaken for a stall.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use daglight_system_tests::{generate_tpch, tpch_script};
use dev_services::Workspace;
use serde_json::Value;

/// Run TPC-H, and fail where a query that works is taken for a stall. `DAGLIGHT_BINARY` names the program to run
#[derive(Parser)]
struct Arguments {
    /// How much data: 1 is a gigabyte as text
    #[arg(long, default_value_t = 0.1)]
    scale_factor: f64,
    /// Seconds between two beats
    #[arg(long, default_value_t = 0.2)]
    beat: f64,
    /// Seconds without progress that are a stall
    #[arg(long, default_value_t = 1.0)]
    stall: f64,
    /// Nodes at the same time
    #[arg(long, default_value_t = 1)]
    jobs: usize,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    generate_tpch(&data, arguments.scale_factor, |_, _| {})?;
    let script = folder.path().join("tpch.sql");
    fs::write(&script, tpch_script(&data)?)?;
    let status = Command::new(Workspace::locate()?.daglight()?)
        .args(["run", "--rows", "0", "--jobs", &arguments.jobs.to_string(), "--output-dir", "out"])
        .arg(&script)
        .current_dir(folder.path())
        .env("HAMILTON_TRACKER_ENABLED", "false")
        .env("DAGLIGHT_HEARTBEAT_SECONDS", arguments.beat.to_string())
        .env("DAGLIGHT_STALL_SECONDS", arguments.stall.to_string())
        .status()?;
    ensure!(status.success(), "the run ended as {status}");
    let (beats, stalls) = heartbeat(&folder.path().join("out/run_bundle"))?;
    println!("{beats} beats, {} stalls", stalls.len());
    ensure!(stalls.is_empty(), "false alarms: {stalls:#?}");
    Ok(())
}

/// The beats and the stalls of the only run.
fn heartbeat(bundles: &Path) -> Result<(u64, Vec<Value>)> {
    let bundle = fs::read_dir(bundles)?.next().context("no bundle")??.path();
    let evidence: Value = serde_json::from_slice(&fs::read(bundle.join("heartbeat.json"))?)?;
    let stalls = evidence["stalls"]["episodes"].as_array().cloned().unwrap_or_default();
    Ok((evidence["beats"].as_u64().unwrap_or_default(), stalls))
}
