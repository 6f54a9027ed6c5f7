//! Values that a policy has allowed.

use serde::Serialize;
use serde_json::Value;

use crate::secret::REDACTED;

/// A value that the policy has allowed: redacted, and truncated to the limits.
///
/// Only [`Policy`](crate::Policy) creates one, so a function that takes `Captured` cannot be called with raw user data:
///
/// ```compile_fail
/// let leak = daglight_capture_policy::Captured(serde_json::json!("a customer's name"));
/// ```
///
/// ```compile_fail
/// let leak: daglight_capture_policy::Captured = serde_json::from_str("\"a customer's name\"").unwrap();
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Captured(Value);

impl Captured {
    pub(crate) fn new(value: Value) -> Self {
        Self(value)
    }

    /// The replacement for a secret value.
    pub fn redacted() -> Self {
        Self(REDACTED.into())
    }

    /// The value as JSON.
    pub fn as_value(&self) -> &Value {
        &self.0
    }

    /// The value as JSON, without a copy.
    pub fn into_value(self) -> Value {
        self.0
    }

    /// The same value without these fields of the objects in it: for a summary, without the fields of its columns that have these
    /// names.
    #[must_use]
    pub fn without_fields(&self, fields: &[&str]) -> Self {
        let mut value = self.0.clone();
        for inner in value.as_object_mut().into_iter().flat_map(|object| object.values_mut()) {
            if let Some(object) = inner.as_object_mut() {
                object.retain(|name, _| !fields.contains(&name.as_str()));
            }
        }
        Self(value)
    }

    /// The text itself if the value is one, otherwise its JSON.
    pub fn to_text(&self) -> String {
        match &self.0 {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }
}
