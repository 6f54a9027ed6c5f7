//! The built-in profiles that decide the defaults of every setting.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A built-in set of defaults. What it decides can be overridden setting by setting, or for good in a profile of one's
/// own: a table `[profiles.NAME]` that `extends` it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// At a desk: tracker on, statistics on, 200 list items and 200 keys. The default.
    #[default]
    Dev,
    /// In continuous integration: tracker off, statistics off, 5 list items and 10 keys.
    Ci,
    /// In production: tracker on, statistics off, 20 list items and 50 keys, and no value out of user data.
    Prod,
}

impl Profile {
    /// Every built-in profile, in the order of the documentation.
    pub const ALL: [Self; 3] = [Self::Dev, Self::Ci, Self::Prod];

    /// The name that configuration files, variables and options use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Ci => "ci",
            Self::Prod => "prod",
        }
    }

    /// The value for this profile, of one for each of [`Profile::ALL`].
    pub fn pick<T>(self, [dev, ci, prod]: [T; 3]) -> T {
        match self {
            Self::Dev => dev,
            Self::Ci => ci,
            Self::Prod => prod,
        }
    }

    /// Whether runs are recorded for the tracker by default.
    pub const fn uses_tracker(self) -> bool {
        !matches!(self, Self::Ci)
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The error of parsing a built-in profile's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown profile {name:?}: expected dev, ci or prod")]
pub struct UnknownProfile {
    name: String,
}

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|profile| profile.name() == name)
            .ok_or_else(|| UnknownProfile { name: name.to_owned() })
    }
}
