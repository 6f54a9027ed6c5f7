//! One layer of the configuration: a file, a variable, or a value given in code.

use std::{
    collections::BTreeMap,
    env, fmt, fs,
    path::{Path, PathBuf},
};

use figment::{
    Error, Metadata, Profile as FigmentProfile, Provider,
    value::{Dict, Map, Value},
};
use toml::de::{DeTable, DeValue};

use crate::{SETTINGS, Setting, SettingsError, catalog::insert};

/// The name of the configuration file.
const FILE_NAME: &str = "daglight.toml";
/// The configuration file of Hamilton's Python SDK, in the home folder, where no variable names another one.
const SDK_FILE_NAME: &str = ".hamilton.conf";
const SDK_FILE_VARIABLE: &str = "HAMILTON_CONFIG_URI";
const SDK_SECTION: &str = "SDK_CONSTANTS";

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin(pub(crate) String);

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Values from one place.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    /// What the place is called.
    pub(crate) name: String,
    pub(crate) values: Dict,
    /// The lines of a file in which its keys are, by dotted path.
    lines: BTreeMap<String, usize>,
}

impl Layer {
    pub(crate) fn new(name: impl Into<String>, values: Dict) -> Self {
        Self { name: name.into(), values, lines: BTreeMap::new() }
    }

    /// The layer of one value given in code.
    pub(crate) fn of_value(origin: &str, key: &str, value: Value) -> Self {
        let mut layer = Self::new(origin, Dict::new());
        insert(&mut layer.values, key, value);
        layer
    }

    /// The layer of a variable, if it is one that gives a setting.
    pub(crate) fn of_variable(name: &str, text: &str) -> Result<Option<Self>, SettingsError> {
        let Some(setting) = SETTINGS.iter().find(|setting| setting.variable == Some(name)) else {
            return match SettingsError::misspelled_variable(name) {
                Some(error) => Err(error),
                None => Ok(None),
            };
        };
        let origin = format!("environment variable {name}");
        let value = read(setting, text, || Origin(origin.clone()))?;
        Ok(Some(Self::of_value(&origin, setting.key, value)))
    }

    /// The layer of a `daglight.toml`.
    pub(crate) fn of_file(path: &Path) -> Result<Self, SettingsError> {
        let text = read_file(path)?;
        let syntax = |error: toml::de::Error| SettingsError::Syntax {
            origin: Origin(match error.span() {
                Some(span) => format!("{}:{}", path.display(), line_of(&text, span.start)),
                None => path.display().to_string(),
            }),
            problem: error.message().to_owned(),
        };
        let table = DeTable::parse(&text).map_err(syntax)?;
        let mut lines = BTreeMap::new();
        let values = read_table(&text, table.get_ref(), "", &mut lines);
        Ok(Self { name: path.display().to_string(), values, lines })
    }

    /// The layer of a configuration file of the Python SDK: those of its constants that are settings here.
    pub(crate) fn of_sdk_file(path: &Path) -> Result<Self, SettingsError> {
        let text = read_file(path)?;
        let mut layer = Self::new(path.display().to_string(), Dict::new());
        let mut section = "";
        for (index, line) in text.lines().map(str::trim).enumerate() {
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                section = name;
            }
            let Some((name, value)) = line.split_once(['=', ':']) else { continue };
            if section != SDK_SECTION || line.starts_with(['#', ';']) {
                continue;
            }
            let variable = format!("HAMILTON_{}", name.trim().to_uppercase());
            let Some(setting) = SETTINGS.iter().find(|setting| setting.variable == Some(variable.as_str()))
            else {
                continue;
            };
            layer.lines.insert(setting.key.to_owned(), index + 1);
            let value = read(setting, value, || layer.origin(setting.key))?;
            insert(&mut layer.values, setting.key, value);
        }
        Ok(layer)
    }

    /// The part of this layer below `path`, as a layer called `name`.
    pub(crate) fn below(&self, path: &str, values: Dict, name: String) -> Self {
        let prefix = format!("{path}.");
        let lines = self.lines.iter();
        let lines = lines.filter_map(|(key, line)| Some((key.strip_prefix(&prefix)?.to_owned(), *line)));
        Self { name, values, lines: lines.collect() }
    }

    /// Where in this layer the value of a key is.
    pub(crate) fn origin(&self, key: &str) -> Origin {
        Origin(match self.lines.get(key) {
            Some(line) => format!("{}:{line}", self.name),
            None => self.name.clone(),
        })
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<FigmentProfile, Dict>, Error> {
        Ok(FigmentProfile::Default.collect(self.values.clone()))
    }
}

