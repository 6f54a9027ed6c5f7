//! Removes from signals what may not leave the process: redacts credentials and hidden values, shortens long texts, and keeps only
//! what OTLP/JSON can represent. Called by [`crate::door`].

use std::{borrow::Cow, collections::HashMap, sync::LazyLock};

use daglight_capture_policy::{REDACTED, Redactor, is_engine};
use opentelemetry::{
    Array, InstrumentationScope, Key, KeyValue, StringValue, Value,
    logs::{AnyValue, LogRecord, Logger, LoggerProvider},
    trace::{SpanContext, Status, TraceState},
};
use opentelemetry_sdk::{
    logs::{SdkLogRecord, SdkLogger, SdkLoggerProvider},
    trace::SpanData,
};

use crate::names::{self, key};

/// The maximum number of cached keys. Keys come from code, so that more than this are a bug in that code.
const REMEMBERED_KEYS: usize = 4_096;

/// The source of blank log records: the SDK creates them only through a logger.
static BLANK: LazyLock<SdkLogger> =
    LazyLock::new(|| SdkLoggerProvider::builder().build().logger(names::SCOPE));

/// What may leave the process, and the maximum length of texts.
#[derive(Debug, Clone)]
pub(crate) struct Scrubber {
    redactor: Redactor,
    span_value_length: Option<usize>,
    log_value_length: Option<usize>,
    hidden_keys: HashMap<Key, bool>,
}

impl Scrubber {
    pub(crate) fn new(
        redactor: Redactor,
        span_value_length: Option<usize>,
        log_value_length: Option<usize>,
    ) -> Self {
        Self { redactor, span_value_length, log_value_length, hidden_keys: HashMap::new() }
    }

    pub(crate) fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// Scrubs everything on a span that a program can set. If a key was set twice, the last value is kept.
    pub(crate) fn span(&mut self, span: &mut SpanData) {
        // The SDK exports a key that was set twice two times. According to OTLP keys are unique, and a backend may take either.
        keep_last_values(&mut span.attributes);
        self.name(&mut span.name);
        self.attributes(&mut span.attributes);
        for event in &mut span.events.events {
            self.name(&mut event.name);
            self.attributes(&mut event.attributes);
        }
        for link in &mut span.links.links {
            self.attributes(&mut link.attributes);
            self.trace_state(&mut link.span_context);
        }
        if let Status::Error { description } = &mut span.status {
            let text = self.redactor.error_text(description);
            if text != *description {
                *description = text.into();
            }
        }
        self.trace_state(&mut span.span_context);
        self.scope(&mut span.instrumentation_scope);
    }

    /// Shortens the texts of attributes that need no other treatment.
    pub(crate) fn cut(&self, attributes: &mut [KeyValue]) {
        for attribute in attributes {
            if let Some(value) = self.value(&attribute.value, Kept::Whole) {
                attribute.value = value;
            }
        }
    }

    /// Scrubs the body and the attributes of a log record.
    pub(crate) fn log(&mut self, record: &mut SdkLogRecord) {
        // Log messages of the query engine repeat data of queries, in the message and in every field.
        let least = match record.target() {
            Some(target) if is_engine(target) => Kept::Error,
            _ => Kept::Scrubbed,
        };
        if let Some(body) = record.body().and_then(|body| self.any_value(body, None, least)) {
            record.set_body(body);
        }
        let changed: Vec<Option<AnyValue>> =
            record.attributes_iter().map(|(key, value)| self.log_attribute(key, value, least)).collect();
        // Most records stay unchanged, and copying one costs more than searching it for hidden values.
        if changed.iter().any(Option::is_some) {
            *record = with_attributes(record, changed);
        }
    }

