//! The configuration of OpenLineage's own clients: `openlineage.yml`, and variables with the prefix `OPENLINEAGE__`.
//!
//! It takes precedence over the settings' own files and variables, as for those clients.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use daglight_capture_policy::{MAX_EDITS, nearest_name};
use figment::value::Value;
use saphyr::{LoadableYamlNode as _, MarkedYaml, Scalar, YamlData};

use crate::{
    catalog::{SETTINGS, insert},
    layer::{Layer, read_file},
    origin::Origin,
    settings_error::SettingsError,
    trust::{Refusal, Trusted, distrusted_because, is_file},
};

const FILE_NAME: &str = "openlineage.yml";
const FILE_VARIABLE: &str = "OPENLINEAGE_CONFIG";
const DISABLED_VARIABLE: &str = "OPENLINEAGE_DISABLED";
/// The prefix of variables that each correspond to a key of the file.
const PREFIX: &str = "OPENLINEAGE__";
/// What the names of all of OpenLineage's variables begin with.
const NAMES: &str = "OPENLINEAGE_";
/// The section of the transport, in the name of a variable.
const TRANSPORT_VARIABLE: &str = "TRANSPORT";

const SECTION: &str = "transport";
const TRANSPORT: &str = "transport.";
/// The expected form of a transport.
const EXPECTED: &str = "nothing of it counts, and it makes no destination of events: expected a section `transport` with keys, such as type \
                        and url";
const TYPE: &str = "transport.type";
const AUTH_TYPE: &str = "transport.auth.type";
const API_KEY: &str = "api_key";

/// The keys that are settings here, in the spelling of the Python client, in lower case.
const KEYS: &[(&str, &str)] = &[
    (TYPE, "openlineage.transport"),
    ("transport.url", "openlineage.url"),
    ("transport.endpoint", "openlineage.endpoint"),
    ("transport.timeout", "openlineage.timeout_seconds"),
    ("transport.verify", "openlineage.verify"),
    ("transport.compression", "openlineage.compression"),
    ("transport.auth.apikey", "openlineage.api_key"),
    ("transport.auth.api_key", "openlineage.api_key"),
    ("transport.log_file_path", "openlineage.file"),
    ("transport.append", "openlineage.append"),
];

/// The content of OpenLineage's configuration.
#[derive(Default)]
pub(crate) struct OpenLineageConfig {
    /// Later ones take precedence.
    pub(crate) layers: Vec<Layer>,
    pub(crate) refused: Vec<Refusal>,
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    /// Dotted, in lower case.
    key: String,
    text: String,
    origin: String,
    line: Option<usize>,
}

/// Reads the variables, and the file that they name, or that is found in `directory` or the home folder.
pub(crate) fn openlineage_config(
    directory: Option<&Path>,
    variables: &BTreeMap<String, String>,
    trusted: &Trusted,
) -> Result<OpenLineageConfig, SettingsError> {
    let mut config = OpenLineageConfig::default();
    // It is disabled, so it does not matter whether it is valid.
    if variables.get(DISABLED_VARIABLE).is_some_and(|text| text.trim().eq_ignore_ascii_case("true")) {
        return Ok(config);
    }
    let entries = of_variables(variables);
    for entry in config.known(&entries) {
        let (setting, value) = entry.setting(|| Origin::new(entry.origin.clone()))?;
        config.layers.push(Layer::of_value(&entry.origin, setting, value));
    }
    let Some((file, is_project)) = find(directory, variables, &mut config.refused) else { return Ok(config) };
    if is_project && let Some(why) = distrusted_because(&file, trusted) {
        config.refused.push(Refusal { what: file.display().to_string(), why });
        return Ok(config);
    }
    let entries = of_file(&file)?;
    let mut layer = Layer::in_file(&file, is_project);
    for entry in config.known(&entries) {
        let line = entry.line;
        let (setting, value) = entry.setting(|| Origin::in_file(&file, line))?;
        layer.set(setting, value, line);
    }
    config.layers.push(layer);
    Ok(config)
}