/// The configuration files for a working directory and environment, those that win last.
pub(crate) fn find_files(
    directory: Option<&Path>,
    variables: &BTreeMap<String, String>,
) -> Result<Vec<Layer>, SettingsError> {
    let folder = |name: &str| variables.get(name).map(PathBuf::from);
    let home = folder("HOME").or_else(|| folder("USERPROFILE"));
    let mut layers = Vec::new();
    let named = variables.get(SDK_FILE_VARIABLE).map(|named| match (named.strip_prefix("~/"), &home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(named),
    });
    let usual = || home.as_ref().map(|home| home.join(SDK_FILE_NAME)).filter(|file| file.is_file());
    let sdk_file = named.or_else(usual);
    layers.extend(sdk_file.map(|file| Layer::of_sdk_file(&file)).transpose()?);

    let config_dir = folder("XDG_CONFIG_HOME")
        .filter(|dir| dir.is_absolute())
        .or_else(|| folder("APPDATA"))
        .or_else(|| home.map(|home| home.join(".config")));
    let of_user = config_dir.map(|dir| dir.join("daglight").join(FILE_NAME)).filter(|file| file.is_file());
    let upward = directory.into_iter().flat_map(Path::ancestors).map(|dir| dir.join(FILE_NAME));
    let of_project =
        upward.into_iter().find(|file| file.is_file()).filter(|file| Some(file) != of_user.as_ref());
    for file in of_user.iter().chain(&of_project) {
        layers.push(Layer::of_file(file)?);
    }
    Ok(layers)
}

/// The variables of this process. What is no text in them is a replacement character, which no setting takes.
pub(crate) fn process_variables() -> impl Iterator<Item = (String, String)> {
    env::vars_os().map(|(name, text)| (name.to_string_lossy().into(), text.to_string_lossy().into()))
}

fn read(setting: &Setting, text: &str, origin: impl FnOnce() -> Origin) -> Result<Value, SettingsError> {
    setting.kind.parse(text).ok_or_else(|| {
        SettingsError::value(setting.key.to_owned(), setting.kind, &Value::from(text.trim()), origin())
    })
}

fn read_file(path: &Path) -> Result<String, SettingsError> {
    fs::read_to_string(path)
        .map_err(|error| SettingsError::Unreadable { file: path.to_owned(), source: error })
}

/// The values of a table, and into `lines` where its keys are.
fn read_table(text: &str, table: &DeTable<'_>, path: &str, lines: &mut BTreeMap<String, usize>) -> Dict {
    let mut values = Dict::new();
    for (key, value) in table {
        let name = key.get_ref().to_string();
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        values.insert(name, read_value(text, value.get_ref(), &path, lines));
        lines.insert(path, line_of(text, key.span().start));
    }
    values
}

fn read_value(text: &str, value: &DeValue<'_>, path: &str, lines: &mut BTreeMap<String, usize>) -> Value {
    match value {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Boolean(flag) => Value::from(*flag),
        DeValue::Integer(digits) => match i64::from_str_radix(digits.as_str(), digits.radix()) {
            Ok(number) => Value::from(number),
            Err(_) => Value::from(digits.as_str()),
        },
        DeValue::Float(digits) => {
            digits.as_str().parse::<f64>().map_or_else(|_| digits.as_str().into(), Value::from)
        }
        // A point in time is a text for whoever reads it.
        DeValue::Datetime(time) => Value::from(time.to_string()),
        DeValue::Array(items) => {
            let items = items.iter().map(|item| read_value(text, item.get_ref(), path, lines));
            Value::from(items.collect::<Vec<_>>())
        }
        DeValue::Table(table) => Value::from(read_table(text, table, path, lines)),
    }
}

fn line_of(text: &str, byte: usize) -> usize {
    text.as_bytes()[..byte.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
}
