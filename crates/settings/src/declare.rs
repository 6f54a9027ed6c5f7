//! Declaring settings: a type, its defaults and its rows in the table of all settings, generated from one list.

use crate::setting::Setting;

/// Generates a type for settings, its defaults by profile, and `ROWS`, its part of the table of all settings.
///
/// `at` is the prefix of the keys. A row is `name: type = [of dev, of ci, of prod] => [source];`, where the source is `VARIABLE
/// kind`, or for settings that only files can contain `each kind`, for a table with user-chosen names, and `tables { "key" kind,
/// ... }` for a table of such tables; or `section ROWS`, the rows of another type.
macro_rules! settings {
    (
        $(#[$about:meta])+
        pub struct $type:ident at $prefix:literal {
            $($(#[$doc:meta])+ $name:ident: $of:ty = $defaults:expr => [$($given:tt)+];)+
        }
    ) => {
        $(#[$about])+
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $type {
            $($(#[$doc])+ pub $name: $of,)+
        }

        impl $type {
            const PARTS: &[&[Setting]] = &[$(setting_rows!($prefix, $name, $($given)+),)+];
            /// Its settings, in the order of the documentation.
            pub(crate) const ROWS: &[Setting] =
                &$crate::declare::concat::<{ $crate::declare::count(Self::PARTS) }>(Self::PARTS);

            /// The defaults of a built-in profile.
            pub fn of_profile(profile: Profile) -> Self {
                Self { $($name: profile.pick($defaults),)+ }
            }
        }
    };
}

/// The rows for one field.
macro_rules! setting_rows {
    ($prefix:literal, $name:ident, section $rows:expr) => {
        $rows
    };
    ($prefix:literal, $name:ident, each $kind:expr) => {
        &[Setting { key: concat!($prefix, stringify!($name), ".*"), variable: None, kind: $kind }]
    };
    ($prefix:literal, $name:ident, tables { $($key:literal $kind:expr),+ }) => {
        &[$(Setting { key: concat!($prefix, stringify!($name), ".*.", $key), variable: None, kind: $kind }),+]
    };
    ($prefix:literal, $name:ident, $variable:ident $kind:expr) => {
        &[Setting {
            key: concat!($prefix, stringify!($name)),
            variable: Some(stringify!($variable)),
            kind: $kind,
        }]
    };
}

pub(crate) use {setting_rows, settings};

pub(crate) const fn count(parts: &[&[Setting]]) -> usize {
    let (mut count, mut part) = (0, 0);
    while part < parts.len() {
        count += parts[part].len();
        part += 1;
    }
    count
}

/// `N` is the [`count`] of the parts.
pub(crate) const fn concat<const N: usize>(parts: &[&[Setting]]) -> [Setting; N] {
    let mut all = [parts[0][0]; N];
    let (mut at, mut part) = (0, 0);
    while part < parts.len() {
        let mut row = 0;
        while row < parts[part].len() {
            all[at] = parts[part][row];
            (at, row) = (at + 1, row + 1);
        }
        part += 1;
    }
    all
}