/// Variables that are nearly those of OpenLineage. They are passed over with a warning: its other clients have more variables than are
/// known here.
pub(crate) fn misspelled_lineage_variables(variables: &BTreeMap<String, String>) -> Vec<Refusal> {
    let own = SETTINGS.iter().filter_map(|setting| setting.variable);
    let known: Vec<&str> = own.filter(|name| name.starts_with(NAMES)).chain([FILE_VARIABLE]).collect();
    let is_key =
        |name: &str| name.strip_prefix(PREFIX).is_some_and(|key| key.starts_with(TRANSPORT_VARIABLE));
    let misspelled = |name: &String| {
        if !name.starts_with(NAMES) || known.contains(&name.as_str()) || is_key(name) {
            return None;
        }
        let of_key = name.strip_prefix(PREFIX).map(|key| key.split("__").next().unwrap_or_default());
        let nearest = match of_key {
            Some(section) => {
                let transport = nearest_name(section, [TRANSPORT_VARIABLE], MAX_EDITS);
                transport.map(|transport| name.replacen(section, transport, 1))
            }
            None => nearest_name(name, known.iter().copied(), MAX_EDITS).map(str::to_owned),
        };
        let why = format!("it is an unknown variable: did you mean {}?", nearest?);
        Some(Refusal { what: format!("environment variable {name}"), why })
    };
    variables.keys().filter_map(misspelled).collect()
}

impl OpenLineageConfig {
    /// The entries that are settings here. There is a warning that other entries of the transport have no effect; other sections
    /// are for other clients.
    fn known<'e>(&mut self, entries: &'e [Entry]) -> Vec<&'e Entry> {
        let mut refuse = |entry: &Entry, why: String| {
            let place =
                entry.line.map_or_else(|| entry.origin.clone(), |line| format!("{}:{line}", entry.origin));
            let what = if entry.key.is_empty() { place } else { format!("{} ({place})", entry.key) };
            self.refused.push(Refusal { what, why });
        };
        // A transport of another type has its own keys, and the run already warns about the type.
        let kind = entries.iter().find(|entry| entry.key == TYPE).map(|entry| entry.text.as_str());
        let is_of_ours = kind.is_none_or(|kind| ["http", "file", "console", "noop"].contains(&kind));
        let auth = entries.iter().find(|entry| entry.key == AUTH_TYPE);
        let other_auth = auth.filter(|auth| auth.text != API_KEY);
        if let Some(auth) = other_auth.filter(|_| is_of_ours) {
            refuse(auth, format!("Daglight sends no credentials of that type; expected {API_KEY}"));
        }
        let mut known = Vec::new();
        for entry in entries {
            // A section without keys, an incomplete object, or a text: the result would not be what was meant.
            if entry.key.is_empty() || entry.key == SECTION {
                refuse(entry, EXPECTED.to_owned());
                continue;
            }
            let is_setting = KEYS.iter().any(|(key, _)| *key == entry.key);
            let is_auth = entry.key.starts_with("transport.auth.");
            match (is_setting, other_auth) {
                (_, Some(_)) if is_auth => {}
                (true, _) => known.push(entry),
                _ if entry.key == AUTH_TYPE || !is_of_ours || !entry.key.starts_with(TRANSPORT) => {}
                _ => refuse(entry, "Daglight does not have this key of a transport".to_owned()),
            }
        }
        known
    }
}

impl Entry {
    /// The corresponding setting, with its value.
    fn setting(&self, origin: impl FnOnce() -> Origin) -> Result<(&'static str, Value), SettingsError> {
        let key = KEYS.iter().find(|(key, _)| *key == self.key).map_or("", |(_, setting)| *setting);
        let setting = SETTINGS.iter().find(|setting| setting.key == key);
        let setting = setting.expect("each of KEYS names a setting, which a test of this file checks");
        let value = setting.kind.parse(&self.text).ok_or_else(|| {
            SettingsError::value(key.to_owned(), setting.kind, &Value::from(self.text.as_str()), origin())
        })?;
        Ok((setting.key, value))
    }
}

