//! Values of OTLP/JSON as plain JSON.

use serde_json::{Map, Value};

/// Converts an `AnyValue` of OTLP/JSON. A 64-bit integer, which is a string there, becomes a number.
pub(crate) fn plain(value: &Value) -> Value {
    let Some((kind, value)) = value.as_object().and_then(|value| value.iter().next()) else {
        return Value::Null;
    };
    let values = || value["values"].as_array().into_iter().flatten();
    match kind.as_str() {
        "intValue" => number(value).unwrap_or_else(|| value.clone()),
        "arrayValue" => values().map(plain).collect(),
        "kvlistValue" => Value::Object(pairs(&value["values"])),
        _ => value.clone(),
    }
}

/// The attributes of a span, an event or a record.
pub(crate) fn attributes(of: &Value) -> Map<String, Value> {
    pairs(&of["attributes"])
}

fn pairs(list: &Value) -> Map<String, Value> {
    let pair = |pair: &Value| Some((pair["key"].as_str()?.to_owned(), plain(&pair["value"])));
    list.as_array().into_iter().flatten().filter_map(pair).collect()
}

fn number(value: &Value) -> Option<Value> {
    match value {
        Value::String(text) => text.parse::<i64>().ok().map(Value::from),
        Value::Number(_) => Some(value.clone()),
        _ => None,
    }
}

/// A timestamp of OTLP/JSON: nanoseconds since the Unix epoch, as a string or a number. `None` for 0, which means not set.
pub(crate) fn nanoseconds(value: &Value) -> Option<i64> {
    let nanoseconds = match value {
        Value::String(text) => text.parse().ok(),
        value => value.as_i64(),
    };
    nanoseconds.filter(|nanoseconds| *nanoseconds > 0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_plain_json() {
        let of = json!({ "attributes": [
            { "key": "a", "value": { "stringValue": "x" } },
            { "key": "b", "value": { "intValue": "9007199254740993" } },
            { "key": "c", "value": { "arrayValue": { "values": [{ "boolValue": true }, { "doubleValue": 0.5 }] } } },
            { "key": "d", "value": { "kvlistValue": { "values": [{ "key": "e", "value": { "intValue": 1 } }] } } },
            { "key": "f" },
            { "value": {} },
        ]});
        let expected =
            json!({ "a": "x", "b": 9_007_199_254_740_993_i64, "c": [true, 0.5], "d": { "e": 1 }, "f": null });
        assert_eq!(Value::Object(attributes(&of)), expected);
    }

    #[test]
    fn moments_are_texts_or_numbers() {
        assert_eq!(nanoseconds(&json!("1700000000000000001")), Some(1_700_000_000_000_000_001));
        assert_eq!(nanoseconds(&json!(7)), Some(7));
        for none in [json!("0"), json!("x"), json!(null), json!("18446744073709551615")] {
            assert_eq!(nanoseconds(&none), None, "{none}");
        }
    }
}
