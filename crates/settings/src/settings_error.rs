//! Errors in a configuration.

use std::{
    io,
    path::{Path, PathBuf},
};

use daglight_capture_policy::{MAX_EDITS, Profile, REDACTED, nearest_name, without_credentials};
use figment::value::Value;

use crate::{
    catalog::{PROFILE, SETTINGS},
    disclosure::{Disclosure, is_numeric},
    origin::Origin,
    setting::{Setting, SettingKind, byte_size},
};

/// The errors of resolving the settings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// A value that is invalid for its setting.
    // Only the origin follows the name: a credential's name with a colon after it would hide the following text.
    #[error("setting {setting} ({origin}): expected {expected}, found {found}")]
    Value {
        /// The setting's dotted path.
        setting: String,
        /// The value, if it may be repeated. The value of a credential is not shown.
        found: String,
        /// What is allowed.
        expected: String,
        /// Where the value came from.
        origin: Origin,
    },
    /// An unknown key.
    #[error("unknown setting {setting:?} ({origin}): {}", hint(nearest.as_deref(), allowed))]
    Unknown {
        /// The key as written.
        setting: String,
        /// The known key with the most similar spelling.
        nearest: Option<String>,
        /// The names that are allowed in its place.
        allowed: Vec<String>,
        /// Where the key came from.
        origin: Origin,
    },
    /// A variable with one of our prefixes that is not a setting.
    #[error("unknown environment variable {name}: did you mean {nearest}?")]
    UnknownVariable {
        /// The variable's name.
        name: String,
        /// The variable with the most similar spelling.
        nearest: &'static str,
    },
    /// A profile that does not exist.
    #[error("unknown profile{} ({origin}): expected {}", behind_blank(name.as_deref()), any_of(known))]
    UnknownProfile {
        /// The name, if it may be repeated.
        name: Option<String>,
        /// All profiles, built-in or from files.
        known: Vec<String>,
        /// Where the name came from.
        origin: Origin,
    },
    /// A profile in a file with the name of a built-in one.
    #[error(
        "profile {profile} is built in ({origin}): override single settings, or extend it under another name, as in \
         [profiles.my_{profile}] with extends = \"{profile}\""
    )]
    BuiltInProfile {
        /// The built-in profile.
        profile: Profile,
        /// Where it was written.
        origin: Origin,
    },
    /// A setting in a project's file that would affect whether the project is trusted.
    #[error(
        "setting {setting} ({origin}): a project cannot say whom to trust; expected it in the user's own daglight.toml \
         or in {variable}"
    )]
    NotForProjects {
        /// The setting's dotted path.
        setting: &'static str,
        /// The variable that sets it.
        variable: &'static str,
        /// Where it was written.
        origin: Origin,
    },
    /// A value given in code that no setting can represent, such as a path that is not valid UTF-8.
    #[error("setting {setting} ({origin}): the value cannot be used")]
    Unusable {
        /// The setting's dotted path.
        setting: String,
        /// The source of the value.
        origin: Origin,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file that is not TOML.
    #[error("{origin}: {problem}")]
    Syntax {
        /// The file and line.
        origin: Origin,
        /// The problem.
        problem: String,
    },
    /// A file that cannot be read.
    #[error("cannot read the configuration file {}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Settings with valid types that are inconsistent.
    #[error("the settings do not fit together")]
    Merge {
        /// The cause, if it may be repeated.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

/// Replaces a value in errors.
const NOT_SHOWN: &str = "a value that is not shown";

impl SettingsError {
    /// The invalid configuration file, and the line in it, if known.
    pub fn file(&self) -> Option<(&Path, Option<usize>)> {
        match self {
            Self::Value { origin, .. }
            | Self::Unknown { origin, .. }
            | Self::UnknownProfile { origin, .. }
            | Self::BuiltInProfile { origin, .. }
            | Self::NotForProjects { origin, .. }
            | Self::Unusable { origin, .. }
            | Self::Syntax { origin, .. } => origin.file(),
            Self::Unreadable { file, .. } => Some((file, None)),
            Self::UnknownVariable { .. } | Self::Merge { .. } => None,
        }
    }

    /// The error without the values that must not be repeated.
    pub(crate) fn disclosed(self, disclosure: Disclosure) -> Self {
        match self {
            Self::Value { setting, found, expected, origin }
                if !disclosure.shows(&setting) && !is_number(&setting, &found) =>
            {
                Self::Value { setting, found: NOT_SHOWN.to_owned(), expected, origin }
            }
            Self::UnknownProfile { known, origin, .. } if !disclosure.shows(PROFILE) => {
                Self::UnknownProfile { name: None, known, origin }
            }
            Self::Merge { .. } if disclosure != Disclosure::Values => Self::Merge { source: None },
            other => other,
        }
    }

    pub(crate) fn value(setting: String, kind: SettingKind, found: &Value, origin: Origin) -> Self {
        let found = match (kind, found) {
            // Invalid UTF-8 in a variable was replaced when it was read.
            (SettingKind::Secret, Value::String(_, text)) if text.contains(char::REPLACEMENT_CHARACTER) => {
                "a value that is not valid UTF-8, and is not shown".to_owned()
            }
            (_, Value::String(_, text)) if text.contains(char::REPLACEMENT_CHARACTER) => {
                format!("{:?}, which is not valid UTF-8", without_credentials(text))
            }
            (SettingKind::Secret, _) => NOT_SHOWN.to_owned(),
            (SettingKind::Url | SettingKind::PlainUrl, Value::String(_, text)) if text.contains('@') => {
                format!("{REDACTED}@{}", text.rsplit('@').next().unwrap_or_default())
            }
            (_, Value::String(_, text)) => format!("{:?}", without_credentials(text)),
            (_, Value::Array(_, items)) => match items.iter().find(|item| !kind.accepts_item(item)) {
                Some(item) => format!("a list with {} in it", describe(item)),
                None => describe(found),
            },
            (_, found) => describe(found),
        };
        Self::Value { setting, found, expected: kind.to_string(), origin }
    }

    /// The error for a value of a table that has an empty name.
    pub(crate) fn no_name(table: String, origin: Origin) -> Self {
        let (found, expected) = ("an empty name".to_owned(), "a name for each value".to_owned());
        Self::Value { setting: table, found, expected, origin }
    }

    /// The error for a parameter table without parameters.
    pub(crate) fn no_parameters(table: String, origin: Origin) -> Self {
        let (found, expected) = ("neither".to_owned(), "either `rows` or a `file`".to_owned());
        Self::Value { setting: table, found, expected, origin }
    }

    /// The error for a date or a time in a file, of which no setting consists: `found` is as it is written.
    pub(crate) fn point_in_time(setting: String, kind: SettingKind, found: &str, origin: Origin) -> Self {
        let found = match kind {
            SettingKind::Secret => NOT_SHOWN.to_owned(),
            SettingKind::Text | SettingKind::Namespace => {
                format!("the date or time {found}, which is a text only in quotes")
            }
            _ => format!("the date or time {found}"),
        };
        Self::Value { setting, found, expected: kind.to_string(), origin }
    }

    pub(crate) fn no_table(setting: String, found: &Value, origin: Origin) -> Self {
        Self::Value { setting, found: describe(found), expected: "a table of settings".to_owned(), origin }
    }

    /// `known` are the keys among which the most similar one is searched for.
    pub(crate) fn unknown(
        setting: String,
        known: impl IntoIterator<Item = String>,
        allowed: Vec<String>,
        origin: Origin,
    ) -> Self {
        let last = |key: &str| key.rsplit('.').next().map(str::to_owned).unwrap_or_default();
        let likeness = |key: &str| {
            let whole = if setting.contains('.') { 0.0 } else { strsim::jaro_winkler(&setting, key) };
            whole.max(strsim::jaro_winkler(&last(&setting), &last(key)))
        };
        let nearest = known
            .into_iter()
            .map(|key| (likeness(&key), key))
            .filter(|(likeness, _)| *likeness > 0.75)
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, key)| key);
        Self::Unknown { setting, nearest, allowed, origin }
    }

    /// The error for a misspelled variable of ours, or for a setting's variable with a wrong prefix.
    pub(crate) fn misspelled_variable(name: &str) -> Option<Self> {
        let (own, max_edits) = match (name.strip_prefix("DAGLIGHT_"), name.starts_with("HAMILTON_")) {
            (Some(own), _) => (own, MAX_EDITS),
            // Hamilton has other variables than these.
            (None, true) => (name, 1),
            (None, false) => return None,
        };
        let is_named_so = |setting: &&Setting| {
            let key = setting.key.replace('.', "_").to_ascii_uppercase();
            key == own || key.strip_suffix(own).is_some_and(|section| section.ends_with('_'))
        };
        let variables = SETTINGS.iter().filter_map(|setting| setting.variable);
        let nearest = nearest_name(name, variables, max_edits)
            .or_else(|| SETTINGS.iter().find(is_named_so)?.variable)?;
        Some(Self::UnknownVariable { name: name.to_owned(), nearest })
    }
}

