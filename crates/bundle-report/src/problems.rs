//! Errors and warnings, grouped by their text.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use daglight_run_bundle::WarningCode;
use daglight_semantic_conventions::key;

use crate::{
    display,
    otlp::{LogRecord, Span},
    report::{Problem, Severity},
};

/// A field that only warnings about stalls have.
const STALL_FIELD: &str = "stall.since";
/// The field with the node of a log record that has none of the conventional attributes.
const NODE_FIELD: &str = "node";
/// The maximum number of distinct problems kept; later ones are only counted.
const MAX_PROBLEMS: usize = 100;
/// The maximum number of characters kept of a message.
const MAX_MESSAGE_CHARS: usize = 600;
/// The lowest severity numbers of OpenTelemetry's WARN and ERROR.
const WARN: u8 = 13;
const ERROR: u8 = 17;

/// The problems of a run, in bounded memory.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    found: Vec<Problem>,
    by_message: HashMap<(Severity, String), usize>,
    pub(crate) errors: u64,
    pub(crate) warnings: u64,
}

impl Problems {
    pub(crate) fn add(&mut self, problem: Problem) {
        let texts = [problem.message.clone()];
        self.add_said(problem, &texts.each_ref().map(String::as_str));
    }

    /// Adds a problem with these `texts`: if one of them is already known from another source, or has a known one as its cause, it
    /// is the same problem reported again.
    fn add_said(&mut self, problem: Problem, texts: &[&str]) {
        let key = (problem.severity, problem.message.clone());
        let known = self.by_message.get(&key).copied();
        let told = known.filter(|at| self.found[*at].source != problem.source);
        let told = told.or_else(|| {
            let is_same = |found: &Problem| {
                known.is_none() && texts.iter().any(|text| is_told_again(found, &problem, text))
            };
            self.found.iter().position(is_same)
        });
        if told.is_none() {
            match problem.severity {
                Severity::Error => self.errors += 1,
                Severity::Warning => self.warnings += 1,
            }
        }
        if let Some(position) = told.or(known) {
            let known = &mut self.found[position];
            known.count += u64::from(told.is_none());
            if known.code == WarningCode::Uncoded {
                // Older versions wrote the code of a warning to the manifest but not to the log.
                known.code = problem.code;
            }
            known.node = known.node.take().or(problem.node);
            known.error_type = known.error_type.take().or(problem.error_type);
            known.trace_id = known.trace_id.take().or(problem.trace_id);
            known.span_id = known.span_id.take().or(problem.span_id);
        } else if self.found.len() < MAX_PROBLEMS {
            self.by_message.insert(key, self.found.len());
            self.found.push(problem);
        }
    }

    /// Adds a span that failed. The message is that of its status, or of its exception event.
    pub(crate) fn add_span(&mut self, span: &Span<'_>, node: Option<&str>, error_type_key: &str) {
        let exception = span.events.iter().find(|event| event.name == "exception");
        let of_exception = |key| exception.and_then(|event| event.attributes.text(key));
        let status = span.status.as_ref().map(|status| status.message.as_ref());
        let message = status.filter(|message| !message.is_empty()).or(of_exception("exception.message"));
        let texts: Vec<&str> = message.into_iter().collect();
        let problem = Problem {
            severity: Severity::Error,
            message: shortened(message.unwrap_or("failed, and did not say why")),
            error_type: span
                .attributes
                .text(error_type_key)
                .or(of_exception("exception.type"))
                .map(str::to_owned),
            node: node.map(str::to_owned),
            source: span.name.clone().into_owned(),
            code: WarningCode::Uncoded,
            count: 1,
            first_at: moment(span.end_time_unix_nano),
            trace_id: id(&span.trace_id),
            span_id: id(&span.span_id),
        };
        self.add_said(problem, &texts);
    }

