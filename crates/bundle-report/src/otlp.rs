//! The part of OTLP/JSON that the report needs, borrowed from its line.
//!
//! The format is that of the OpenTelemetry file exporter: one `TracesData` or `LogsData` per line. Fields that the report does not
//! use are skipped without being built; that is most of a line, and makes a million spans affordable.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};

/// A line of `otel_traces.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TracesLine<'a> {
    #[serde(borrow)]
    resource_spans: Vec<ResourceSpans<'a>>,
}

/// The attributes of a resource that identify its run.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Resource<'a> {
    #[serde(borrow, default)]
    attributes: Attributes<'a>,
}

impl Resource<'_> {
    /// The value of an attribute, if it differs from `own`.
    pub(crate) fn other_than(&self, key: &str, own: &str) -> Option<&str> {
        self.attributes.text(key).filter(|found| *found != own)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans<'a> {
    #[serde(borrow, default)]
    resource: Resource<'a>,
    #[serde(borrow, default)]
    scope_spans: Vec<ScopeSpans<'a>>,
}

#[derive(Debug, Deserialize)]
struct ScopeSpans<'a> {
    #[serde(borrow, default)]
    spans: Vec<Span<'a>>,
}

impl<'a> TracesLine<'a> {
    pub(crate) fn resources(&self) -> impl Iterator<Item = &Resource<'a>> {
        self.resource_spans.iter().map(|spans| &spans.resource)
    }

    pub(crate) fn spans(&self) -> impl Iterator<Item = &Span<'a>> {
        self.resource_spans.iter().flat_map(|resource| &resource.scope_spans).flat_map(|scope| &scope.spans)
    }
}

/// A span that has ended.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Span<'a> {
    #[serde(borrow)]
    pub(crate) trace_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) span_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) parent_span_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) name: Cow<'a, str>,
    #[serde(deserialize_with = "nanoseconds")]
    pub(crate) start_time_unix_nano: u64,
    #[serde(deserialize_with = "nanoseconds")]
    pub(crate) end_time_unix_nano: u64,
    #[serde(borrow)]
    pub(crate) attributes: Attributes<'a>,
    #[serde(borrow)]
    pub(crate) events: Vec<Event<'a>>,
    #[serde(borrow)]
    pub(crate) status: Option<Status<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Event<'a> {
    #[serde(borrow)]
    pub(crate) name: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) attributes: Attributes<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Status<'a> {
    #[serde(borrow)]
    pub(crate) message: Cow<'a, str>,
    pub(crate) code: StatusCode,
}

/// 2 or its name is an error; protobuf's JSON mapping allows both.
#[derive(Debug, Default, Deserialize)]
#[serde(untagged)]
pub(crate) enum StatusCode {
    Number(u8),
    Name(String),
    #[default]
    Unset,
}

impl Span<'_> {
    pub(crate) fn duration_nanoseconds(&self) -> u64 {
        self.end_time_unix_nano.saturating_sub(self.start_time_unix_nano)
    }

    pub(crate) fn is_error(&self) -> bool {
        self.status.as_ref().is_some_and(|status| match &status.code {
            StatusCode::Number(code) => *code == 2,
            StatusCode::Name(name) => name == "STATUS_CODE_ERROR",
            StatusCode::Unset => false,
        })
    }
}

/// A line of `otel_logs.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LogsLine<'a> {
    #[serde(borrow)]
    resource_logs: Vec<ResourceLogs<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceLogs<'a> {
    #[serde(borrow, default)]
    resource: Resource<'a>,
    #[serde(borrow, default)]
    scope_logs: Vec<ScopeLogs<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScopeLogs<'a> {
    #[serde(borrow, default)]
    log_records: Vec<LogRecord<'a>>,
}

impl<'a> LogsLine<'a> {
    pub(crate) fn resources(&self) -> impl Iterator<Item = &Resource<'a>> {
        self.resource_logs.iter().map(|logs| &logs.resource)
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = &LogRecord<'a>> {
        self.resource_logs
            .iter()
            .flat_map(|resource| &resource.scope_logs)
            .flat_map(|scope| &scope.log_records)
    }
}