/// The file that is used, and whether it is a file of the project.
fn find(
    directory: Option<&Path>,
    variables: &BTreeMap<String, String>,
    refused: &mut Vec<Refusal>,
) -> Option<(PathBuf, bool)> {
    if let Some(named) = variables.get(FILE_VARIABLE) {
        return Some((PathBuf::from(named), false));
    }
    let of_project = directory.map(|directory| directory.join(FILE_NAME));
    if let Some(file) = of_project.filter(|file| is_file(file, refused)) {
        return Some((file, true));
    }
    let home = variables.get("HOME").or_else(|| variables.get("USERPROFILE"));
    let of_user = home.map(|home| Path::new(home).join(".openlineage").join(FILE_NAME));
    of_user.filter(|file| is_file(file, refused)).map(|file| (file, false))
}

/// Each variable is a key, whose parts are separated by two underscores; its value is JSON, or else a text.
fn of_variables(variables: &BTreeMap<String, String>) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    // Last first, so that a variable for a whole section takes precedence over those for its parts, as in the Python client.
    for (name, text) in variables.iter().rev() {
        let Some(path) = name.strip_prefix(PREFIX) else { continue };
        let key = path.split("__").collect::<Vec<_>>().join(".").to_lowercase();
        let value = serde_json::from_str(text).unwrap_or_else(|_| text.trim().into());
        let section = format!("{key}.");
        entries.retain(|entry| entry.key != key && !entry.key.starts_with(&section));
        flatten_json(&key, &value, &format!("environment variable {name}"), &mut entries);
    }
    entries
}

fn flatten_json(key: &str, value: &serde_json::Value, origin: &str, entries: &mut Vec<Entry>) {
    use serde_json::Value::{Null, Object, String};
    let text = match value {
        Object(fields) => {
            for (name, value) in fields {
                flatten_json(&format!("{key}.{}", name.to_lowercase()), value, origin, entries);
            }
            return;
        }
        Null => return,
        String(text) => text.clone(),
        other => other.to_string(),
    };
    entries.push(Entry { key: key.to_owned(), text, origin: origin.to_owned(), line: None });
}

fn of_file(file: &Path) -> Result<Vec<Entry>, SettingsError> {
    let text = read_file(file)?;
    let documents = MarkedYaml::load_from_str(&text).map_err(|error| SettingsError::Syntax {
        origin: Origin::in_file(file, Some(error.marker().line())),
        problem: error.info().to_owned(),
    })?;
    let mut entries = Vec::new();
    if let Some(document) = documents.first() {
        flatten_yaml("", document, 1, &file.display().to_string(), &mut entries);
    }
    Ok(entries)
}

fn flatten_yaml(key: &str, node: &MarkedYaml<'_>, line: usize, origin: &str, entries: &mut Vec<Entry>) {
    let text = match &node.data {
        YamlData::Mapping(fields) => {
            for (name, value) in fields {
                let YamlData::Value(Scalar::String(text)) = &name.data else { continue };
                let name_line = name.span.start.line();
                let below = if key.is_empty() {
                    text.to_lowercase()
                } else {
                    format!("{key}.{}", text.to_lowercase())
                };
                flatten_yaml(&below, value, name_line, origin, entries);
            }
            return;
        }
        YamlData::Value(Scalar::String(text)) => text.to_string(),
        YamlData::Value(Scalar::Boolean(flag)) => flag.to_string(),
        YamlData::Value(Scalar::Integer(number)) => number.to_string(),
        YamlData::Value(Scalar::FloatingPoint(number)) => number.to_string(),
        YamlData::Value(Scalar::Null) if key != SECTION => return,
        YamlData::Value(Scalar::Null) => String::new(),
        // None of our keys accepts several values.
        _ => "a value that is not a single one".to_owned(),
    };
    entries.push(Entry { key: key.to_owned(), text, origin: origin.to_owned(), line: Some(line) });
}

