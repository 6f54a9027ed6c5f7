//! Settings with the origins of their values.

use std::{fmt, path::PathBuf};

use daglight_capture_policy::{Profile, Redactor, printable};
use figment::{Figment, Provider as _, value::Dict};
use serde_json::{Map, Value, json};

use crate::{layer::Layer, origin::Origin, settings::Settings, trust::Refusal};

/// Every active setting, with its origin. `Display` is a table in which credentials are masked.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// The settings.
    pub settings: Settings,
    /// The built-in profile that the active profile is, or extends.
    pub base: Profile,
    /// The configuration files that were read, in order of increasing precedence.
    pub files: Vec<PathBuf>,
    /// Files and servers that were found but ignored, because they may belong to someone else. The code that starts a run should
    /// warn about them.
    pub refused: Vec<Refusal>,
    values: Vec<ResolvedValue>,
}

/// A setting's value in a form that is safe to show.
#[derive(Debug, Clone, PartialEq)]
pub struct ResolvedValue {
    /// The setting's dotted path.
    pub key: String,
    /// The same as a list of its parts.
    pub path: Vec<String>,
    /// Its value, with credentials masked. `null` if it has none.
    pub value: Value,
    /// Where it came from.
    pub origin: Origin,
}

impl Resolved {
    pub(crate) fn new(
        settings: Settings,
        base: Profile,
        files: Vec<PathBuf>,
        merged: &Figment,
        layers: &[Layer],
    ) -> Self {
        // With the settings' own rules: a key that they hide is also hidden here.
        let redactor = Redactor::new(&settings.capture.redact_keys);
        let shown = serde_json::to_value(&settings).unwrap_or_default();
        let given =
            merged.data().ok().and_then(|by_profile| by_profile.into_values().next()).unwrap_or_default();
        let mut values = Vec::new();
        visit_leaves(&shown, &mut Vec::new(), &mut |path, value| {
            let value = match value {
                Value::String(text) => redactor.text(text).into(),
                other => other.clone(),
            };
            let key: Vec<String> = path.iter().map(|name| quoted(name)).collect();
            values.push(ResolvedValue {
                key: key.join("."),
                path: path.to_vec(),
                value,
                origin: origin(&given, path, merged, layers),
            });
        });
        Self { settings, base, files, refused: Vec::new(), values }
    }

    /// Every setting, in the order of the documentation.
    pub fn values(&self) -> &[ResolvedValue] {
        &self.values
    }

    /// The setting with that dotted path.
    pub fn value(&self, key: &str) -> Option<&ResolvedValue> {
        self.values.iter().find(|value| value.key == key)
    }

    /// As JSON: `{profile, extends, files, refused: [{what, why}], settings: {KEY: {value, origin}}}`.
    pub fn to_json(&self) -> Value {
        let settings: Map<String, Value> = self
            .values
            .iter()
            .map(|value| {
                (value.key.clone(), json!({ "value": value.value, "origin": value.origin.to_string() }))
            })
            .collect();
        json!({
            "profile": self.settings.profile,
            "extends": self.base,
            "files": self.files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>(),
            "refused": self
                .refused
                .iter()
                .map(|refusal| json!({ "what": refusal.what, "why": refusal.why }))
                .collect::<Vec<_>>(),
            "settings": settings,
        })
    }
}

impl fmt::Display for Resolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<[String; 3]> = self
            .values
            .iter()
            .map(|value| [value.key.clone(), shown(&value.value), value.origin.to_string()])
            .map(|row| row.map(|cell| printable(&cell).into_owned()))
            .collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let (keys, values) = (width(0), width(1).min(MAX_VALUE_WIDTH));
        for [key, value, origin] in &rows {
            writeln!(f, "{key:<keys$}  {value:<values$}  {origin}")?;
        }
        Ok(())
    }
}

/// Longer values shift their origin instead of widening the table.
const MAX_VALUE_WIDTH: usize = 40;

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The origin of a value, from the layer tag that values keep when layers are merged.
fn origin(given: &Dict, path: &[String], merged: &Figment, layers: &[Layer]) -> Origin {
    let found = path.split_first().and_then(|(first, rest)| {
        rest.iter().try_fold(given.get(first)?, |value, name| value.as_dict()?.get(name))
    });
    let name =
        // Figment tags each merged value with its layer, so no second merge is needed to find it.
        found.and_then(|value| merged.get_metadata(value.tag())).map(|metadata| metadata.name.as_ref());
    match layers.iter().find(|layer| Some(layer.name.as_str()) == name) {
        Some(layer) => layer.origin(&path.join(".")),
        // A value that no layer has is optional, and not set.
        None => Origin::new("not set"),
    }
}

/// A name with dots in TOML notation.
fn quoted(name: &str) -> String {
    if name.contains('.') { format!("{name:?}") } else { name.to_owned() }
}

fn visit_leaves<'a>(value: &'a Value, path: &mut Vec<String>, visit: &mut impl FnMut(&[String], &'a Value)) {
    match value.as_object() {
        Some(entries) => {
            for (key, value) in entries {
                path.push(key.clone());
                visit_leaves(value, path, visit);
                path.pop();
            }
        }
        None => visit(path, value),
    }
}
