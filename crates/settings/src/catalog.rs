//! The table of all settings, and looking up a setting in it.

use figment::value::{Dict, Value};

use crate::{setting::Setting, settings::Settings};

/// The table in a file for custom profiles.
pub(crate) const PROFILES: &str = "profiles";
/// The key for the built-in profile on which a custom profile is based.
pub(crate) const EXTENDS: &str = "extends";
/// The setting that selects the profile.
pub(crate) const PROFILE: &str = "profile";
/// The setting for trusted servers, which a project's file must not set.
pub(crate) const TRUSTED_SERVERS: &str = "tracker.trusted_servers";
/// The setting for the folders of trusted projects.
pub(crate) const TRUSTED_FOLDERS: &str = "trusted_folders";
pub(crate) const TRUSTED_FOLDERS_VARIABLE: &str = "DAGLIGHT_TRUSTED_FOLDERS";

/// Every setting, in the order of the documentation. The `HAMILTON_*` variables are those of the Python SDK. The `OTEL_*` variables
/// of the OpenTelemetry specification are read by `daglight-otel-bridge`.
pub const SETTINGS: &[Setting] = Settings::ROWS;

impl Setting {
    /// The setting with that path.
    pub(crate) fn find(path: &[String]) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.has_prefix(path) && setting.parts().count() == path.len())
    }

    /// Whether the path is that of this setting, or of one of its parents.
    pub(crate) fn has_prefix(&self, path: &[String]) -> bool {
        let mut parts = self.parts();
        path.iter().all(|name| parts.next().is_some_and(|part| part == "*" || part == name))
    }

    /// The key relative to `table`, or the part of it above user-chosen names. `None` if the setting is not in that table, or if
    /// the table itself has user-chosen names.
    pub(crate) fn key_in(&self, table: &[String]) -> Option<String> {
        let names = table.iter().map(String::as_str);
        match self.key.rsplit_once('.') {
            Some((_, last))
                if last != "*" && self.has_prefix(table) && self.parts().count() == table.len() + 1 =>
            {
                Some(names.chain([last]).collect::<Vec<_>>().join("."))
            }
            _ => (!self.key.contains('*')).then(|| self.key.to_owned()),
        }
    }

    /// The names that a table may contain, in the order of the documentation.
    pub(crate) fn names_in(table: &[String]) -> Vec<&'static str> {
        let mut names = Vec::new();
        for setting in SETTINGS.iter().filter(|setting| setting.has_prefix(table)) {
            if let Some(name) = setting.parts().nth(table.len()).filter(|name| !names.contains(name)) {
                names.push(name);
            }
        }
        names
    }

    fn parts(&self) -> impl Iterator<Item = &'static str> {
        self.key.split('.')
    }
}

/// The value of a dotted key in a table.
pub(crate) fn find<'a>(table: &'a Dict, key: &str) -> Option<&'a Value> {
    let mut parts = key.split('.');
    let first = table.get(parts.next()?)?;
    parts.try_fold(first, |value, part| value.as_dict()?.get(part))
}

/// Inserts a value into a table, under a dotted key.
pub(crate) fn insert(table: &mut Dict, key: &str, value: Value) {
    let Some((section, rest)) = key.split_once('.') else {
        table.insert(key.to_owned(), value);
        return;
    };
    let mut inner = match table.remove(section) {
        Some(Value::Dict(_, inner)) => inner,
        _ => Dict::new(),
    };
    insert(&mut inner, rest, value);
    table.insert(section.to_owned(), inner.into());
}
