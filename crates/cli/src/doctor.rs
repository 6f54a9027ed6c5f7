//! `daglight doctor`.

use std::process::ExitCode;

use daglight::{check_setup, otel::BridgeConfig, settings::SettingsLoader};

use crate::{failure::Failure, outputs::outputs_and_tables, say::say};

pub(crate) fn doctor() -> Result<ExitCode, Failure> {
    let environment = BridgeConfig::new("daglight").environment;
    let loader = SettingsLoader::from_process();
    let mut is_well = check_setup(&loader, &environment, |check| {
        let kind = check.kind.to_string();
        match &check.result {
            Ok(found) => say!("  ok   {kind:<14} {found}"),
            Err(problem) => say!("  FAIL {kind:<14} {problem}"),
        }
    });
    // Errors in the settings themselves are already reported.
    if let Ok(resolved) = loader.resolve() {
        match outputs_and_tables(&resolved, &resolved.settings.policy()) {
            Ok((_, tables)) => {
                let outputs = resolved.settings.outputs.len();
                say!("  ok   {:<14} {outputs} declared, {} parameter tables", "outputs", tables.len());
            }
            Err(problem) => {
                say!("  FAIL {:<14} {}", "outputs", problem.messages().join(": "));
                is_well = false;
            }
        }
    }
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
