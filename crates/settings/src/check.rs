//! Checks that every key of a layer is a setting with a valid value.

use std::collections::BTreeSet;

use figment::value::{Dict, Value};

use crate::{
    catalog::{EXTENDS, PROFILE, PROFILES, SETTINGS},
    layer::Layer,
    origin::Origin,
    setting::{Setting, SettingKind},
    settings_error::SettingsError,
};

/// Rejects unknown keys and invalid values, with their origin. `profile` is the table that contains the values, if they belong to a
/// profile.
pub(crate) fn check(
    layer: &Layer,
    values: &Dict,
    path: &mut Vec<String>,
    profile: Option<&str>,
) -> Result<(), SettingsError> {
    for (name, value) in values {
        // A column may have any name, as a query gives it.
        let is_column = path.len() == 3 && path[0] == "outputs" && path[2] == "columns";
        if name.trim().is_empty() && !path.is_empty() && !is_column {
            let table = path.join(".");
            let shown = profile.map_or_else(|| table.clone(), |profile| format!("{profile}.{table}"));
            return Err(SettingsError::no_name(shown, layer.origin(&format!("{table}.{name}"))));
        }
        path.push(name.clone());
        let key = path.join(".");
        let shown = profile.map_or_else(|| key.clone(), |table| format!("{table}.{key}"));
        let is_known = SETTINGS.iter().any(|setting| setting.has_prefix(path));
        let found = Setting::find(path).filter(|setting| setting.kind != SettingKind::Rows);
        if let Some((setting, written)) = found.zip(layer.point_in_time(&key)) {
            return Err(SettingsError::point_in_time(shown, setting.kind, written, layer.origin(&key)));
        }
        match (Setting::find(path), value) {
            _ if !is_known || (profile.is_some() && key == PROFILE) => {
                return Err(unknown(shown, path, profile, layer.origin(&key)));
            }
            (Some(setting), value) if setting.kind.accepts(value) => {}
            (Some(setting), value) => {
                return Err(SettingsError::value(shown, setting.kind, value, layer.origin(&key)));
            }
            (None, Value::Dict(_, inner)) => check(layer, inner, path, profile)?,
            (None, other) => return Err(SettingsError::no_table(shown, other, layer.origin(&key))),
        }
        path.pop();
    }
    Ok(())
}

/// The error for an unknown key, with a suggestion.
fn unknown(shown: String, path: &[String], profile: Option<&str>, origin: Origin) -> SettingsError {
    let (_, table) = path.split_last().unwrap_or((&shown, &[]));
    let (more, not_here) = match profile {
        Some(_) => (EXTENDS, PROFILE),
        None => (PROFILES, ""),
    };
    let names_of = |table: &[String]| {
        let more = Some(more).filter(|_| table.is_empty());
        let names = Setting::names_in(table).into_iter().chain(more).filter(|name| *name != not_here);
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    let keys = SETTINGS.iter().filter_map(|setting| setting.key_in(table));
    let mut known: BTreeSet<String> = keys.chain(names_of(&[])).collect();
    // It is spelled correctly but in the wrong place, so there is no suggestion.
    if path == [not_here] {
        known.clear();
    }
    SettingsError::unknown(shown, known, names_of(table), origin)
}
