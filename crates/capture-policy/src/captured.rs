//! The policy in force, and the values it has let through.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{CaptureSettings, Profile, Redactor, Settings, SqlText};

/// A value that the policy has let through: redacted, and truncated to the limits.
///
/// Only [`Policy`] makes one, so a signature that asks for `Captured` cannot be given raw user data:
///
/// ```compile_fail
/// let leak = daglight_capture_policy::Captured(serde_json::json!("a customer's name"));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Captured(Value);

impl Captured {
    /// The value as JSON.
    pub fn as_value(&self) -> &Value {
        &self.0
    }

    /// The value as JSON, without a copy.
    pub fn into_value(self) -> Value {
        self.0
    }

    /// The text itself where the value is one, its JSON otherwise.
    pub fn to_text(&self) -> String {
        match &self.0 {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }
}

/// The rules that decide what may be captured.
///
/// ```
/// use daglight_capture_policy::{Policy, Profile};
/// use serde_json::json;
///
/// let policy = Policy::of_profile(Profile::Dev);
/// let captured = policy.capture(json!({"rows": 3, "password": "hunter2"}));
/// assert_eq!(captured.as_value(), &json!({"rows": 3, "password": "[redacted]"}));
/// ```
#[derive(Debug, Clone)]
pub struct Policy {
    profile: Profile,
    capture: CaptureSettings,
    redactor: Redactor,
}

impl Policy {
    /// The policy of resolved settings.
    pub fn new(settings: &Settings) -> Self {
        Self {
            profile: settings.profile,
            capture: settings.capture.clone(),
            redactor: Redactor::new(&settings.capture.redact_keys),
        }
    }

    /// The policy of a profile with nothing overridden.
    pub fn of_profile(profile: Profile) -> Self {
        Self::new(&Settings::of_profile(profile))
    }

    /// The profile that the policy started from.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Whether data summaries may be computed.
    pub fn data_statistics(&self) -> bool {
        self.capture.data_statistics
    }

    /// Whether single values of user data (examples, most frequent values, the least and greatest text) may be shown.
    pub fn values(&self) -> bool {
        self.capture.values
    }

    /// How SQL texts are captured.
    pub fn sql_text(&self) -> SqlText {
        self.capture.sql_text
    }

    /// The redaction rules alone, for texts that are ours and not user data (a repository's URL, an error's message).
    pub fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// Lets a value through: redacted, then truncated to every limit. Truncation shows in the value.
    pub fn capture(&self, value: impl Into<Value>) -> Captured {
        let value = self.redactor.value(value.into());
        let mut limits = Limits {
            list: self.capture.max_list_length,
            dict: self.capture.max_dict_length,
            string: self.capture.max_string_length,
            depth: self.capture.max_depth,
        };
        loop {
            let cut = limits.apply(&value, 0);
            let size_bytes = cut.to_string().len();
            if size_bytes <= self.capture.max_attribute_bytes {
                return Captured(cut);
            }
            if !limits.shrink() {
                return Captured(Value::String(format!(
                    "[left out: {size_bytes} bytes are over the limit of {}]",
                    self.capture.max_attribute_bytes
                )));
            }
        }
    }

    /// Lets a value through that stands under a name of its own; hidden names give a redacted value.
    pub fn capture_named(&self, name: &str, value: impl Into<Value>) -> Captured {
        if self.redactor.hides_key(name) { Captured(crate::REDACTED.into()) } else { self.capture(value) }
    }

    /// Lets the lines of a stack trace or error chain through, the first ones where there are too many.
    pub fn capture_stack<S: AsRef<str>>(&self, lines: impl IntoIterator<Item = S>) -> Captured {
        let mut lines: Vec<String> =
            lines.into_iter().map(|line| self.redactor.text(line.as_ref())).collect();
        let limit = self.capture.max_stack_lines;
        if lines.len() > limit {
            let more = lines.len() - limit;
            lines.truncate(limit);
            lines.push(format!("… {more} more lines"));
        }
        self.capture(lines.join("\n"))
    }