    /// Scrubs the attributes of a scope, and its name if that contains anything to hide.
    pub(crate) fn scope(&mut self, scope: &mut InstrumentationScope) {
        // A tracer can have any name, even a connection string.
        let name = self.redactor.text(scope.name());
        let has_attributes = scope.attributes().next().is_some();
        // The usual case: the scope is a static name, and rebuilding it for each span would cost more than the rest.
        if name == scope.name() && !has_attributes {
            return;
        }
        let mut attributes: Vec<KeyValue> = scope.attributes().cloned().collect();
        self.attributes(&mut attributes);
        let mut scrubbed = InstrumentationScope::builder(name).with_attributes(attributes);
        if let Some(version) = scope.version() {
            scrubbed = scrubbed.with_version(self.redactor.text(version));
        }
        if let Some(url) = scope.schema_url() {
            scrubbed = scrubbed.with_schema_url(self.redactor.text(url));
        }
        *scope = scrubbed.build();
    }

    /// A trace state comes from the caller of the process.
    fn trace_state(&self, context: &mut SpanContext) {
        let state = context.trace_state().header();
        if !state.is_empty() && self.redactor.text(&state) != state {
            // Removes the whole trace state: a part of it would be read as if it were complete.
            *context = SpanContext::new(
                context.trace_id(),
                context.span_id(),
                context.trace_flags(),
                context.is_remote(),
                TraceState::NONE,
            );
        }
    }

    /// A borrowed name is a constant in the code.
    fn name(&self, name: &mut Cow<'static, str>) {
        // A static name is part of a program's code, and cannot contain a value.
        if let Cow::Owned(text) = name
            && let Some(text) = self.text(text, None, Kept::Scrubbed)
        {
            *name = text.into();
        }
    }

    /// Scrubs attributes that any code may have set.
    pub(crate) fn attributes(&mut self, attributes: &mut [KeyValue]) {
        for attribute in attributes {
            if self.hides(&attribute.key) {
                attribute.value = REDACTED.into();
            } else if let Some(value) = self.value(&attribute.value, Kept::of(attribute.key.as_str())) {
                attribute.value = value;
            }
        }
    }

    /// The value that may leave, if it differs from the original.
    fn value(&self, value: &Value, kept: Kept) -> Option<Value> {
        let limit = self.span_value_length;
        match value {
            Value::String(text) => self.text(text.as_str(), limit, kept).map(Value::from),
            // `opentelemetry-proto` writes NaN and the infinities as `null`, for which a collector permanently rejects the whole
            // batch.
            Value::F64(number) => non_finite_name(*number).map(Value::from),
            Value::Array(Array::String(texts)) => {
                let changed: Vec<Option<String>> =
                    texts.iter().map(|text| self.text(text.as_str(), limit, kept)).collect();
                changed.iter().any(Option::is_some).then(|| {
                    let scrubbed = changed.into_iter().zip(texts);
                    let texts: Vec<StringValue> = scrubbed
                        .map(|(changed, text)| changed.map_or_else(|| text.clone(), StringValue::from))
                        .collect();
                    Value::Array(Array::String(texts))
                })
            }
            Value::Array(Array::F64(numbers)) if numbers.iter().any(|number| !number.is_finite()) => {
                let texts = numbers.iter().map(|number| match non_finite_name(*number) {
                    Some(name) => StringValue::from(name),
                    None => StringValue::from(number.to_string()),
                });
                Some(Value::Array(Array::String(texts.collect())))
            }
            _ => None,
        }
    }

    fn log_attribute(&mut self, key: &Key, value: &AnyValue, least: Kept) -> Option<AnyValue> {
        if self.hides(key) {
            return Some(REDACTED.into());
        }
        self.any_value(value, self.log_value_length, Kept::of(key.as_str()).or(least))
    }

    fn any_value(&self, value: &AnyValue, limit: Option<usize>, kept: Kept) -> Option<AnyValue> {
        match value {
            AnyValue::String(text) => self.text(text.as_str(), limit, kept).map(AnyValue::from),
            AnyValue::Double(number) => non_finite_name(*number).map(AnyValue::from),
            AnyValue::ListAny(items) => Some(AnyValue::ListAny(Box::new(
                items
                    .iter()
                    .map(|item| self.any_value(item, limit, kept).unwrap_or_else(|| item.clone()))
                    .collect(),
            ))),
            AnyValue::Map(entries) => Some(AnyValue::Map(Box::new(
                entries
                    .iter()
                    .map(|(key, value)| {
                        let scrubbed = if self.redactor.hides_key(key.as_str()) {
                            REDACTED.into()
                        } else {
                            self.any_value(value, limit, Kept::of(key.as_str()).or(kept))
                                .unwrap_or_else(|| value.clone())
                        };
                        (key.clone(), scrubbed)
                    })
                    .collect(),
            ))),
            _ => None,
        }
    }

