//! One layer of the configuration: a file, a variable, or a value given in code.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use daglight_guarded_files::read_named_text;
use figment::{
    Error, Metadata, Profile as FigmentProfile, Provider,
    value::{Dict, Map, Value},
};
use toml::de::{DeTable, DeValue};

use crate::{
    catalog::{SETTINGS, find, insert},
    origin::Origin,
    setting::Setting,
    settings_error::SettingsError,
};

/// The section in a file of the Python SDK with the server and the user.
const SDK_SECTION: &str = "SDK_CONSTANTS";

/// The maximum size of a configuration file, 1 MiB: thousands of settings.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Values from one source.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    /// The name of the source.
    pub(crate) name: String,
    pub(crate) values: Dict,
    /// The file that contains it, if any.
    file: Option<PathBuf>,
    /// Whether it comes from a file of the project, which someone else may have written.
    pub(crate) is_project: bool,
    /// The line numbers of its keys, by dotted path.
    lines: BTreeMap<String, usize>,
    /// The dates and times in the file, by dotted path. As values they are texts.
    points_in_time: BTreeMap<String, String>,
    /// The keys of the tables in a list, by the dotted path of the list, in their original order.
    columns: BTreeMap<String, Vec<String>>,
}

impl Layer {
    pub(crate) fn new(name: impl Into<String>, values: Dict) -> Self {
        Self {
            name: name.into(),
            values,
            file: None,
            is_project: false,
            lines: BTreeMap::new(),
            points_in_time: BTreeMap::new(),
            columns: BTreeMap::new(),
        }
    }

    /// A layer for a file, without values yet.
    pub(crate) fn in_file(path: &Path, is_project: bool) -> Self {
        let layer = Self::new(path.display().to_string(), Dict::new());
        Self { file: Some(path.to_owned()), is_project, ..layer }
    }

    /// The same layer, marked as a file that someone else may have written.
    pub(crate) fn of_project(self) -> Self {
        Self { is_project: true, ..self }
    }

    /// Sets the line of a key in the file.
    pub(crate) fn at_line(&mut self, key: &str, line: Option<usize>) {
        self.lines.extend(line.map(|line| (key.to_owned(), line)));
    }

    /// The layer for a single value given in code.
    pub(crate) fn of_value(origin: &str, key: &str, value: Value) -> Self {
        let mut layer = Self::new(origin, Dict::new());
        insert(&mut layer.values, key, value);
        layer
    }

    /// The layer for a variable, if it sets a setting.
    pub(crate) fn of_variable(name: &str, text: &str) -> Result<Option<Self>, SettingsError> {
        let Some(setting) = SETTINGS.iter().find(|setting| setting.variable == Some(name)) else {
            // An error instead of a warning: if `DAGLIGHT_PROFIL=prod` were ignored, the run would use the rules of `dev` and show
            // what must not be shown.
            return match SettingsError::misspelled_variable(name) {
                Some(error) => Err(error),
                None => Ok(None),
            };
        };
        let origin = format!("environment variable {name}");
        let value = read(setting, text, || Origin::new(origin.clone()))?;
        Ok(Some(Self::of_value(&origin, setting.key, value)))
    }

    /// The layer for a `daglight.toml`.
    pub(crate) fn of_file(path: &Path) -> Result<Self, SettingsError> {
        let text = read_file(path)?;
        let syntax = |error: toml::de::Error| SettingsError::Syntax {
            origin: Origin::in_file(path, error.span().map(|span| LineStarts::of(&text).line_of(span.start))),
            problem: error.message().to_owned(),
        };
        // Not with Figment's TOML provider, which does not keep line numbers.
        let table = DeTable::parse(&text).map_err(syntax)?;
        let (mut keys, mut columns) = (Keys::default(), BTreeMap::new());
        let values = read_table(&LineStarts::of(&text), table.get_ref(), "", &mut keys);
        read_columns(table.get_ref(), "", &mut columns);
        Ok(Self {
            name: path.display().to_string(),
            values,
            file: Some(path.to_owned()),
            is_project: false,
            lines: keys.lines,
            points_in_time: keys.points_in_time,
            columns,
        })
    }

