//! The id of a run.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A UUID of version 7: unique, and ordered by the start time of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Uuid", into = "Uuid")]
pub struct RunId(Uuid);

impl RunId {
    /// A new id with the current time.
    #[expect(clippy::new_without_default, reason = "every call returns another id")]
    #[expect(clippy::disallowed_methods, reason = "an id has the time at which it is made")]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// When the id was created, to the millisecond.
    pub fn created_at(self) -> DateTime<Utc> {
        let (seconds, nanoseconds) = self.0.get_timestamp().map_or((0, 0), |time| time.to_unix());
        i64::try_from(seconds)
            .ok()
            .and_then(|seconds| DateTime::from_timestamp(seconds, nanoseconds))
            .unwrap_or(DateTime::UNIX_EPOCH)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<RunId> for Uuid {
    fn from(id: RunId) -> Self {
        id.0
    }
}

/// The error of parsing a run id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid run id {text:?}: expected a UUID of version 7")]
pub struct InvalidRunId {
    text: String,
}

impl TryFrom<Uuid> for RunId {
    type Error = InvalidRunId;

    fn try_from(uuid: Uuid) -> Result<Self, Self::Error> {
        if uuid.get_version_num() == 7 {
            Ok(Self(uuid))
        } else {
            Err(InvalidRunId { text: uuid.to_string() })
        }
    }
}

impl FromStr for RunId {
    type Err = InvalidRunId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::from_str(text).map_err(|_| InvalidRunId { text: text.to_owned() })?.try_into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "compared with the time that an id has")]
    fn ids_are_read_back_and_ordered_by_time() {
        let first = RunId::new();
        let second = RunId::new();
        assert!(first < second);
        assert_eq!(first.to_string().parse(), Ok(first));
        assert!((Utc::now() - first.created_at()).num_seconds().abs() < 60);
    }

    #[test]
    fn another_version_is_refused() {
        let error = "a5e2b1f0-7a0e-4d5f-8a53-0c9f9f4c2b11".parse::<RunId>().unwrap_err();
        assert!(error.to_string().contains("version 7"));
    }
}
