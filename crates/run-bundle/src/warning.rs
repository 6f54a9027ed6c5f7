//! The warnings of a manifest: codes and messages.

use std::{error::Error, fmt};

use daglight_capture_policy::in_one_line;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::warning_code::WarningCode;

/// Something that went wrong in recording a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "AsWritten")]
pub struct Warning {
    /// What it is about.
    pub code: WarningCode,
    /// What it says.
    pub message: String,
}

impl Warning {
    /// A warning of this kind.
    pub fn new(code: WarningCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// A warning about a failure with this error, in one line: [`WarningCode::DiskFull`] if the cause is lack of disk space, and
    /// `otherwise` in any other case.
    pub fn of_error(otherwise: WarningCode, error: &(dyn Error + 'static)) -> Self {
        Self::new(WarningCode::of_error(error, otherwise), in_one_line(error))
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
            // The only place where a message text decides something: older versions wrote nothing else. These are the ends of their
            // two sentences.
            AsWritten::Text(message) => {
                let code = if message.contains("To deliver them later: daglight sync ") {
                    WarningCode::Undelivered
                } else if message.contains("To have it verified after ") {
                    WarningCode::Unverified
                } else {
                    WarningCode::Uncoded
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
        // It is kept unchanged, so that rewriting the manifest loses nothing.
        check(
            r#"{"code":"of_a_newer_version","message":"a"}"#,
            WarningCode::Unknown("of_a_newer_version".into()),
            "a",
        );
        check(r#"{"code":"other","message":"a"}"#, WarningCode::Uncoded, "a");
        check(r#"{"message":"a"}"#, WarningCode::Uncoded, "a");
        check(r#""see daglight sync""#, WarningCode::Uncoded, "see daglight sync");
        let waiting =
            "3 of 9 tracker records wait in the bundle: x. To deliver them later: daglight sync out";
        check(&format!("{waiting:?}"), WarningCode::Undelivered, waiting);
        let late = "the server may. To have it verified after 2026-11-25T20:00:00Z: daglight sync out";
        check(&format!("{late:?}"), WarningCode::Unverified, late);
    }
}
