//! The reference of the settings, generated from the code: a JSON schema for `daglight.toml`, and the table in the documentation.

use std::fmt::Write as _;

use daglight_capture_policy::Profile;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::{
    catalog::SETTINGS,
    setting::{LEAST_INTERVAL, MOST_SECONDS, SettingKind},
    settings::Settings,
};

/// The JSON schema (draft 7) of `daglight.toml`.
pub fn settings_schema() -> Value {
    let generator =
        SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true).into_generator();
    let mut schema = generator.into_root_schema_for::<Settings>().to_value();
    as_in_a_file(&mut schema);
    for setting in SETTINGS {
        if let Some(schema) = subschema(&mut schema, setting.key) {
            restrict(schema, setting.kind);
        }
    }
    let mut properties = schema["properties"].as_object().cloned().unwrap_or_default();
    let of_profile = properties.keys().filter(|name| *name != "profile");
    let of_profile = of_profile.map(|name| (name.clone(), json!({ "$ref": format!("#/properties/{name}") })));
    let mut of_profile: Map<String, Value> = of_profile.collect();
    let built_in = Profile::ALL.map(Profile::name);
    let base = json!({ "description": "The built-in profile that this one starts from.", "enum": built_in });
    of_profile.insert("extends".to_owned(), base);
    let profiles = json!({
        "description": "Custom profiles, by name: a built-in one, and what they change of it.",
        "type": "object",
        "propertyNames": { "not": { "enum": built_in } },
        "additionalProperties": { "type": "object", "properties": of_profile, "additionalProperties": false },
    });
    properties.insert("profiles".to_owned(), profiles);
    json!({
        "$schema": schema["$schema"],
        "$comment": "Made by `cargo run -q -p daglight-settings --example reference`; not edited by hand.",
        "title": "daglight.toml",
        "description": "The configuration of Daglight. What is left out has the default of the profile.",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    })
}

/// In a file every setting is optional, and there is no `null`.
fn as_in_a_file(schema: &mut Value) {
    match schema {
        Value::Object(entries) => {
            for needless in ["required", "format", "default"] {
                entries.shift_remove(needless);
            }
            if let Some(Value::Array(types)) = entries.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    entries.insert("type".to_owned(), only);
                }
            }
            entries.values_mut().for_each(as_in_a_file);
        }
        Value::Array(items) => items.iter_mut().for_each(as_in_a_file),
        _ => {}
    }
}

/// The schema of the setting or section with that key.
pub(crate) fn subschema<'a>(schema: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    key.split('.').try_fold(schema, |schema, name| match name {
        "*" => schema.get_mut("additionalProperties"),
        name => schema.get_mut("properties")?.get_mut(name),
    })
}

fn restrict(schema: &mut Value, kind: SettingKind) {
    match kind {
        SettingKind::Text | SettingKind::Secret => schema["pattern"] = r"\S".into(),
        SettingKind::Names | SettingKind::Folders => schema["items"]["pattern"] = r"\S".into(),
        SettingKind::Urls => schema["items"]["pattern"] = "^https?://.".into(),
        SettingKind::Url => schema["pattern"] = "^https?://.".into(),
        SettingKind::PlainUrl => schema["pattern"] = r"^https?://[^/\\?#@]+([/\\?#]|$)".into(),
        SettingKind::TraceUrl => schema["pattern"] = r"^https?://.*\{trace_id\}".into(),
        SettingKind::Namespace => schema["pattern"] = "^[A-Za-z][A-Za-z0-9._-]{0,99}$".into(),
        SettingKind::Part => {
            schema["minimum"] = 0.into();
            schema["maximum"] = 1.into();
        }
        SettingKind::Number => schema["minimum"] = 0.into(),
        SettingKind::Seconds => {
            schema["exclusiveMinimum"] = 0.into();
            schema["maximum"] = MOST_SECONDS.into();
        }
        SettingKind::Interval => {
            schema["minimum"] = LEAST_INTERVAL.into();
            schema["maximum"] = MOST_SECONDS.into();
        }
        SettingKind::Bytes { from } => {
            schema["type"] = json!(["integer", "string"]);
            schema["minimum"] = from.into();
            schema["pattern"] = r"^\s*[0-9]+(\.[0-9]+)?\s*([bB]|[kKmMgGtT]([iI]?[bB])?)?\s*$".into();
        }
        SettingKind::Count { from, to } => {
            schema["minimum"] = from.into();
            if to < i64::MAX {
                schema["maximum"] = to.into();
            }
        }
        _ => {}
    }
}

