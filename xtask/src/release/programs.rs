//! What other programs say.

use std::process::Command;

use anyhow::{Context, Result, ensure};

/// What a command prints.
pub(super) fn printed(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.output().with_context(|| format!("starting {}", command.get_program().display()))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} failed: {errors}", command.get_program().display());
    Ok(output.stdout)
}

/// The platform that the compiler builds for, as it names it.
pub(super) fn host() -> Result<String> {
    let text = String::from_utf8(printed(Command::new("rustc").arg("-vV"))?)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not say for which platform it builds")?.to_owned())
}
