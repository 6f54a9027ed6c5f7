//! The warnings of a manifest: what they are about, and what they say.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Something that went wrong in recording a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "AsWritten")]
pub struct Warning {
    /// What it is about.
    pub code: WarningCode,
    /// What it says.
    pub message: String,
}

/// What a warning is about, as far as something depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WarningCode {
    /// Records wait for the tracking server: over once a synchronisation has delivered them.
    Undelivered,
    /// The server may still carry out a request that it did not answer: over once a synchronisation has asked it.
    Unverified,
    /// Events of OpenLineage wait: over once a synchronisation has delivered them.
    LineageUndelivered,
    /// Anything else. A code of a newer Daglight is read as this one.
    #[default]
    #[serde(other)]
    Other,
}

impl WarningCode {
    /// The code that a field of a log record names.
    pub fn from_field(text: Option<&str>) -> Self {
        match text {
            Some("undelivered") => Self::Undelivered,
            Some("unverified") => Self::Unverified,
            Some("lineage_undelivered") => Self::LineageUndelivered,
            _ => Self::Other,
        }
    }

    /// Whether `daglight sync` can make an end of it, by delivering to the tracking server.
    pub fn ends_with_sync(self) -> bool {
        matches!(self, Self::Undelivered | Self::Unverified)
    }
}

impl Warning {
    /// A warning of this kind.
    pub fn new(code: WarningCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl From<String> for Warning {
    fn from(message: String) -> Self {
        Self::new(WarningCode::Other, message)
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// A warning in any version of the manifest.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum AsWritten {
    Typed {
        #[serde(default)]
        code: WarningCode,
        message: String,
    },
    /// Before version 3.
    Text(String),
}

impl From<AsWritten> for Warning {
    fn from(written: AsWritten) -> Self {
        match written {
            AsWritten::Typed { code, message } => Self { code, message },
            // The text is all that there is: these are the ends of the two sentences.
            AsWritten::Text(message) => {
                let code = if message.contains("To deliver them later: daglight sync ") {
                    WarningCode::Undelivered
                } else if message.contains("To have it verified after ") {
                    WarningCode::Unverified
                } else {
                    WarningCode::Other
                };
                Self { code, message }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, code: WarningCode, message: &str) {
        let read: Warning = serde_json::from_str(json).unwrap();
        assert_eq!(read, Warning::new(code, message));
        assert_eq!(serde_json::from_str::<Warning>(&serde_json::to_string(&read).unwrap()).unwrap(), read);
    }

    #[test]
    fn warnings_of_every_version_are_read() {
        check(r#"{"code":"undelivered","message":"a"}"#, WarningCode::Undelivered, "a");
        check(r#"{"code":"of a newer version","message":"a"}"#, WarningCode::Other, "a");
        check(r#"{"message":"a"}"#, WarningCode::Other, "a");
        check(r#""see daglight sync""#, WarningCode::Other, "see daglight sync");
        let waiting =
            "3 of 9 tracker records wait in the bundle: x. To deliver them later: daglight sync out";
        check(&format!("{waiting:?}"), WarningCode::Undelivered, waiting);
        let late = "the server may. To have it verified after 2026-11-25T20:00:00Z: daglight sync out";
        check(&format!("{late:?}"), WarningCode::Unverified, late);
    }
}