    fn text(&self, text: &str, limit: Option<usize>, kept: Kept) -> Option<String> {
        // Redacted before it is cut: half of a credential would not be recognised, and would still be leaked.
        let redacted = match kept {
            Kept::Scrubbed => Cow::Owned(self.redactor.text(text)),
            Kept::Error => Cow::Owned(self.redactor.error_text(text)),
            Kept::Sql => Cow::Owned(self.redactor.sql_text(text)),
            Kept::Whole => Cow::Borrowed(text),
        };
        // Counted in characters, as the specification defines the limit (`OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT`), and never cut within
        // one.
        let end = limit.and_then(|limit| redacted.char_indices().nth(limit));
        let scrubbed = end.map_or(&*redacted, |(end, _)| &redacted[..end]);
        (scrubbed != text).then(|| scrubbed.to_owned())
    }

    fn hides(&mut self, key: &Key) -> bool {
        if let Some(&hidden) = self.hidden_keys.get(key) {
            return hidden;
        }
        let hidden = self.redactor.hides_key(key.as_str());
        // A program may create keys from data, without limit.
        if self.hidden_keys.len() < REMEMBERED_KEYS {
            self.hidden_keys.insert(key.clone(), hidden);
        }
        hidden
    }
}

/// How much is kept of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// All of it: it has passed the capture policy.
    Whole,
    /// Everything except credentials, and what the policy hides in every text.
    Scrubbed,
    /// What is kept of an error message.
    Error,
    /// What is kept of a statement.
    Sql,
}

impl Kept {
    /// Determined by the key of a text.
    fn of(key: &str) -> Self {
        match key {
            key::EXCEPTION_MESSAGE | key::EXCEPTION_STACKTRACE => Self::Error,
            // The keys under which programs log an error with `tracing`, which OpenTelemetry's conventions do not cover.
            "error" | "err" | "error.message" | "exception" => Self::Error,
            // The second one is the name from before the conventions were stable, which libraries still use.
            key::DB_QUERY_TEXT | "db.statement" | "sql" | "query" => Self::Sql,
            _ => Self::Scrubbed,
        }
    }

    /// `least` if the key does not decide.
    fn or(self, least: Self) -> Self {
        if self == Self::Scrubbed { least } else { self }
    }
}

/// The text for a number that JSON cannot represent, as in the JSON mapping of Protocol Buffers.
fn non_finite_name(number: f64) -> Option<&'static str> {
    match number {
        f64::INFINITY => Some("Infinity"),
        f64::NEG_INFINITY => Some("-Infinity"),
        _ if number.is_nan() => Some("NaN"),
        _ => None,
    }
}

fn keep_last_values(attributes: &mut Vec<KeyValue>) {
    let mut kept = 0;
    for index in 0..attributes.len() {
        let key = &attributes[index].key;
        match attributes[..kept].iter().position(|attribute| attribute.key == *key) {
            // The later value replaces the earlier one in place, so that the order of the keys is kept.
            Some(first) => attributes.swap(first, index),
            None => {
                attributes.swap(kept, index);
                kept += 1;
            }
        }
    }
    attributes.truncate(kept);
}

