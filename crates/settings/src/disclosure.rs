//! How much of a configuration its errors may repeat.

use std::{collections::BTreeMap, str::FromStr as _};

use daglight_capture_policy::Profile;

use crate::{
    catalog::SETTINGS,
    loader::{EXTENDS, OwnProfile, PROFILE, PROFILES, SettingsLoader, profile_of, take_profiles},
    setting::{
        Setting,
        SettingKind::{Bytes, Count, Flag, Interval, Number, OneOf, Part, Seconds},
    },
};

/// How much of the values of a configuration an error may repeat, before there is a policy.
///
/// `prod` shows no values. Where the profile is not known, because of the error itself, the configuration is taken for one
/// of `prod` if any layer says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Disclosure {
    /// No values.
    Nothing,
    /// Values of settings that are numbers, flags or one of some names. Others can be any text.
    Typed,
    /// All values but credentials.
    Values,
}

impl Disclosure {
    /// Whether the value of that setting, by its dotted path, is shown.
    pub(crate) fn shows(self, setting: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::Values => true,
            Self::Typed => is_typed(setting),
        }
    }

    /// Of the profiles that the layers name, those that win last. `all_read` says that every layer could be read.
    fn of_profiles(names: &[&str], own: &BTreeMap<String, OwnProfile>, all_read: bool) -> Self {
        let of_name = |name: &str| {
            let built_in = Profile::from_str(name).ok();
            built_in.or_else(|| Some(own.get(name)?.base)).map(Self::of)
        };
        match names.last().map(|name| of_name(name)) {
            None if all_read => Self::of(Profile::default()),
            Some(Some(known)) => known,
            Some(None) if all_read => {
                names.iter().filter_map(|name| of_name(name)).fold(Self::Typed, Self::min)
            }
            _ => Self::Nothing,
        }
    }

    /// Of a profile that is known.
    fn of(profile: Profile) -> Self {
        match profile {
            Profile::Prod => Self::Nothing,
            Profile::Dev | Profile::Ci => Self::Values,
        }
    }
}

impl SettingsLoader {
    /// How much errors about this configuration may repeat, and about whatever else is read before it is resolved.
    pub fn disclosure(&self) -> Disclosure {
        let found = self.read_files();
        let all_read = found.is_ok();
        let mut files = found.map(|found| found.layers).unwrap_or_default();
        let own = take_profiles(&mut files).unwrap_or_default();
        let variable =
            SETTINGS.iter().find(|setting| setting.key == PROFILE).and_then(|setting| setting.variable);
        let of_variable = variable.and_then(|name| self.variables.get(name)).map(|text| text.trim());
        let of_files = files.iter().filter_map(profile_of);
        let names: Vec<&str> =
            of_files.chain(of_variable).chain(self.code.iter().filter_map(profile_of)).collect();
        Disclosure::of_profiles(&names, &own, all_read)
    }
}

/// Whether a setting is a number, a flag, or one of some names.
fn is_typed(setting: &str) -> bool {
    let mut path: Vec<String> = setting.split('.').map(str::to_owned).collect();
    if path.len() > 2 && path[0] == PROFILES {
        path.drain(..2);
    }
    let typed = |setting: &Setting| {
        setting.key == PROFILE
            || matches!(
                setting.kind,
                Flag | Bytes { .. } | Count { .. } | Seconds | Interval | Part | Number | OneOf(_)
            )
    };
    path == [EXTENDS] || Setting::find(&path).is_some_and(typed)
}