    /// Adds a log record if it is a warning or an error. Its fields are part of the message, except those with its source.
    pub(crate) fn add_record(
        &mut self,
        record: &LogRecord<'_>,
        node_key: &str,
        is_context: impl Fn(&str) -> bool,
    ) {
        let severity = match record.severity_number {
            ERROR.. => Severity::Error,
            WARN.. => Severity::Warning,
            _ => return,
        };
        let mut message = record.body.as_ref().map(ToString::to_string).unwrap_or_default();
        let mut texts = vec![message.clone()];
        for (key, value) in
            record.attributes.iter().filter(|(key, _)| *key != key::WARNING_CODE && !is_context(key))
        {
            // Including its fields, because many libraries log a constant text and put all variable parts into fields.
            message.push_str(&format!(" {key}={value}"));
            texts.push(value.to_string());
        }
        let node = record.attributes.text(node_key).or_else(|| record.attributes.text(NODE_FIELD));
        let problem = Problem {
            severity,
            message: shortened(message.trim()),
            error_type: None,
            node: node.map(str::to_owned),
            source: "log".into(),
            code: code_of(record),
            count: 1,
            first_at: moment(record.time()),
            trace_id: id(&record.trace_id),
            span_id: id(&record.span_id),
        };
        self.add_said(problem, &texts.iter().map(String::as_str).collect::<Vec<_>>());
    }

    /// The errors, then the warnings, each in the order of their first occurrence.
    pub(crate) fn into_found(mut self) -> Vec<Problem> {
        self.found.sort_by_key(|problem| problem.severity);
        self.found
    }
}

/// Whether `text` reports a known problem again: a parent of the span that failed, with an addition before the cause, or a log
/// record with the problem as a field.
fn is_told_again(known: &Problem, new: &Problem, text: &str) -> bool {
    let may_be = |a: &Option<String>, b: &Option<String>| a.is_none() || b.is_none() || a == b;
    known.severity == new.severity
        && known.source != new.source
        && may_be(&known.node, &new.node)
        && may_be(&known.trace_id, &new.trace_id)
        && has_cause(text, &known.message)
}

/// Whether a text ends with a known message, as far as that was kept.
fn has_cause(text: &str, known: &str) -> bool {
    let begins = |at: usize| at == 0 || text[..at].ends_with(": ");
    match known.strip_suffix('…') {
        Some(beginning) => text.find(beginning).is_some_and(begins),
        None => !known.is_empty() && text.ends_with(known) && begins(text.len() - known.len()),
    }
}

/// A trace or span id; `None` if it is empty or zeros.
fn id(text: &str) -> Option<String> {
    text.bytes().any(|byte| byte != b'0').then(|| text.to_owned())
}

/// The code of a warning in the log. Older versions wrote no code for a stall, but the time when it began.
fn code_of(record: &LogRecord<'_>) -> WarningCode {
    match record.attributes.text(key::WARNING_CODE) {
        None if record.attributes.text(STALL_FIELD).is_some() => WarningCode::Stall,
        code => WarningCode::from_field(code),
    }
}

/// An OpenTelemetry timestamp; 0 means unknown.
pub(crate) fn moment(nanoseconds: u64) -> Option<DateTime<Utc>> {
    let nanoseconds = i64::try_from(nanoseconds).ok().filter(|nanoseconds| *nanoseconds > 0)?;
    Some(DateTime::from_timestamp_nanos(nanoseconds))
}