/// A log record.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct LogRecord<'a> {
    #[serde(deserialize_with = "nanoseconds")]
    pub(crate) time_unix_nano: u64,
    #[serde(deserialize_with = "nanoseconds")]
    pub(crate) observed_time_unix_nano: u64,
    #[serde(borrow)]
    pub(crate) trace_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) span_id: Cow<'a, str>,
    pub(crate) severity_number: u8,
    #[serde(borrow)]
    pub(crate) body: Option<AnyValue<'a>>,
    #[serde(borrow)]
    pub(crate) attributes: Attributes<'a>,
}

impl LogRecord<'_> {
    /// The time of the record, or when it was observed.
    pub(crate) fn time(&self) -> u64 {
        if self.time_unix_nano == 0 { self.observed_time_unix_nano } else { self.time_unix_nano }
    }
}

/// The attributes of a span, event or record.
#[derive(Debug, Default, Deserialize)]
#[serde(transparent)]
pub(crate) struct Attributes<'a>(#[serde(borrow)] Vec<KeyValue<'a>>);

#[derive(Debug, Deserialize)]
struct KeyValue<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(borrow, default)]
    value: AnyValue<'a>,
}

/// The value of an attribute. Maps and bytes are not used by the report.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct AnyValue<'a> {
    #[serde(borrow)]
    string_value: Option<Text<'a>>,
    int_value: Option<Integer>,
    double_value: Option<Double>,
    bool_value: Option<bool>,
    #[serde(borrow)]
    array_value: Option<ArrayValue<'a>>,
}

/// In an `Option`, serde borrows from a custom type but not from a plain `Cow`.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ArrayValue<'a> {
    #[serde(borrow)]
    values: Vec<AnyValue<'a>>,
}

impl<'a> Attributes<'a> {
    pub(crate) fn get(&self, key: &str) -> Option<&AnyValue<'a>> {
        // A key that was set twice is written twice: the last one counts.
        self.0.iter().rev().find(|attribute| attribute.key == key).map(|attribute| &attribute.value)
    }

    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.get(key)?.string_value.as_ref().map(|text| text.0.as_ref())
    }

    pub(crate) fn count(&self, key: &str) -> Option<u64> {
        let value = self.get(key)?;
        value.int_value.as_ref().and_then(|integer| u64::try_from(integer.0).ok())
    }

    pub(crate) fn number(&self, key: &str) -> Option<f64> {
        let value = self.get(key)?;
        let double = value.double_value.as_ref().map(|double| double.0);
        double.or_else(|| value.int_value.as_ref().map(|integer| integer.0 as f64))
    }

    pub(crate) fn flag(&self, key: &str) -> bool {
        self.get(key).and_then(|value| value.bool_value).unwrap_or(false)
    }

    /// The texts of a list, or of a comma-separated text.
    pub(crate) fn texts(&self, key: &str) -> Vec<String> {
        let Some(value) = self.get(key) else { return Vec::new() };
        match (&value.array_value, &value.string_value) {
            (Some(list), _) => list.values.iter().map(AnyValue::to_string).collect(),
            (None, Some(Text(text))) if !text.is_empty() => {
                text.split(',').map(|part| part.trim().to_owned()).collect()
            }
            _ => Vec::new(),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &AnyValue<'a>)> {
        self.0.iter().map(|attribute| (attribute.key.as_ref(), &attribute.value))
    }
}

impl fmt::Display for AnyValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Text(text)) = &self.string_value {
            f.write_str(text)
        } else if let Some(integer) = &self.int_value {
            integer.0.fmt(f)
        } else if let Some(double) = &self.double_value {
            double.0.fmt(f)
        } else if let Some(flag) = self.bool_value {
            flag.fmt(f)
        } else if let Some(list) = &self.array_value {
            f.debug_list().entries(list.values.iter().map(Self::to_string)).finish()
        } else {
            Ok(())
        }
    }
}

/// A 64-bit integer, which OTLP/JSON writes as a string and some writers as a number.
#[derive(Debug)]
pub(crate) struct Integer(i128);

/// A float, which may also be the string `NaN` or `Infinity`.
#[derive(Debug)]
pub(crate) struct Double(f64);

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Number).map(|number| match number {
            Parsed::Integer(integer) => Self(integer),
            Parsed::Double(double) => Self(double as i128),
        })
    }
}

impl<'de> Deserialize<'de> for Double {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Number).map(|number| match number {
            Parsed::Integer(integer) => Self(integer as f64),
            Parsed::Double(double) => Self(double),
        })
    }
}