/// Whether a setting that is a number was given a number, which is never a text from elsewhere.
fn is_number(setting: &str, found: &str) -> bool {
    const MOST_DIGITS: usize = 24;
    let found = found.trim_matches('"');
    is_numeric(setting)
        && found.len() <= MOST_DIGITS
        && (found.parse::<f64>().is_ok() || byte_size(found).is_some())
}

fn describe(value: &Value) -> String {
    match value {
        Value::String(_, text) => format!("{text:?}"),
        Value::Char(_, c) => format!("{c:?}"),
        Value::Bool(_, flag) => flag.to_string(),
        Value::Num(_, number) => match number.to_f64() {
            Some(float) => format!("{float:?}"),
            None => number.to_actual().to_string().split('`').nth(1).unwrap_or("a number").to_owned(),
        },
        Value::Dict(..) => "a table".to_owned(),
        Value::Array(..) => "a list".to_owned(),
        Value::Empty(..) => "nothing".to_owned(),
    }
}

fn behind_blank(name: Option<&str>) -> String {
    name.map_or_else(String::new, |name| format!(" {name:?}"))
}

fn hint(nearest: Option<&str>, allowed: &[String]) -> String {
    match nearest {
        Some(name) => format!("did you mean {name}?"),
        None => format!("expected {}", any_of(allowed)),
    }
}

fn any_of(names: &[String]) -> String {
    match names.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => names.join(""),
    }
}