    /// Lets an SQL text through as the policy says: whole, or `stripped` of its literals, or not at all.
    pub fn capture_sql(&self, text: &str, stripped: impl FnOnce() -> String) -> Option<Captured> {
        match self.capture.sql_text {
            SqlText::Whole => Some(self.capture(text)),
            SqlText::WithoutLiterals => Some(self.capture(stripped())),
            SqlText::None => None,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    list: usize,
    dict: usize,
    string: usize,
    depth: usize,
}

impl Limits {
    fn apply(&self, value: &Value, depth: usize) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(items) if depth >= self.depth => {
                Value::String(format!("[… {} items, nested too deep]", items.len()))
            }
            Value::Object(entries) if depth >= self.depth => {
                Value::String(format!("[… {} keys, nested too deep]", entries.len()))
            }
            Value::Array(items) => {
                let mut cut: Vec<Value> =
                    items.iter().take(self.list).map(|item| self.apply(item, depth + 1)).collect();
                if items.len() > self.list {
                    cut.push(Value::String(format!("[… {} more items]", items.len() - self.list)));
                }
                Value::Array(cut)
            }
            Value::Object(entries) => {
                let mut cut: Map<String, Value> = entries
                    .iter()
                    .take(self.dict)
                    .map(|(key, value)| (self.text(key), self.apply(value, depth + 1)))
                    .collect();
                if entries.len() > self.dict {
                    cut.insert("…".into(), format!("[{} more keys]", entries.len() - self.dict).into());
                }
                Value::Object(cut)
            }
            other => other.clone(),
        }
    }

    fn text(&self, text: &str) -> String {
        match text.char_indices().nth(self.string) {
            None => text.to_owned(),
            Some((end, _)) => {
                let more = text[end..].chars().count();
                format!("{}[… {more} more characters]", &text[..end])
            }
        }
    }

    /// Halves what can still be halved; false when nothing is left to give up.
    fn shrink(&mut self) -> bool {
        if self.list == 0 && self.dict == 0 && self.string == 0 {
            return false;
        }
        self.list /= 2;
        self.dict /= 2;
        self.string /= 2;
        true
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn policy(change: impl FnOnce(&mut CaptureSettings)) -> Policy {
        let mut settings = Settings::of_profile(Profile::Dev);
        change(&mut settings.capture);
        Policy::new(&settings)
    }

    #[test]
    fn truncation_shows_in_the_value() {
        let policy = policy(|capture| {
            capture.max_list_length = 2;
            capture.max_dict_length = 1;
            capture.max_string_length = 4;
            capture.max_depth = 2;
        });
        assert_eq!(policy.capture(json!([1, 2, 3])).into_value(), json!([1, 2, "[… 1 more items]"]));
        assert_eq!(
            policy.capture(json!({"a": 1, "b": 2})).into_value(),
            json!({"a": 1, "…": "[1 more keys]"})
        );
        assert_eq!(policy.capture("grüße").into_value(), json!("grüß[… 1 more characters]"));
        assert_eq!(policy.capture(json!([[[1]]])).into_value(), json!([["[… 1 items, nested too deep]"]]));
    }

    #[test]
    fn no_attribute_is_larger_than_the_limit() {
        let policy = policy(|capture| capture.max_attribute_bytes = 120);
        for value in
            [json!("x".repeat(5_000)), json!(vec!["y".repeat(50); 100]), json!({"a": {"b": "z".repeat(400)}})]
        {
            let captured = policy.capture(value).into_value().to_string();
            assert!(captured.len() <= 120, "{captured}");
        }
    }

    #[test]
    fn sql_follows_the_policy() {
        let text = "SELECT 'x'";
        let captured =
            |sql_text| policy(|capture| capture.sql_text = sql_text).capture_sql(text, || "SELECT ?".into());
        assert_eq!(captured(SqlText::Whole).unwrap().to_text(), text);
        assert_eq!(captured(SqlText::WithoutLiterals).unwrap().to_text(), "SELECT ?");
        assert_eq!(captured(SqlText::None), None);
    }
}