/// All settings as a Markdown table: key, environment variable, the default in each built-in profile, description.
pub fn settings_table() -> String {
    let mut schema = settings_schema();
    let defaults =
        Profile::ALL.map(|profile| serde_json::to_value(Settings::of_profile(profile)).unwrap_or_default());
    let mut table = "| setting | variable | dev | ci | prod | |\n|---|---|---|---|---|---|\n".to_owned();
    for setting in SETTINGS {
        let key = shown_key(setting.key);
        let variable = setting.variable.map(|name| format!("`{name}`")).unwrap_or_default();
        let pointer = format!("/{}", setting.key.replace('.', "/"));
        let [dev, ci, prod] = defaults.each_ref().map(|defaults| shown(defaults.pointer(&pointer)));
        let described = setting.key.trim_end_matches(".*");
        let description = subschema(&mut schema, described).and_then(|schema| schema["description"].as_str());
        let mut description = description.unwrap_or_default().replace('\n', " ");
        if !matches!(setting.kind, SettingKind::Text | SettingKind::Secret | SettingKind::Flag) {
            let _ = write!(description, " Allowed: {}.", setting.kind);
        }
        let description = description.trim();
        let _ = writeln!(table, "| `{key}` | {variable} | {dev} | {ci} | {prod} | {description} |");
    }
    table
}

fn shown_key(key: &str) -> String {
    key.replacen('*', "NAME", 1).replace('*', "KEY")
}

fn shown(default: Option<&Value>) -> String {
    match default {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => format!("`{text}`"),
        Some(other) => format!("`{other}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The paths of a schema that have no properties.
    fn leaves(schema: &Value, path: &str, found: &mut Vec<String>) {
        let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        match (&schema["properties"], &schema["additionalProperties"]) {
            (Value::Object(properties), _) => {
                for (name, schema) in properties {
                    leaves(schema, &below(name), found);
                }
            }
            (_, schema @ Value::Object(_)) => leaves(schema, &below("*"), found),
            _ => found.push(path.to_owned()),
        }
    }

    #[test]
    fn the_table_of_settings_is_the_types() {
        let mut schema = settings_schema();
        schema["properties"].as_object_mut().unwrap().shift_remove("profiles");
        let mut found = Vec::new();
        leaves(&schema, "", &mut found);
        assert_eq!(found, SETTINGS.iter().map(|setting| setting.key).collect::<Vec<_>>());
    }

    #[test]
    fn names_of_choices_are_those_of_the_types() {
        let mut schema = settings_schema();
        for setting in SETTINGS {
            let SettingKind::OneOf(names) = setting.kind else { continue };
            let choices = subschema(&mut schema, setting.key).unwrap()["oneOf"].clone();
            let found: Vec<&str> =
                choices.as_array().unwrap().iter().map(|choice| choice["const"].as_str().unwrap()).collect();
            assert_eq!(found, names, "{}", setting.key);
        }
    }

    #[test]
    fn every_setting_has_a_row_with_defaults_and_a_description() {
        let table = settings_table();
        let row = |key: &str| {
            let start = format!("| `{}` |", shown_key(key));
            table.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("no row of {key}"))
        };
        for setting in SETTINGS {
            let description = row(setting.key).split(" | ").last().unwrap_or_default();
            assert!(description.len() > 10, "{}: {description:?}", setting.key);
        }
        let row = row("capture.max_list_length");
        assert!(row.contains("| `HAMILTON_MAX_LIST_LENGTH_CAPTURE` | `200` | `5` | `20` |"), "{row}");
    }
}
