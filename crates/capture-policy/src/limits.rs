//! Truncating values to the limits, without looking at the rest.

use serde_json::{Map, Value};

use crate::{
    capture_settings::CaptureSettings,
    named_values::{Field, field},
    redact::Redactor,
    secret::REDACTED,
};

/// How many characters are inspected after those that are kept, so that a credential which begins among those is seen completely.
const LOOKED_AT: usize = 16_384;

/// How much of a value is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    list: usize,
    dict: usize,
    string: usize,
    depth: usize,
}

impl Limits {
    pub(crate) fn of(capture: &CaptureSettings) -> Self {
        Self {
            list: capture.max_list_length,
            dict: capture.max_dict_length,
            string: capture.max_string_length,
            depth: capture.max_depth,
        }
    }

    /// The same limits with another maximum string length.
    pub(crate) fn with_string(self, string: usize) -> Self {
        Self { string, ..self }
    }

    /// Half of each limit; `None` if they cannot be reduced further.
    pub(crate) fn halved(self) -> Option<Self> {
        let is_used_up = self.list == 0 && self.dict == 0 && self.string == 0;
        (!is_used_up).then_some(Self {
            list: self.list / 2,
            dict: self.dict / 2,
            string: self.string / 2,
            depth: self.depth,
        })
    }

    /// The part of a value that is kept, redacted. Where something is left out, a text in its place states how much.
    pub(crate) fn apply(&self, value: &Value, shape: Shape, redactor: &Redactor) -> Value {
        Cut { limits: self, shape, redactor }.value(value, 0)
    }
}

/// Who chose the nesting of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The user: any nesting.
    Users,
    /// We did, for the facts about a column: all of them are kept, and its counts stay counts. They are bounded where they are
    /// created.
    Column,
}

struct Cut<'a> {
    limits: &'a Limits,
    shape: Shape,
    redactor: &'a Redactor,
}

impl Cut<'_> {
    fn value(&self, value: &Value, depth: usize) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(items) if depth >= self.limits.depth => {
                Value::String(format!("[… {} items, nested too deep]", items.len()))
            }
            Value::Object(entries) if depth >= self.limits.depth => {
                Value::String(format!("[… {} keys, nested too deep]", entries.len()))
            }
            Value::Array(items) => self.list(items, depth),
            Value::Object(entries) => self.dict(entries, depth),
            other => other.clone(),
        }
    }

    fn list(&self, items: &[Value], depth: usize) -> Value {
        let limit = self.limits.list;
        let mut cut: Vec<Value> = items.iter().take(limit).map(|item| self.value(item, depth + 1)).collect();
        if items.len() > limit {
            cut.push(Value::String(format!("[… {} more items]", items.len() - limit)));
        }
        Value::Array(cut)
    }

    fn dict(&self, entries: &Map<String, Value>, depth: usize) -> Value {
        let is_whole = self.shape == Shape::Column && (depth == 0 || entries.values().all(Value::is_number));
        let limit = if is_whole { entries.len() } else { self.limits.dict };
        let hides_value = self.shape == Shape::Users && self.is_named_as_hidden(entries);
        let mut cut = Map::with_capacity(limit.min(entries.len()) + 1);
        for (key, value) in entries.iter().take(limit) {
            let is_count = self.shape == Shape::Column && value.is_number();
            let is_value = hides_value && field(key) == Some(Field::Value);
            let is_hidden = !is_count && self.redactor.hides_key(key) || is_value;
            let value = if is_hidden { REDACTED.into() } else { self.value(value, depth + 1) };
            cut.insert(free_key(&cut, self.text(key)), value);
        }
        if entries.len() > limit {
            cut.insert(
                free_key(&cut, "…".to_owned()),
                format!("[{} more keys]", entries.len() - limit).into(),
            );
        }
        Value::Object(cut)
    }

    /// Whether it is an entry in a list of names and values, such as `{"name": "password", "value": "..."}`.
    fn is_named_as_hidden(&self, entries: &Map<String, Value>) -> bool {
        let names = entries.iter().filter(|(key, _)| field(key) == Some(Field::Name));
        let is_hidden = names.filter_map(|(_, name)| name.as_str()).any(|name| self.redactor.hides_key(name));
        is_hidden && entries.keys().any(|key| field(key) == Some(Field::Value))
    }

    fn text(&self, text: &str) -> String {
        let limit = self.limits.string;
        let looked_at = byte_of_char(text, limit.saturating_add(LOOKED_AT)).unwrap_or(text.len());
        let mut redacted = self.redactor.text(&text[..looked_at]);
        let end = byte_of_char(&redacted, limit);
        let more = end.map_or(0, |end| redacted[end..].chars().count()) + text[looked_at..].chars().count();
        if more > 0 {
            redacted.truncate(end.unwrap_or(redacted.len()));
            redacted.push_str(&format!("[… {more} more characters]"));
        }
        redacted
    }
}

fn byte_of_char(text: &str, index: usize) -> Option<usize> {
    text.char_indices().nth(index).map(|(at, _)| at)
}

/// The key, with a number appended if it is already taken.
pub fn free_key(taken: &Map<String, Value>, key: String) -> String {
    if !taken.contains_key(&key) {
        return key;
    }
    (2..).map(|number| format!("{key} ({number})")).find(|key| !taken.contains_key(key)).unwrap_or_default()
}
