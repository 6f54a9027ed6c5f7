//! The active profile, and custom profiles in files.

use std::{collections::BTreeMap, str::FromStr as _};

use daglight_capture_policy::Profile;
use figment::value::Value;

use crate::{
    catalog::{EXTENDS, PROFILE, PROFILES},
    check::check,
    layer::Layer,
    origin::Origin,
    project_servers::check_project,
    setting::SettingKind,
    settings_error::SettingsError,
};

/// A custom profile.
pub(crate) struct OwnProfile {
    base: Profile,
    /// The changes of each file to the base profile.
    layers: Vec<Layer>,
}

/// Takes the profiles out of the files. A profile that occurs in several files has the changes of all of them.
pub(crate) fn take_profiles(files: &mut [Layer]) -> Result<BTreeMap<String, OwnProfile>, SettingsError> {
    let mut profiles = BTreeMap::new();
    for file in files {
        let Some(tables) = file.values.remove(PROFILES) else { continue };
        let Value::Dict(_, tables) = tables else {
            return Err(SettingsError::no_table(PROFILES.to_owned(), &tables, file.origin(PROFILES)));
        };
        for (name, table) in tables {
            let path = format!("{PROFILES}.{name}");
            let origin = file.origin(&path);
            if let Ok(profile) = Profile::from_str(&name) {
                return Err(SettingsError::BuiltInProfile { profile, origin });
            }
            let Value::Dict(_, mut values) = table else {
                return Err(SettingsError::no_table(path, &table, origin));
            };
            let base = match values.remove(EXTENDS) {
                Some(base) => Some(base_profile(&base, &path, file)?),
                None => None,
            };
            let layer = file.below(&path, values, format!("profile {name} in {}", file.name)).with_numbers();
            check(&layer, &layer.values, &mut Vec::new(), Some(&path))?;
            check_project(&layer)?;
            let own = profiles.entry(name).or_insert(OwnProfile { base: Profile::Dev, layers: Vec::new() });
            // A custom profile can be spread over the files of the user and the project.
            own.layers.push(layer);
            match base {
                Some(base) => own.base = base,
                None if own.layers.len() > 1 => {}
                None => {
                    let missing = Value::from(figment::value::Empty::None);
                    return Err(extends_error(&missing, &path, origin));
                }
            }
        }
    }
    Ok(profiles)
}

fn base_profile(base: &Value, path: &str, file: &Layer) -> Result<Profile, SettingsError> {
    let known = base.as_str().and_then(|name| Profile::from_str(name).ok());
    known.ok_or_else(|| extends_error(base, path, file.origin(&format!("{path}.{EXTENDS}"))))
}

fn extends_error(found: &Value, path: &str, origin: Origin) -> SettingsError {
    SettingsError::value(
        format!("{path}.{EXTENDS}"),
        SettingKind::OneOf(&["dev", "ci", "prod"]),
        found,
        origin,
    )
}

/// The built-in profile for a name, which may be that of a custom profile.
pub(crate) fn base_of(name: &str, own: &BTreeMap<String, OwnProfile>) -> Option<Profile> {
    Profile::from_str(name).ok().or_else(|| Some(own.get(name)?.base))
}

/// The active profile.
pub(crate) struct ChosenProfile<'a> {
    pub(crate) name: String,
    pub(crate) base: Profile,
    pub(crate) own: Vec<&'a Layer>,
}

impl<'a> ChosenProfile<'a> {
    pub(crate) fn of(
        layers: &[Layer],
        profiles: &'a BTreeMap<String, OwnProfile>,
    ) -> Result<Self, SettingsError> {
        // Highest precedence first.
        let given = layers.iter().rev().find_map(|layer| Some((profile_of(layer)?, layer)));
        let Some((name, layer)) = given else {
            let base = Profile::default();
            return Ok(Self { name: base.to_string(), base, own: Vec::new() });
        };
        let (base, own) = match (Profile::from_str(name), profiles.get(name)) {
            (Ok(profile), _) => (profile, Vec::new()),
            (Err(_), Some(own)) => (own.base, own.layers.iter().collect()),
            (Err(_), None) => {
                let built_in = Profile::ALL.iter().map(Profile::to_string);
                return Err(SettingsError::UnknownProfile {
                    name: Some(name.to_owned()),
                    known: built_in.chain(profiles.keys().cloned()).collect(),
                    origin: layer.origin(PROFILE),
                });
            }
        };
        Ok(Self { name: name.to_owned(), base, own })
    }
}

/// The profile that a layer selects.
pub(crate) fn profile_of(layer: &Layer) -> Option<&str> {
    layer.values.get(PROFILE)?.as_str()
}
