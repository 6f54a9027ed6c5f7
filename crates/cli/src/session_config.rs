//! The session configuration from `DATAFUSION_*` variables, with the defaults of `datafusion-cli`.

use std::env;

use daglight::policy::{Policy, Redactor};
use datafusion::{
    common::{config::ConfigOptions, format::ExplainFormat},
    prelude::SessionConfig,
};

use crate::failure::Failure;

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

/// The error for the first variable that DataFusion rejects.
fn wrong_variable(variables: impl Fn(&str) -> Option<String>, redactor: &Redactor) -> Option<String> {
    ConfigOptions::new().entries().into_iter().find_map(|entry| {
        let name = entry.key.to_uppercase().replace('.', "_");
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
