//! What the policy of a run kept out of its bundle, as its settings say it.

use daglight_run_bundle::Manifest;

/// Settings of the policy with the values under which something is not shown, and what that is.
const HIDDEN: &[(&str, &str, &str)] = &[
    ("sql_text", "none", "SQL"),
    ("sql_text", "without_literals", "literals of SQL"),
    ("error_values", "false", "values in errors"),
    ("inputs", "false", "values of inputs and parameters"),
    ("documentation", "false", "documentation of nodes"),
    ("paths", "none", "paths"),
    ("paths", "file_name", "folders of paths"),
    ("paths", "without_values", "values in paths"),
    ("data_statistics", "false", "summaries of data"),
    ("top_values", "false", "most frequent values"),
    ("text_min_max", "false", "least and greatest texts"),
    ("preview_rows", "0", "first rows"),
    ("command_line", "false", "command line"),
    ("host_facts", "false", "facts of the machine"),
];

/// What was not shown, in words.
pub(crate) fn hidden(manifest: &Manifest) -> Vec<String> {
    let is_set = |(setting, value, _): &&(&str, &str, &str)| manifest.policy[*setting] == *value;
    HIDDEN.iter().filter(is_set).map(|(.., what)| (*what).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use daglight_capture_policy::{CAPTURE_SETTINGS, CaptureSettings, Profile};
    use serde_json::{Value, json};

    use super::*;
    use crate::fixture;

    /// The manifest of a run under a profile. Settings stand in it as texts.
    fn under(profile: Profile) -> Manifest {
        let settings = serde_json::to_value(CaptureSettings::of_profile(profile)).unwrap();
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let policy = settings.as_object().unwrap().iter();
        let policy = policy.map(|(name, value)| (name.clone(), text(value).into())).collect();
        Manifest { policy: Value::Object(policy), ..fixture::manifest() }
    }

    #[test]
    fn what_a_profile_hides_is_named() {
        assert_eq!(hidden(&under(Profile::Dev)), ["command line"]);
        let of_prod = hidden(&under(Profile::Prod));
        for what in ["literals of SQL", "values in errors", "values in paths", "documentation of nodes"] {
            assert!(of_prod.contains(&what.to_owned()), "{what}: {of_prod:?}");
        }
        assert_eq!(hidden(&Manifest { policy: json!(null), ..fixture::manifest() }), [""; 0]);
    }

    #[test]
    fn each_setting_that_hides_is_one_of_the_policy() {
        for (setting, ..) in HIDDEN {
            let key = format!("capture.{setting}");
            assert!(CAPTURE_SETTINGS.iter().any(|known| known.key == key), "{key}");
        }
    }
}
