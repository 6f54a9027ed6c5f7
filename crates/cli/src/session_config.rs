//! The session configuration from `DATAFUSION_*` variables, with the defaults of `datafusion-cli`.

use std::env;

use daglight::policy::{Policy, Redactor};
use daglight_capture_policy::{MAX_EDITS, nearest_name};
use datafusion::{
    common::{config::ConfigOptions, format::ExplainFormat},
    prelude::SessionConfig,
};
use tracing::warn;

use crate::failure::Failure;

/// The prefix of the variables.
const PREFIX: &str = "DATAFUSION_";

/// The variable for the format of plans, if it should differ from the default of `datafusion-cli`.
const EXPLAIN_FORMAT: &str = "DATAFUSION_EXPLAIN_FORMAT";

/// The session configuration from the variables of this process. Errors name the variable.
pub(crate) fn session_config(policy: &Policy) -> Result<SessionConfig, Failure> {
    let config = SessionConfig::from_env().map(|mut config| {
        if env::var_os(EXPLAIN_FORMAT).is_none() {
            config.options_mut().explain.format = ExplainFormat::Tree;
        }
        config
    });
    config.map_err(|error| {
        let variables = |name: &str| env::var_os(name).map(|text| text.to_string_lossy().into_owned());
        match wrong_variable(variables, policy.redactor()) {
            Some(message) => Failure::input(message),
            None => Failure::of_engine(error),
        }
    })
}

/// Warns of each variable of this process that is nearly one of DataFusion's: it has no effect, and DataFusion does not say so.
pub(crate) fn warn_of_misspelled_variables() {
    let set = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for (name, meant) in misspelled(set) {
        warn!("{name} is not a variable of DataFusion and has no effect: did you mean {meant}?");
    }
}

/// The misspelled ones of these variables, each with the name that was probably meant.
fn misspelled(names: impl Iterator<Item = String>) -> Vec<(String, String)> {
    let ours: Vec<String> = names.filter(|name| name.starts_with(PREFIX)).collect();
    if ours.is_empty() {
        return Vec::new();
    }
    let known: Vec<String> =
        ConfigOptions::new().entries().iter().map(|entry| variable(&entry.key)).collect();
    let meant = |name: String| {
        let nearest = nearest_name(&name, known.iter().map(String::as_str), MAX_EDITS)?;
        (nearest != name).then(|| (name.clone(), nearest.to_owned()))
    };
    ours.into_iter().filter_map(meant).collect()
}

/// The variable for a setting.
fn variable(setting: &str) -> String {
    setting.to_uppercase().replace('.', "_")
}

/// The error for the first variable that DataFusion rejects.
fn wrong_variable(variables: impl Fn(&str) -> Option<String>, redactor: &Redactor) -> Option<String> {
    ConfigOptions::new().entries().into_iter().find_map(|entry| {
        let name = variable(&entry.key);
        let value = variables(&name)?;
        let error = ConfigOptions::new().set(&entry.key, &value).err()?;
        let expected = match entry.value {
            Some(default) => format!("a value such as {default:?}, its default"),
            None => "a value that this setting of DataFusion can have".to_owned(),
        };
        let why = error.find_root().message().lines().next().unwrap_or_default().to_owned();
        let why = if redactor.shows_literals() { format!(": {why}") } else { String::new() };
        Some(format!(
            "environment variable {name}: expected {expected}, found {}{why}",
            redactor.setting_value(&value)
        ))
    })
}

#[cfg(test)]
mod tests {
    use daglight::policy::Profile;

    use super::*;

    #[track_caller]
    fn check(name: &str, value: &str, shows_values: bool, expected: Option<&str>) {
        let policy = Policy::of_profile(if shows_values { Profile::Dev } else { Profile::Prod });
        let found = wrong_variable(|asked| (asked == name).then(|| value.to_owned()), policy.redactor());
        assert_eq!(found.as_deref(), expected);
    }

    #[test]
    fn a_variable_that_is_nearly_one_of_datafusion_is_named() {
        let meant = |name: &str| misspelled([name.to_owned()].into_iter()).pop().map(|(_, meant)| meant);
        for (name, known) in [
            ("DATAFUSION_EXECUTION_BATCHSIZE", "DATAFUSION_EXECUTION_BATCH_SIZE"),
            ("DATAFUSION_EXECUTION_TARGET_PARTITION", "DATAFUSION_EXECUTION_TARGET_PARTITIONS"),
        ] {
            assert_eq!(meant(name).as_deref(), Some(known));
            assert_eq!(meant(known), None);
        }
        for other in ["DATAFUSION_TEST_DATA", "DATAFUSION_HOME", "DATA_FUSION"] {
            assert_eq!(meant(other), None, "{other}");
        }
    }

    #[test]
    fn a_wrong_variable_is_named_with_what_was_expected() {
        let batch_size = "DATAFUSION_EXECUTION_BATCH_SIZE";
        check(batch_size, "100", true, None);
        check(
            batch_size,
            "zqmk",
            false,
            Some(
                "environment variable DATAFUSION_EXECUTION_BATCH_SIZE: expected a value such as \"8192\", its default, \
                 found a value that is not shown",
            ),
        );
        check(
            batch_size,
            "zqmk",
            true,
            Some(
                "environment variable DATAFUSION_EXECUTION_BATCH_SIZE: expected a value such as \"8192\", its default, \
                 found \"zqmk\": invalid digit found in string",
            ),
        );
    }
}
