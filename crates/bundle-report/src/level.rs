//! The importance of something in a report.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much a sentence or a finding matters, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Good,
    /// Worth knowing.
    Note,
    /// Something to look at.
    Warning,
    /// Something to act on.
    Bad,
}
