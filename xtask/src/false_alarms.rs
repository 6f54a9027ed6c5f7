//! `cargo xtask false-alarms`: what works is not taken for a stall, on more data than a test has time for.

use std::process::Command;

use anyhow::Result;
use dev_services::Workspace;

pub(crate) fn run(scale_factor: f64, is_release: bool) -> Result<()> {
    let workspace = Workspace::locate()?;
    let mut cargo = workspace.cargo();
    // All members, as the tests are built: with another selection cargo would build DataFusion a second time.
    cargo.args(["build", "--workspace", "--bins"]);
    if is_release {
        cargo.arg("--release");
    }
    dev_services::run(&mut cargo)?;
    let profile = if is_release { "release" } else { "debug" };
    let [beat, stall] = if scale_factor < 1.0 { ["0.2", "1"] } else { ["1", "5"] };
    for jobs in ["1", "3"] {
        let mut alarms = Command::new(workspace.binary("false-alarms", profile)?);
        alarms
            .args([
                "--scale-factor",
                &scale_factor.to_string(),
                "--beat",
                beat,
                "--stall",
                stall,
                "--jobs",
                jobs,
            ])
            .env("DAGLIGHT_BINARY", workspace.binary("daglight", profile)?);
        dev_services::run(&mut alarms)?;
    }
    Ok(())
}
