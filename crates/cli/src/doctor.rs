//! `daglight doctor`.

use std::process::ExitCode;

use daglight::{check_setup, otel::BridgeConfig, settings::SettingsLoader};

use crate::{failure::Failure, say::say};

pub(crate) fn doctor() -> Result<ExitCode, Failure> {
    let environment = BridgeConfig::new("daglight").environment;
    let is_well = check_setup(&SettingsLoader::from_process(), &environment, |check| {
        let kind = check.kind.to_string();
        match &check.result {
            Ok(found) => say!("  ok   {kind:<14} {found}"),
            Err(problem) => say!("  FAIL {kind:<14} {problem}"),
        }
    });
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