fn shortened(message: &str) -> String {
    display::beginning(message, MAX_MESSAGE_CHARS).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(severity: u8, body: &str) -> String {
        format!(
            r#"{{"timeUnixNano":"5","severityNumber":{severity},"body":{{"stringValue":"{body}"}},"attributes":[
            {{"key":"attempt","value":{{"intValue":"2"}}}},{{"key":"code.line","value":{{"intValue":"7"}}}},
            {{"key":"node","value":{{"stringValue":"orders"}}}}]}}"#
        )
    }

    fn problems(records: &[String]) -> Problems {
        let mut problems = Problems::default();
        for text in records {
            let is_context = |key: &str| key.starts_with("code.") || key == "node";
            problems.add_record(&serde_json::from_str(text).unwrap(), "node", is_context);
        }
        problems
    }

    #[test]
    fn equal_messages_are_counted_and_errors_come_first() {
        let problems = problems(&[
            record(13, "slow disk"),
            record(9, "fine"),
            record(17, "no disk"),
            record(13, "slow disk"),
        ]);
        assert_eq!((problems.errors, problems.warnings), (1, 2));
        let found = problems.into_found();
        let shown: Vec<_> = found.iter().map(|problem| (problem.message.as_str(), problem.count)).collect();
        assert_eq!(shown, [("no disk attempt=2", 1), ("slow disk attempt=2", 2)]);
        assert_eq!(found[0].node.as_deref(), Some("orders"));
    }

    #[test]
    fn one_cause_that_many_tell_is_one_problem() {
        let span = |name: &str, id: &str, message: &str, node: &str| {
            format!(
                r#"{{"traceId":"ab","spanId":"{id}","name":"{name}","status":{{"code":2,"message":"{message}"}},
                "attributes":[{{"key":"own.node","value":{{"stringValue":"{node}"}}}}]}}"#
            )
        };
        let log = |severity, body: &str, fields: &str| {
            format!(
                r#"{{"traceId":"ab","spanId":"2","severityNumber":{severity},"body":{{"stringValue":"{body}"}},"attributes":[{fields}]}}"#
            )
        };
        let field =
            |key: &str, value: &str| format!(r#"{{"key":"{key}","value":{{"stringValue":"{value}"}}}}"#);
        let mut problems = Problems::default();
        for (text, node) in [
            (span("datafusion.execute", "1", "disk full", "b"), Some("b")),
            (span("hamilton.node", "2", "s.sql:3: b: disk full", "b"), Some("b")),
            (span("pipeline.execute", "3", "node b: s.sql:3: b: disk full", ""), None),
            // From another node, and one that merely ends in the same way.
            (span("hamilton.node", "4", "s.sql:9: c: disk full", "c"), Some("c")),
            (span("hamilton.stage", "5", "no disk full", ""), None),
        ] {
            problems.add_span(&serde_json::from_str(&text).unwrap(), node, "error.type");
        }
        let records = [
            log(17, "node failed", &[field("node", "b"), field("error", "s.sql:3: b: disk full")].join(",")),
            log(17, "run failed", &field("reason", "node b: s.sql:3: b: disk full")),
            log(13, "node a: 5 of 100 rows break it", ""),
        ];
        for text in records {
            problems.add_record(&serde_json::from_str(&text).unwrap(), "own.node", |_| false);
        }
        // As repeated by the manifest.
        problems.add(Problem {
            severity: Severity::Warning,
            message: "node a: 5 of 100 rows break it".into(),
            error_type: None,
            node: None,
            source: "manifest".into(),
            code: WarningCode::CheckNotPassed,
            count: 1,
            first_at: None,
            trace_id: None,
            span_id: None,
        });
        assert_eq!((problems.errors, problems.warnings), (3, 1));
        let found = problems.into_found();
        let shown: Vec<_> = found
            .iter()
            .map(|problem| {
                (&*problem.message, problem.count, problem.node.as_deref(), problem.span_id.as_deref())
            })
            .collect();
        let expected = [
            ("disk full", 1, Some("b"), Some("1")),
            ("s.sql:9: c: disk full", 1, Some("c"), Some("4")),
            ("no disk full", 1, None, Some("5")),
            ("node a: 5 of 100 rows break it", 1, None, Some("2")),
        ];
        assert_eq!(shown, expected);
        assert!(found.iter().all(|problem| problem.trace_id.as_deref() == Some("ab")));
        assert_eq!(found[3].code, WarningCode::CheckNotPassed);
    }

    #[test]
    fn memory_is_bounded() {
        let records: Vec<_> =
            (0..1000).map(|number| record(17, &format!("{number} {}", "x".repeat(2000)))).collect();
        let problems = problems(&records);
        assert_eq!(problems.errors, 1000);
        let found = problems.into_found();
        assert_eq!(found.len(), MAX_PROBLEMS);
        assert!(found.iter().all(|problem| problem.message.chars().count() == MAX_MESSAGE_CHARS + 1));
    }
}