/// A copy of the record with the changed attributes replaced.
fn with_attributes(record: &SdkLogRecord, changed: Vec<Option<AnyValue>>) -> SdkLogRecord {
    // `SdkLogRecord` has no way to change or remove an attribute (`opentelemetry_sdk` 0.33.1, `src/logs/record.rs`), so a new
    // record is created.
    let mut copy = BLANK.create_log_record();
    if let Some(name) = record.event_name() {
        copy.set_event_name(name);
    }
    if let Some(target) = record.target() {
        copy.set_target(target.clone());
    }
    if let Some(timestamp) = record.timestamp() {
        copy.set_timestamp(timestamp);
    }
    if let Some(timestamp) = record.observed_timestamp() {
        copy.set_observed_timestamp(timestamp);
    }
    if let Some(context) = record.trace_context() {
        copy.set_trace_context(context.trace_id, context.span_id, context.trace_flags);
    }
    if let Some(text) = record.severity_text() {
        copy.set_severity_text(text);
    }
    if let Some(number) = record.severity_number() {
        copy.set_severity_number(number);
    }
    if let Some(body) = record.body() {
        copy.set_body(body.clone());
    }
    for ((key, value), changed) in record.attributes_iter().zip(changed) {
        copy.add_attribute(key.clone(), changed.unwrap_or_else(|| value.clone()));
    }
    copy
}

#[cfg(test)]
mod tests {
    use daglight_capture_policy::{Policy, Profile};

    use super::*;

    fn scrubber(limit: Option<usize>) -> Scrubber {
        Scrubber::new(Redactor::default(), limit, limit)
    }

    #[track_caller]
    fn check(key: &'static str, value: impl Into<Value>, expected: impl Into<Value>) {
        let mut attributes = [KeyValue::new(key, value)];
        scrubber(Some(24)).attributes(&mut attributes);
        assert_eq!(attributes[0].value, expected.into());
    }

    #[test]
    fn attributes_are_redacted_cut_and_finite() {
        check("db.password", 7, REDACTED);
        check("url", "http://me:pw@host/", "http://[redacted]@host/");
        check("text", "é".repeat(30), "é".repeat(24));
        check("ratio", f64::NAN, "NaN");
        check("ratio", f64::NEG_INFINITY, "-Infinity");
        let numbers = Array::F64(vec![0.5, f64::INFINITY]);
        let texts = Array::String(vec!["0.5".into(), "Infinity".into()]);
        check("ratios", Value::Array(numbers), Value::Array(texts));
        check("rows", 3, 3);
    }

    #[test]
    fn of_a_key_set_twice_the_last_value_stays() {
        let pairs = |pairs: &[(&'static str, i64)]| -> Vec<KeyValue> {
            pairs.iter().map(|&(key, value)| KeyValue::new(key, value)).collect()
        };
        let mut attributes = pairs(&[("a", 1), ("b", 2), ("a", 3), ("c", 4), ("a", 5), ("b", 6)]);
        keep_last_values(&mut attributes);
        assert_eq!(attributes, pairs(&[("a", 5), ("b", 6), ("c", 4)]));
    }

    #[test]
    fn what_the_engine_logs_has_no_values_where_the_policy_hides_them() {
        let policy = Policy::of_profile(Profile::Prod);
        let mut scrubber = Scrubber::new(policy.redactor().clone(), None, None);
        for (target, is_shown) in [
            ("datafusion_catalog_listing::table", false),
            ("parquet", false),
            ("object_store::aws", false),
            ("shop::arrow", true),
        ] {
            let mut record = BLANK.create_log_record();
            record.set_target(target);
            record.set_body("read zqmk".into());
            record.add_attribute("path", "zqmk of parquet");
            record.add_attribute("list", AnyValue::ListAny(Box::new(vec!["zqmk".into()])));
            scrubber.log(&mut record);
            assert_eq!(format!("{record:?}").contains("zqmk"), is_shown, "{target}: {record:?}");
        }
    }

    #[test]
    fn log_records_keep_what_is_not_scrubbed() {
        let mut record = BLANK.create_log_record();
        record.set_event_name("login");
        record.set_body("token=abc".into());
        record.add_attribute("rows", 1);
        record.add_attribute("api_key", "abc");
        record.add_attribute("ratio", f64::NAN);
        scrubber(None).log(&mut record);
        let attributes: Vec<_> = record.attributes_iter().map(|(key, value)| (key.as_str(), value)).collect();
        assert_eq!(record.event_name(), Some("login"));
        assert_eq!(record.body(), Some(&"token=[redacted]".into()));
        assert_eq!(
            attributes,
            [("rows", &1.into()), ("api_key", &REDACTED.into()), ("ratio", &AnyValue::from("NaN"))]
        );
    }
}