    /// The layer for a configuration file of the Python SDK: those of its constants that are settings here.
    pub(crate) fn of_sdk_file(path: &Path) -> Result<Self, SettingsError> {
        let text = read_file(path)?;
        let mut layer = Self::new(path.display().to_string(), Dict::new());
        layer.file = Some(path.to_owned());
        let mut section = "";
        for (index, line) in text.lines().map(str::trim).enumerate() {
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                section = name;
            }
            let Some((name, value)) = line.split_once(['=', ':']) else { continue };
            // The file belongs to Hamilton's SDK, and other sections configure other parts of it; only this one has the server and
            // the user.
            if section != SDK_SECTION || line.starts_with(['#', ';']) {
                continue;
            }
            let variable = format!("HAMILTON_{}", name.trim().to_uppercase());
            let Some(setting) = SETTINGS.iter().find(|setting| setting.variable == Some(variable.as_str()))
            else {
                continue;
            };
            // Before the value is parsed: an error in it refers to this line.
            layer.lines.insert(setting.key.to_owned(), index + 1);
            let value = read(setting, value, || layer.origin(setting.key))?;
            insert(&mut layer.values, setting.key, value);
        }
        Ok(layer)
    }

    /// The file that contains it, if any.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The part of this layer below `path`, as a layer with the given name.
    pub(crate) fn below(&self, path: &str, values: Dict, name: String) -> Self {
        let prefix = format!("{path}.");
        Self {
            name,
            values,
            file: self.file.clone(),
            is_project: self.is_project,
            lines: behind(&prefix, &self.lines),
            points_in_time: behind(&prefix, &self.points_in_time),
            columns: behind(&prefix, &self.columns),
        }
    }

    /// Converts texts for numeric settings, such as `512MB`, to numbers.
    pub(crate) fn with_numbers(mut self) -> Self {
        read_numbers(&mut self.values, &mut Vec::new());
        self
    }

    /// The value of a dotted key.
    pub(crate) fn value(&self, key: &str) -> Option<&Value> {
        find(&self.values, key)
    }

    /// The keys of the tables in a list, in their original order. Empty if it is not from a file.
    pub(crate) fn columns(&self, key: &str) -> &[String] {
        self.columns.get(key).map(Vec::as_slice).unwrap_or_default()
    }

    /// The value of a key as it is written in the file, if it is a date or a time.
    pub(crate) fn point_in_time(&self, key: &str) -> Option<&str> {
        self.points_in_time.get(key).map(String::as_str)
    }

    /// The origin of the value of a key in this layer.
    pub(crate) fn origin(&self, key: &str) -> Origin {
        let line = self.lines.get(key).copied();
        let text = line.map_or_else(|| self.name.clone(), |line| format!("{}:{line}", self.name));
        Origin::of_part(text, self.file.clone(), line)
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

/// The values of the keys that begin with a prefix, without it.
fn behind<T: Clone>(prefix: &str, values: &BTreeMap<String, T>) -> BTreeMap<String, T> {
    let values = values.iter();
    values.filter_map(|(key, value)| Some((key.strip_prefix(prefix)?.to_owned(), value.clone()))).collect()
}

fn read_numbers(values: &mut Dict, path: &mut Vec<String>) {
    for (name, value) in values {
        path.push(name.clone());
        match value {
            Value::Dict(_, inner) => read_numbers(inner, path),
            text => {
                let number = Setting::find(path).and_then(|setting| setting.kind.number_of(text));
                if let Some(number) = number {
                    *text = number;
                }
            }
        }
        path.pop();
    }
}

fn read(setting: &Setting, text: &str, origin: impl FnOnce() -> Origin) -> Result<Value, SettingsError> {
    setting.kind.parse(text).ok_or_else(|| {
        SettingsError::value(setting.key.to_owned(), setting.kind, &Value::from(text.trim()), origin())
    })
}

pub(crate) fn read_file(path: &Path) -> Result<String, SettingsError> {
    read_named_text(path, MAX_FILE_BYTES)
        .map_err(|error| SettingsError::Unreadable { file: path.to_owned(), source: error })
}

/// What a file says of its keys besides their values, by dotted path.
#[derive(Default)]
struct Keys {
    lines: BTreeMap<String, usize>,
    points_in_time: BTreeMap<String, String>,
}

/// Reads the values of a table, and what there is to say of its keys into `keys`.
fn read_table(text: &LineStarts, table: &DeTable<'_>, path: &str, keys: &mut Keys) -> Dict {
    let mut values = Dict::new();
    for (key, value) in table {
        let name = key.get_ref().to_string();
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        values.insert(name, read_value(text, value.get_ref(), &path, keys));
        // The line of the key instead of the value: a list may begin some lines below, and users look for problems at the key.
        keys.lines.insert(path, text.line_of(key.span().start));
    }
    values
}

/// Collects into `columns` the keys of the tables in each list, by its dotted path. A table itself does not keep the order.
fn read_columns(table: &DeTable<'_>, path: &str, columns: &mut BTreeMap<String, Vec<String>>) {
    for (key, value) in table {
        let name = key.get_ref();
        let path = if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
        match value.get_ref() {
            DeValue::Table(table) => read_columns(table, &path, columns),
            DeValue::Array(items) => {
                let rows = items.iter().filter_map(|item| item.get_ref().as_table());
                let mut keys: Vec<_> = rows.flat_map(|row| row.keys()).collect();
                keys.sort_by_key(|key| key.span().start);
                let mut seen = BTreeSet::new();
                let names = keys.into_iter().map(|key| key.get_ref().to_string());
                columns.insert(path, names.filter(|name| seen.insert(name.clone())).collect());
            }
            _ => {}
        }
    }
}

fn read_value(text: &LineStarts, value: &DeValue<'_>, path: &str, keys: &mut Keys) -> Value {
    match value {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Boolean(flag) => Value::from(*flag),
        DeValue::Integer(digits) => match i64::from_str_radix(digits.as_str(), digits.radix()) {
            Ok(number) => Value::from(number),
            // Too large for any setting. As a text it is rejected with its original digits in the error.
            Err(_) => Value::from(digits.as_str()),
        },
        DeValue::Float(digits) => {
            digits.as_str().parse::<f64>().map_or_else(|_| digits.as_str().into(), Value::from)
        }
        // The cells of a parameter table may be dates; a setting is never one.
        DeValue::Datetime(time) => {
            keys.points_in_time.insert(path.to_owned(), time.to_string());
            Value::from(time.to_string())
        }
        DeValue::Array(items) => {
            let items = items.iter().map(|item| read_value(text, item.get_ref(), path, keys));
            Value::from(items.collect::<Vec<_>>())
        }
        DeValue::Table(table) => Value::from(read_table(text, table, path, keys)),
    }
}

/// The start of each line, so that the line of a byte can be found without counting from the beginning.
struct LineStarts(Vec<usize>);

impl LineStarts {
    fn of(text: &str) -> Self {
        let feeds = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self(feeds.map(|(at, _)| at + 1).collect())
    }

    fn line_of(&self, byte: usize) -> usize {
        // A binary search instead of counting: a file may be 1 MiB, and the line of every key is needed.
        self.0.partition_point(|start| *start <= byte) + 1
    }
}