impl Layer {
    fn set(&mut self, setting: &str, value: Value, line: Option<usize>) {
        insert(&mut self.values, setting, value);
        self.at_line(setting, line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_a_setting() {
        for (key, setting) in KEYS {
            assert!(SETTINGS.iter().any(|known| known.key == *setting), "{key}");
        }
    }

    #[track_caller]
    fn check(variables: &[(&str, &str)], expected: &[(&str, &str)]) {
        let variables =
            variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        let mut found: Vec<(String, String)> =
            of_variables(&variables).into_iter().map(|entry| (entry.key, entry.text)).collect();
        found.sort();
        let expected: Vec<(String, String)> =
            expected.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_no_transport_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(FILE_NAME);
        let refused = |variables: &[(&str, &str)]| {
            let variables =
                variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
            openlineage_config(None, &variables, &Trusted::default()).unwrap().refused
        };
        let [refusal] = &refused(&[("OPENLINEAGE__TRANSPORT", r#"{"type":"#)])[..] else { panic!() };
        assert!(refusal.what.contains("OPENLINEAGE__TRANSPORT"), "{}", refusal.what);
        let named = [(FILE_VARIABLE, file.to_str().unwrap())];
        for text in ["only a text", "transport: http", "transport:\n"] {
            std::fs::write(&file, text).unwrap();
            let [refusal] = &refused(&named)[..] else { panic!("{text}") };
            assert!(refusal.what.contains(FILE_NAME) && refusal.why.contains("expected"), "{text}");
        }
        std::fs::write(&file, "other:\n  a: 1\ntransport:\n  type: console\n").unwrap();
        assert!(refused(&named).is_empty());
    }

    #[test]
    fn variables_are_keys_and_their_values_json_or_texts() {
        check(&[("OPENLINEAGE_URL", "http://a"), ("OTHER", "x")], &[]);
        check(
            &[
                ("OPENLINEAGE__TRANSPORT__TYPE", "http"),
                ("OPENLINEAGE__TRANSPORT__VERIFY", "false"),
                ("OPENLINEAGE__TRANSPORT__AUTH", r#"{"type":"api_key","apiKey":"k"}"#),
            ],
            &[
                ("transport.auth.apikey", "k"),
                ("transport.auth.type", "api_key"),
                ("transport.type", "http"),
                ("transport.verify", "false"),
            ],
        );
        check(
            &[
                ("OPENLINEAGE__TRANSPORT", r#"{"type":"console"}"#),
                ("OPENLINEAGE__TRANSPORT__TYPE", "http"),
                ("OPENLINEAGE__TRANSPORT__URL", "http://b"),
            ],
            &[("transport.type", "console")],
        );
    }

    #[test]
    fn variables_that_are_nearly_known_are_named() {
        let named = |name: &str| {
            let variables = BTreeMap::from([(name.to_owned(), "x".to_owned())]);
            misspelled_lineage_variables(&variables).first().map(ToString::to_string)
        };
        for (name, meant) in [
            ("OPENLINEAGE_URLL", "OPENLINEAGE_URL"),
            ("OPENLINEAGE_NAMESPCAE", "OPENLINEAGE_NAMESPACE"),
            ("OPENLINEAGE_APIKEY", "OPENLINEAGE_API_KEY"),
            ("OPENLINEAGE_CONFG", "OPENLINEAGE_CONFIG"),
            ("OPENLINEAGE_TRANSPORT__TYPE", "OPENLINEAGE__TRANSPORT__TYPE"),
            ("OPENLINEAGE__TRANSPRT__URL", "OPENLINEAGE__TRANSPORT__URL"),
        ] {
            let warning = named(name).unwrap_or_else(|| panic!("{name}"));
            assert!(
                warning.contains(name) && warning.ends_with(&format!("did you mean {meant}?")),
                "{warning}"
            );
        }
        for name in [
            "OPENLINEAGE_URL",
            "OPENLINEAGE_CONFIG",
            "OPENLINEAGE_CLIENT_LOGGING",
            "OPENLINEAGE_EXTRACTORS",
            "OPENLINEAGE__TRANSPORT__URL",
            "OPENLINEAGE__FACETS__X",
            "OTHER",
        ] {
            assert_eq!(named(name), None, "{name}");
        }
    }
}
