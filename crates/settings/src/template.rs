//! A `daglight.toml` to start from: the most common settings, commented out and with descriptions.

use std::fmt::Write as _;

use daglight_capture_policy::Profile;
use serde_json::Value;

use crate::{
    reference::{settings_schema, subschema},
    settings::Settings,
};

const HEAD: &str = "\
# The settings of Daglight for this folder and those below it. A commented setting shows its default; one that is marked as an
# example has no default. Variables of the environment and options of the command line override this file.
#
# `daglight config` shows every setting in force and where its value comes from; `daglight config --schema` describes all of them.
# Keys and passwords do not belong here: put them into your own file, ~/.config/daglight/daglight.toml, or into variables.
";

/// The settings, each with an example in TOML if it has no default. Settings of the same section are consecutive.
const SHOWN: &[(&str, &str)] = &[
    ("profile", ""),
    ("dag_name", "\"sales::order_risk_v1\""),
    ("environment", ""),
    ("team", "\"risk\""),
    ("tags.region", "\"north\""),
    ("tracker.api_url", "\"http://localhost:8241\""),
    ("tracker.project_id", "1"),
    ("tracker.username", "\"me@example.com\""),
    ("tracker.ca_file", "\"/etc/ssl/our-authority.pem\""),
    ("tracker.flush_seconds", ""),
    ("capture.data_statistics", ""),
    ("capture.top_values", ""),
    ("capture.preview_rows", ""),
    ("capture.sql_text", ""),
    ("capture.paths", ""),
    ("capture.max_string_length", ""),
    ("capture.redact_keys", "[\"iban\", \"tax_id\"]"),
    ("otel.trace_url", "\"http://localhost:16686/trace/{trace_id}\""),
    ("otel.slow_seconds", ""),
    ("otel.operator_spans", ""),
    ("openlineage.url", "\"http://localhost:5000\""),
    ("openlineage.namespace", ""),
    ("bundle.output_dir", ""),
    ("bundle.keep_days", "30"),
    ("bundle.keep_count", "200"),
    ("bundle.keep_bytes", "\"20GB\""),
    ("plans.keep", ""),
    ("plans.slow_after", ""),
    ("heartbeat.stall_seconds", ""),
    ("heartbeat.on_stall", ""),
    ("findings.min_share", ""),
    ("findings.min_ms", ""),
];

/// A `daglight.toml` in which every setting is commented out.
///
/// ```
/// let template = daglight_settings::settings_template();
/// assert!(template.contains("\n[tracker]\n") && template.contains("\n# api_url = "));
/// ```
pub fn settings_template() -> String {
    let mut schema = settings_schema();
    let defaults = serde_json::to_value(Settings::of_profile(Profile::Dev)).unwrap_or_default();
    let mut template = HEAD.to_owned();
    let mut section = "";
    for (key, example) in SHOWN {
        let (table, name) = key.rsplit_once('.').unwrap_or(("", key));
        if table != section {
            let _ = writeln!(template, "\n[{table}]");
            section = table;
        }
        if let Some(description) = description(&mut schema, key) {
            let _ = writeln!(template, "\n{}", comment(&description));
        }
        let _ = match example.is_empty() {
            true => {
                let value = defaults.pointer(&format!("/{}", key.replace('.', "/"))).map(Value::to_string);
                writeln!(template, "# {name} = {}", value.unwrap_or_default())
            }
            false => writeln!(template, "# {name} = {example} # example"),
        };
    }
    template
}

fn description(schema: &mut Value, key: &str) -> Option<String> {
    // User-chosen names are described at their table.
    let described = key.strip_prefix("tags.").map_or(key, |_| "tags");
    subschema(schema, described)?["description"].as_str().map(str::to_owned)
}

/// The text as comment lines, each with at most a hundred characters.
fn comment(text: &str) -> String {
    const WIDTH: usize = 100;
    let mut lines = vec!["#".to_owned()];
    for word in text.split_whitespace() {
        if lines.last().is_some_and(|line| line.chars().count() + word.chars().count() >= WIDTH) {
            lines.push("#".to_owned());
        }
        if let Some(line) = lines.last_mut() {
            line.push(' ');
            line.push_str(word);
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{loader::SettingsLoader, resolved::Resolved};

    fn load(text: &str) -> Resolved {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("daglight.toml");
        fs::write(&file, text).unwrap();
        SettingsLoader::new().with_file(&file).resolve().unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    /// Uncomments the line of one setting, or of all.
    fn uncommented(only: Option<&str>) -> (String, Vec<String>) {
        let (mut keys, mut lines, mut section) = (Vec::new(), Vec::new(), String::new());
        for line in settings_template().lines() {
            if let Some(table) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                section = format!("{table}.");
            }
            let setting = line.strip_prefix("# ").and_then(|line| Some((line, line.split_once(" = ")?.0)));
            let setting = setting.filter(|(_, name)| !name.contains(' '));
            match setting.map(|(line, name)| (line, format!("{section}{name}"))) {
                Some((line, key)) if only.is_none_or(|only| only == key) => {
                    lines.push(line.to_owned());
                    keys.push(key);
                }
                _ => lines.push(line.to_owned()),
            }
        }
        (lines.join("\n"), keys)
    }

    #[test]
    fn the_template_changes_nothing() {
        assert_eq!(load(&settings_template()).settings, Settings::of_profile(Profile::Dev));
    }

    #[test]
    fn each_setting_of_the_template_is_one_that_a_file_may_have() {
        let (all, keys) = uncommented(None);
        assert_eq!(keys, SHOWN.iter().map(|(key, _)| *key).collect::<Vec<_>>());
        load(&all);
        for (key, example) in SHOWN {
            let (text, found) = uncommented(Some(key));
            assert_eq!(found, [*key]);
            let resolved = load(&text);
            let value = resolved.value(key).unwrap_or_else(|| panic!("{key} is not there"));
            assert!(value.origin.to_string().contains("daglight.toml"), "{key} is from {}", value.origin);
            let is_default = resolved.settings == Settings::of_profile(Profile::Dev);
            assert_eq!(is_default, example.is_empty(), "{key}: what is shown is its default, or an example");
        }
    }

    #[test]
    fn each_setting_of_the_template_is_described() {
        let mut schema = settings_schema();
        for (key, _) in SHOWN {
            assert!(description(&mut schema, key).is_some_and(|text| text.len() > 10), "{key}");
        }
    }
}