pub(crate) fn nanoseconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let Integer(nanoseconds) = Integer::deserialize(deserializer)?;
    u64::try_from(nanoseconds).map_err(|_| {
        let found = format!("integer `{nanoseconds}`");
        de::Error::invalid_value(de::Unexpected::Other(&found), &"nanoseconds since 1970")
    })
}

enum Parsed {
    Integer(i128),
    Double(f64),
}

struct Number;

impl Visitor<'_> for Number {
    type Value = Parsed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, or a text that holds one")
    }

    fn visit_u64<E>(self, number: u64) -> Result<Parsed, E> {
        Ok(Parsed::Integer(number.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Parsed, E> {
        Ok(Parsed::Integer(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Parsed, E> {
        Ok(Parsed::Double(number))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Parsed, E> {
        match text.parse::<i64>() {
            Ok(integer) => Ok(Parsed::Integer(integer.into())),
            Err(_) if text.parse::<u64>().is_ok() => Ok(Parsed::Integer(text.parse().unwrap_or(i128::MAX))),
            Err(_) => text
                .parse()
                .map(Parsed::Double)
                .map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_read_from_its_line() {
        let line = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"s"}}]},
            "scopeSpans":[{"scope":{"name":"daglight"},"spans":[{"traceId":"c3","spanId":"f6","parentSpanId":"a1",
            "flags":257,"name":"hamilton.node","kind":1,"startTimeUnixNano":"1795237787864953054",
            "endTimeUnixNano":"1795237787864961657","attributes":[
            {"key":"daglight.node","value":{"stringValue":"a \"quoted\" name"}},
            {"key":"daglight.row_count","value":{"intValue":"42"}},
            {"key":"daglight.slow","value":{"boolValue":true}},
            {"key":"ratio","value":{"doubleValue":null}},
            {"key":"other","value":{"kvlistValue":{"values":[]}}},
            {"key":"daglight.source_tables","value":{"arrayValue":{"values":[{"stringValue":"a"},{"stringValue":"b"}]}}}],
            "events":[{"timeUnixNano":"1","name":"exception","attributes":[]}],"status":{"message":"boom","code":2}}]}]}]}"#;
        let line: TracesLine = serde_json::from_str(line).unwrap();
        let span = line.spans().next().unwrap();
        assert_eq!((span.span_id.as_ref(), span.parent_span_id.as_ref()), ("f6", "a1"));
        assert_eq!(span.duration_nanoseconds(), 8_603);
        assert!(span.is_error());
        let attributes = &span.attributes;
        assert_eq!(attributes.text("daglight.node"), Some("a \"quoted\" name"));
        assert_eq!(attributes.count("daglight.row_count"), Some(42));
        assert!(attributes.flag("daglight.slow"));
        assert_eq!(attributes.texts("daglight.source_tables"), ["a", "b"]);
        assert!(matches!(span.name, Cow::Borrowed(_)));
    }

    #[track_caller]
    fn check_value(json: &str, expected: &str) {
        let value: AnyValue = serde_json::from_str(json).unwrap();
        assert_eq!(value.to_string(), expected);
    }

    #[test]
    fn values_are_read_in_every_form_that_writers_use() {
        check_value(r#"{"intValue":"-9223372036854775808"}"#, "-9223372036854775808");
        check_value(r#"{"intValue":7}"#, "7");
        check_value(r#"{"intValue":"18446744073709551615"}"#, "18446744073709551615");
        check_value(r#"{"doubleValue":"NaN"}"#, "NaN");
        check_value(r#"{"doubleValue":2}"#, "2");
        check_value(
            r#"{"arrayValue":{"values":[{"stringValue":"a"},{"boolValue":false}]}}"#,
            r#"["a", "false"]"#,
        );
        check_value("{}", "");
    }

    #[test]
    fn another_signal_is_not_taken_for_spans() {
        assert!(serde_json::from_str::<TracesLine>(r#"{"resourceLogs":[]}"#).is_err());
        assert!(serde_json::from_str::<LogsLine>(r#"{"resourceSpans":[]}"#).is_err());
    }

    #[test]
    fn a_record_without_a_time_has_the_one_at_which_it_was_seen() {
        let record: LogRecord =
            serde_json::from_str(r#"{"timeUnixNano":"0","observedTimeUnixNano":"5","severityNumber":13}"#)
                .unwrap();
        assert_eq!((record.time(), record.severity_number), (5, 13));
    }
}
