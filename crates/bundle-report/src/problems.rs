//! Errors and warnings, grouped by what they say.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use daglight_run_bundle::WarningCode;
use daglight_semantic_conventions::key;

use crate::{
    display,
    otlp::{LogRecord, Span},
    report::{Problem, Severity},
};

/// The field of the warning about a stall that only such a warning has.
const STALL_FIELD: &str = "stall.since";
/// Different problems that are kept; later ones are only counted.
const MAX_PROBLEMS: usize = 100;
/// Characters of a message that are kept.
const MAX_MESSAGE_CHARS: usize = 600;
/// The least severity numbers of OpenTelemetry's WARN and ERROR.
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
        match problem.severity {
            Severity::Error => self.errors += 1,
            Severity::Warning => self.warnings += 1,
        }
        let key = (problem.severity, problem.message.clone());
        if let Some(position) = self.by_message.get(&key) {
            let known = &mut self.found[*position];
            known.count += 1;
            if known.code == WarningCode::Uncoded {
                // Older versions wrote the code of a warning to the manifest and not to the log.
                known.code = problem.code;
            }
            known.node = known.node.take().or(problem.node);
            known.error_type = known.error_type.take().or(problem.error_type);
        } else if self.found.len() < MAX_PROBLEMS {
            self.by_message.insert(key, self.found.len());
            self.found.push(problem);
        }
    }

    /// A span that failed. Its message is the status', or that of the exception it recorded.
    pub(crate) fn add_span(&mut self, span: &Span<'_>, node: Option<&str>, error_type_key: &str) {
        let exception = span.events.iter().find(|event| event.name == "exception");
        let of_exception = |key| exception.and_then(|event| event.attributes.text(key));
        let status = span.status.as_ref().map(|status| status.message.as_ref());
        let message = status.filter(|message| !message.is_empty()).or(of_exception("exception.message"));
        self.add(Problem {
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
        });
    }

    /// A log record, when it is a warning or an error. Its fields belong to the message; those that say where the
    /// record comes from do not.
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
        for (key, value) in
            record.attributes.iter().filter(|(key, _)| *key != key::WARNING_CODE && !is_context(key))
        {
            // With its fields, since many libraries log one constant text and put all that differs into fields.
            message.push_str(&format!(" {key}={value}"));
        }
        self.add(Problem {
            severity,
            message: shortened(message.trim()),
            error_type: None,
            node: record.attributes.text(node_key).map(str::to_owned),
            source: "log".into(),
            code: code_of(record),
            count: 1,
            first_at: moment(record.time()),
        });
    }

    /// The errors, then the warnings, each in the order of their first appearance.
    pub(crate) fn into_found(mut self) -> Vec<Problem> {
        self.found.sort_by_key(|problem| problem.severity);
        self.found
    }
}

/// The code of a warning in the log. Older versions wrote none with a stall, but when the stall began.
fn code_of(record: &LogRecord<'_>) -> WarningCode {
    match record.attributes.text(key::WARNING_CODE) {
        None if record.attributes.text(STALL_FIELD).is_some() => WarningCode::Stall,
        code => WarningCode::from_field(code),
    }
}

/// A time of OpenTelemetry; 0 means that it is unknown.
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
