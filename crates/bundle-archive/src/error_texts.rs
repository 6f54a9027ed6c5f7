//! Removes SQL from the texts of errors and warnings, which quote the failed statement.

use daglight_semantic_conventions::key::WARNING_CODE;
use serde_json::{Map, Value};

/// The replacement for a text.
const LEFT_OUT: &str = "left out";
/// The lowest severity number of OpenTelemetry's WARN: records from there on describe failures.
const WARN: u64 = 13;
/// Attributes of a record that identify its source and subject, without any text from the run.
const CONTEXT: [&str; 9] = [
    "hamilton.",
    "daglight.",
    "code.",
    "thread.",
    "log.",
    "error.type",
    "exception.type",
    "target",
    "run_id",
];

/// Removes the texts of errors, checks and warnings from a manifest. Nodes, their ends and the codes of warnings are kept.
pub(crate) fn of_manifest(manifest: &mut Value) {
    leave_out(manifest, "error");
    // A failed run also has its error as a tag, for the server.
    if let Some(tags) = manifest.pointer_mut("/identity/tags") {
        leave_out(tags, "error");
    }
    for node in list(manifest, "nodes") {
        leave_out(node, "error");
        list(node, "earlier_attempts").for_each(|attempt| leave_out(attempt, "error"));
        for check in list(node, "checks") {
            ["check", "message"].into_iter().for_each(|field| leave_out(check, field));
        }
    }
    list(manifest, "warnings").for_each(|warning| leave_out(warning, "message"));
}

/// Removes them from a line of OTLP/JSON: from spans the message of the status, from events the texts of exceptions and checks, and
/// from log records everything but their names.
pub(crate) fn of_signals(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(status) = fields.get_mut("status").filter(|status| status.is_object()) {
                leave_out(status, "message");
            }
            if fields.contains_key("severityNumber") {
                of_record(fields);
            } else if let Some(text) = fields.get_mut("attributes").and_then(Value::as_array_mut) {
                text.iter_mut().filter(|attribute| is_error_text(attribute)).for_each(leave_out_value);
            }
            fields.values_mut().for_each(of_signals);
        }
        Value::Array(items) => items.iter_mut().for_each(of_signals),
        _ => {}
    }
}

/// Handles a log record. Its name comes before the text that is specific to the run.
fn of_record(record: &mut Map<String, Value>) {
    let severity = record["severityNumber"].as_u64().unwrap_or(WARN);
    if severity < WARN {
        record.values_mut().for_each(without_quoted);
        return;
    }
    if let Some(body) = record.get_mut("body") {
        match body.get("stringValue").and_then(Value::as_str) {
            Some(text) => {
                let called = text.split(':').next().unwrap_or_default();
                let rest = if called.len() < text.len() { format!(": {LEFT_OUT}") } else { String::new() };
                let text = unquoted(called) + &rest;
                body["stringValue"] = text.into();
            }
            None => *body = serde_json::json!({ "stringValue": LEFT_OUT }),
        }
    }
    for attribute in record.get_mut("attributes").and_then(Value::as_array_mut).into_iter().flatten() {
        let key = attribute.get("key").and_then(Value::as_str).unwrap_or_default();
        if key != WARNING_CODE && key != "node" && !CONTEXT.iter().any(|context| key.starts_with(context)) {
            leave_out_value(attribute);
        }
    }
}

/// Whether an attribute of a span or an event contains the text of an exception or a check.
fn is_error_text(attribute: &Value) -> bool {
    let key = attribute.get("key").and_then(Value::as_str).unwrap_or_default();
    let name = key.rsplit('.').next().unwrap_or_default();
    // The last one is the condition of a data check.
    ["message", "stacktrace", "error", "reason", "check", "text"].contains(&name)
}

/// Removes quoted parts from texts at any depth.
fn without_quoted(value: &mut Value) {
    match value {
        Value::String(text) => *text = unquoted(text),
        Value::Array(items) => items.iter_mut().for_each(without_quoted),
        Value::Object(fields) => {
            // The names of attributes are ours.
            fields.iter_mut().filter(|(name, _)| *name != "key").for_each(|(_, value)| without_quoted(value));
        }
        _ => {}
    }
}

/// A text without its quoted parts; if a quote is not closed, without everything after it.
fn unquoted(text: &str) -> String {
    let (mut kept, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(['\'', '"', '`']) {
        let (before, quoted) = rest.split_at(at);
        let quote = &quoted[..1];
        kept.push_str(before);
        kept.push_str(quote);
        kept.push('…');
        kept.push_str(quote);
        rest = quoted[1..].split_once(quote).map_or("", |(_, after)| after);
    }
    kept + rest
}

fn leave_out(of: &mut Value, field: &str) {
    if let Some(text) = of.get_mut(field).filter(|text| text.as_str().is_some_and(|text| !text.is_empty())) {
        *text = LEFT_OUT.into();
    }
}

fn leave_out_value(attribute: &mut Value) {
    let Some(value) = attribute.get_mut("value") else { return };
    let is_text = value.get("intValue").is_none() && value.get("boolValue").is_none();
    if is_text && value.get("doubleValue").is_none() {
        *value = serde_json::json!({ "stringValue": LEFT_OUT });
    }
}

fn list<'v>(of: &'v mut Value, field: &str) -> impl Iterator<Item = &'v mut Value> {
    of.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_quotes_is_cut() {
        for (text, expected) in [
            ("plain", "plain"),
            ("cannot cast 'it''s' to Int32", "cannot cast '…''…' to Int32"),
            ("no column \"a\", but `b`", "no column \"…\", but `…`"),
            ("it's 42", "it'…'"),
        ] {
            assert_eq!(unquoted(text), expected);
        }
    }
}
