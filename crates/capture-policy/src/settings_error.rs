//! What is wrong with a configuration.

use std::{io, path::PathBuf};

use figment::value::Value;

use crate::{Origin, Profile, REDACTED, Redactor, SETTINGS, SettingKind};

/// The errors of resolving the settings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// A value that its setting cannot have.
    #[error("setting {setting}: expected {expected}, found {found} ({origin})")]
    Value {
        /// The setting's dotted path.
        setting: String,
        /// The value. That of a credential is not shown.
        found: String,
        /// What is allowed.
        expected: String,
        /// Where the value came from.
        origin: Origin,
    },
    /// A key that is no setting.
    #[error("unknown setting {setting:?} ({origin}){}", did_you_mean(nearest.as_deref()))]
    Unknown {
        /// The key as it was written.
        setting: String,
        /// The known key that is spelled most alike.
        nearest: Option<String>,
        /// Where the key came from.
        origin: Origin,
    },
    /// An environment variable of ours that gives no setting.
    #[error("environment variable {name} gives no setting{}", did_you_mean(Some(nearest)))]
    UnknownVariable {
        /// The variable's name.
        name: String,
        /// The variable that is spelled most alike.
        nearest: &'static str,
    },
    /// A profile that there is not.
    #[error("unknown profile {name:?} ({origin}): expected {}", any_of(known))]
    UnknownProfile {
        /// The name.
        name: String,
        /// Every profile, built in or of a file.
        known: Vec<String>,
        /// Where the name came from.
        origin: Origin,
    },
    /// A profile of a file that has the name of a built-in one.
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
    /// A file that is no TOML.
    #[error("{origin}: {problem}")]
    Syntax {
        /// The file and line.
        origin: Origin,
        /// What is wrong.
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
    /// Settings of the right types that do not fit together.
    #[error("the settings do not fit together")]
    Merge {
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl SettingsError {
    pub(crate) fn value(setting: String, kind: SettingKind, found: &Value, origin: Origin) -> Self {
        let found = match (kind, found) {
            (SettingKind::Secret, _) => "a value that is not shown".to_owned(),
            (SettingKind::Url, Value::String(_, text)) if text.contains('@') => {
                format!("{REDACTED}@{}", text.rsplit('@').next().unwrap_or_default())
            }
            (_, Value::String(_, text)) => format!("{:?}", Redactor::default().text(text)),
            (_, found) => describe(found),
        };
        Self::Value { setting, found, expected: kind.to_string(), origin }
    }

    pub(crate) fn no_table(setting: String, found: &Value, origin: Origin) -> Self {
        Self::Value { setting, found: describe(found), expected: "a table of settings".to_owned(), origin }
    }

    /// `known` are the keys among which the nearest is looked for.
    pub(crate) fn unknown<'a>(
        setting: String,
        known: impl IntoIterator<Item = &'a str>,
        origin: Origin,
    ) -> Self {
        let last = |key: &str| key.rsplit('.').next().map(str::to_owned).unwrap_or_default();
        let likeness = |key: &str| {
            let whole = strsim::jaro_winkler(&setting, key);
            whole.max(strsim::jaro_winkler(&last(&setting), &last(key)))
        };
        let nearest = known
            .into_iter()
            .filter(|key| !key.contains('*'))
            .map(|key| (likeness(key), key))
            .filter(|(likeness, _)| *likeness > 0.75)
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, key)| key.to_owned());
        Self::Unknown { setting, nearest, origin }
    }

    /// The error of a variable that starts as ours do and is nearly one of them.
    pub(crate) fn misspelled_variable(name: &str) -> Option<Self> {
        if !name.starts_with("DAGLIGHT_") {
            return None;
        }
        SETTINGS
            .iter()
            .filter_map(|setting| setting.variable)
            .filter(|known| strsim::osa_distance(name, known) <= 2)
            .min_by_key(|known| strsim::osa_distance(name, known))
            .map(|nearest| Self::UnknownVariable { name: name.to_owned(), nearest })
    }
}

fn describe(value: &Value) -> String {
    match value {
        Value::String(_, text) => format!("{text:?}"),
        Value::Char(_, c) => format!("{c:?}"),
        Value::Bool(_, flag) => flag.to_string(),
        Value::Num(_, number) => {
            number.to_actual().to_string().split('`').nth(1).unwrap_or("a number").to_owned()
        }
        Value::Dict(..) => "a table".to_owned(),
        Value::Array(..) => "a list".to_owned(),
        Value::Empty(..) => "nothing".to_owned(),
    }
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map(|name| format!(": did you mean {name}?")).unwrap_or_default()
}

fn any_of(names: &[String]) -> String {
    match names.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => names.join(""),
    }
}
