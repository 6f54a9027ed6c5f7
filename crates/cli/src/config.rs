//! `daglight config`.

use std::process::ExitCode;

use daglight::{
    bundle::ReportOptions,
    identity::{DagName, DagNameError},
    policy::{Policy, Profile, in_one_line, printable},
    settings::{Resolved, Settings, SettingsLoader, settings_schema},
};

use crate::{
    args::ConfigArgs,
    failure::Failure,
    outputs::outputs_and_tables,
    say::{self, note},
};

pub(crate) fn config(args: &ConfigArgs) -> Result<ExitCode, Failure> {
    let shown = match args.schema {
        true => format!("{:#}", settings_schema()),
        false => settings(args)?,
    };
    say::document(shown.trim_end());
    Ok(ExitCode::SUCCESS)
}

fn settings(args: &ConfigArgs) -> Result<String, Failure> {
    let mut loader = SettingsLoader::from_process();
    if let Some(profile) = &args.profile {
        loader = loader.with_value("option --profile", "profile", profile);
    }
    let resolved = loader.resolve()?;
    dag_name(&resolved)?;
    // A run would reject them.
    outputs_and_tables(&resolved, &resolved.settings.policy())?;
    Ok(match args.json {
        true => format!("{:#}", resolved.to_json()),
        false => format!("{}\n{resolved}", headline(&resolved)),
    })
}

/// The active profile, the files that were read, and what was refused.
fn headline(resolved: &Resolved) -> String {
    let profile = printable(&resolved.settings.profile);
    let base = resolved.base.name();
    let mut lines = match *profile == *base {
        true => format!("profile {profile}\n"),
        false => format!("profile {profile}, which extends {base}\n"),
    };
    for file in &resolved.files {
        lines.push_str(&format!("read {}\n", printable(&file.display().to_string())));
    }
    for refusal in &resolved.refused {
        lines.push_str(&format!("refused {}\n", printable(&refusal.to_string())));
    }
    lines
}

/// The settings of this process. Refused files and settings are reported.
pub(crate) fn process_settings() -> Result<Settings, Failure> {
    let resolved = SettingsLoader::from_process().resolve()?;
    resolved.refused.iter().for_each(|refusal| note!("warning: {refusal}"));
    Ok(resolved.settings)
}

/// The policy of this process. If the settings are invalid, which is not the subject of the command, it shows no values.
pub(crate) fn process_policy() -> Policy {
    let resolved = SettingsLoader::from_process().resolve();
    resolved.map_or_else(|_| Policy::of_profile(Profile::Prod), |resolved| resolved.settings.policy())
}

/// The report options from the settings of this process. If these are invalid, which is reported, the defaults are used: a user on
/// call needs the report now.
pub(crate) fn report_options() -> ReportOptions {
    match SettingsLoader::from_process().resolve() {
        Ok(resolved) => ReportOptions::default().thresholds(resolved.settings.findings),
        Err(error) => {
            note!("warning: findings are judged by the defaults: {}", in_one_line(&error));
            ReportOptions::default()
        }
    }
}

/// The DAG name from the settings.
pub(crate) fn dag_name(resolved: &Resolved) -> Result<Option<DagName>, Failure> {
    let Some(name) = &resolved.settings.dag_name else { return Ok(None) };
    name.parse().map(Some).map_err(|error: DagNameError| {
        let origin = resolved.value("dag_name").map(|value| format!(" ({})", value.origin));
        Failure::input(format!("setting dag_name{}: {error}", origin.unwrap_or_default()))
    })
}
