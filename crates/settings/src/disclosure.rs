//! How much of a configuration may be repeated in errors about it.

use daglight_capture_policy::Profile;

use crate::{
    catalog::{EXTENDS, PROFILE, PROFILES},
    setting::{
        Setting,
        SettingKind::{self, Bytes, Count, Flag, Interval, Number, OneOf, Part, Seconds},
    },
};

/// How much of the values of a configuration an error may repeat before there is a policy.
///
/// `prod` shows no values except numbers of settings that are numbers. If the profile is unknown because of the error itself, `prod` is assumed if any layer selects it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Disclosure {
    /// No values, except numbers of settings that are numbers.
    Nothing,
    /// Values of settings that are numbers, flags or one of several names. Other values can be any text.
    Typed,
    /// All values except credentials.
    Values,
}

impl Disclosure {
    /// Whether the value of a setting is shown, given its dotted path.
    pub(crate) fn shows(self, setting: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::Values => true,
            Self::Typed => is_typed(setting),
        }
    }

    /// For the profiles in the layers, those with precedence last. `base` returns the built-in profile behind a name, and
    /// `all_read` is whether every layer could be read.
    pub(crate) fn of_profiles(
        names: &[&str],
        base: impl Fn(&str) -> Option<Profile>,
        all_read: bool,
    ) -> Self {
        let of_name = |name: &str| base(name).map(Self::of);
        match names.last().map(|name| of_name(name)) {
            None if all_read => Self::of(Profile::default()),
            Some(Some(known)) => known,
            Some(None) if all_read => {
                names.iter().filter_map(|name| of_name(name)).fold(Self::Typed, Self::min)
            }
            _ => Self::Nothing,
        }
    }

    /// For a known profile.
    fn of(profile: Profile) -> Self {
        match profile {
            Profile::Prod => Self::Nothing,
            Profile::Dev | Profile::Ci => Self::Values,
        }
    }
}

/// Whether a setting is a number, a flag, or one of several names.
fn is_typed(setting: &str) -> bool {
    let path = path_of(setting);
    let typed = |setting: &Setting| {
        setting.key == PROFILE || matches!(setting.kind, Flag | OneOf(_)) || is_number(setting.kind)
    };
    path == [EXTENDS] || Setting::find(&path).is_some_and(typed)
}

/// Whether a setting is a number, given its dotted path.
pub(crate) fn is_numeric(setting: &str) -> bool {
    Setting::find(&path_of(setting)).is_some_and(|setting| is_number(setting.kind))
}

fn is_number(kind: SettingKind) -> bool {
    matches!(kind, Bytes { .. } | Count { .. } | Seconds | Interval | Part | Number)
}

/// The path of a setting, which is the same in a profile.
fn path_of(setting: &str) -> Vec<String> {
    let mut path: Vec<String> = setting.split('.').map(str::to_owned).collect();
    if path.len() > 2 && path[0] == PROFILES {
        path.drain(..2);
    }
    path
}
