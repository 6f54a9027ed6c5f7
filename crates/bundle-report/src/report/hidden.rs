//! What a policy hides.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much the policy hides of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HiddenCount {
    /// The kind, as it stands in the list of what is hidden.
    pub what: String,
    /// How many places it is about: values that were left out where each can be seen, or else all of that kind.
    pub count: u64,
    /// What is counted, such as `errors and warnings`.
    pub of: String,
}
