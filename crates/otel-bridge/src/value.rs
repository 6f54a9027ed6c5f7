//! What may stand in an attribute: facts of Daglight itself, and values that the capture policy has let through.

use daglight_capture_policy::Captured;
use daglight_run_identity::{DagName, RunId};
use opentelemetry::{Array, StringValue, Value};

use crate::names::Key;

/// The key of an attribute: one under the namespace, or one of the semantic conventions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttributeKey {
    /// A key that gets the namespace in front.
    Own(Key),
    /// A key that stands as it is.
    Plain(&'static str),
}

impl From<Key> for AttributeKey {
    fn from(key: Key) -> Self {
        Self::Own(key)
    }
}

impl From<&'static str> for AttributeKey {
    fn from(key: &'static str) -> Self {
        Self::Plain(key)
    }
}

/// The value of an attribute.
///
/// It is made from a number, a truth value, an id, a text in the code, or a [`Captured`]; not from a `String`, which
/// may hold anything:
///
/// ```compile_fail
/// let customer = String::from("a customer's name");
/// let leak: daglight_otel_bridge::AttributeValue = customer.into();
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct AttributeValue(pub(crate) Value);

impl AttributeValue {
    /// The value as the field of a `tracing` event. A list becomes text.
    pub fn into_log_field(self) -> Box<dyn tracing::Value + Send + Sync> {
        match self.0 {
            Value::Bool(truth) => Box::new(truth),
            Value::I64(number) => Box::new(number),
            Value::F64(number) => Box::new(number),
            Value::String(text) => Box::new(String::from(text)),
            other => Box::new(other.to_string()),
        }
    }
}

macro_rules! from_facts {
    ($($fact:ty),+) => {
        $(impl From<$fact> for AttributeValue {
            fn from(fact: $fact) -> Self {
                Self(Value::from(fact))
            }
        })+
    };
}

from_facts!(bool, i64, f64, &'static str);

impl From<i32> for AttributeValue {
    fn from(number: i32) -> Self {
        Self(Value::I64(number.into()))
    }
}

impl From<u32> for AttributeValue {
    fn from(number: u32) -> Self {
        Self(Value::I64(number.into()))
    }
}

/// OpenTelemetry has no unsigned integers: what is greater than an `i64` becomes text.
impl From<u64> for AttributeValue {
    fn from(number: u64) -> Self {
        Self(i64::try_from(number).map_or_else(|_| number.to_string().into(), Value::I64))
    }
}

impl From<usize> for AttributeValue {
    fn from(number: usize) -> Self {
        (number as u64).into()
    }
}

impl From<RunId> for AttributeValue {
    fn from(id: RunId) -> Self {
        Self(id.to_string().into())
    }
}

impl From<&DagName> for AttributeValue {
    fn from(name: &DagName) -> Self {
        Self(name.to_string().into())
    }
}

/// Lists of texts become lists of texts, numbers and truth values themselves; everything else becomes JSON.
impl From<&Captured> for AttributeValue {
    fn from(captured: &Captured) -> Self {
        Self(of_json(captured.as_value()))
    }
}

impl From<Captured> for AttributeValue {
    fn from(captured: Captured) -> Self {
        (&captured).into()
    }
}

fn of_json(value: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match value {
        Json::Bool(truth) => (*truth).into(),
        Json::String(text) => text.clone().into(),
        Json::Number(number) => {
            let integer = number.as_i64().map(Value::I64);
            let float = || number.as_f64().filter(|_| number.is_f64()).map(Value::F64);
            integer.or_else(float).unwrap_or_else(|| number.to_string().into())
        }
        Json::Array(items) => texts(items).unwrap_or_else(|| value.to_string().into()),
        Json::Null | Json::Object(_) => value.to_string().into(),
    }
}

fn texts(items: &[serde_json::Value]) -> Option<Value> {
    let texts: Option<Vec<StringValue>> =
        items.iter().map(|item| item.as_str().map(|text| text.to_owned().into())).collect();
    texts.map(|texts| Value::Array(Array::String(texts)))
}

#[cfg(test)]
mod tests {
    use daglight_capture_policy::{Policy, Profile};
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(captured: serde_json::Value, expected: impl Into<Value>) {
        let captured = Policy::of_profile(Profile::Dev).capture(captured);
        assert_eq!(AttributeValue::from(captured).0, expected.into());
    }

    #[test]
    fn captured_values_keep_their_types() {
        check(json!("text"), "text");
        check(json!(true), true);
        check(json!(-3), -3);
        check(json!(0.5), 0.5);
        check(json!(u64::MAX), "18446744073709551615");
        check(json!(["a", "b"]), Value::Array(Array::String(vec!["a".into(), "b".into()])));
        check(json!(["a", 1]), r#"["a",1]"#);
        check(json!({"a": null}), r#"{"a":null}"#);
    }

    #[test]
    fn numbers_beyond_a_signed_integer_become_text() {
        assert_eq!(AttributeValue::from(u64::MAX).0, "18446744073709551615".into());
        assert_eq!(AttributeValue::from(7_u64).0, 7.into());
    }
}
