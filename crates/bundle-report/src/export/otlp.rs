//! A single OTLP/JSON document with all lines of a signal file.

use std::io::{self, Write};

use daglight_run_bundle::{Bundle, SignalFiles, read_lines};
use daglight_semantic_conventions::Namespace;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use super::{ExportError, ExportSignal, Exported, unended::Unended};
use crate::{
    otlp::{LogsLine, TracesLine},
    otlp_metrics::MetricsLine,
    trace_lines::RunLines,
};

/// The attribute of an exported span that had not ended.
const OPEN: &str = "open";

/// A line: an export request of one of the signals.
#[derive(Deserialize)]
struct Line<'l> {
    #[serde(borrow, alias = "resourceMetrics", alias = "resourceLogs")]
    #[serde(rename = "resourceSpans")]
    resources: Vec<&'l RawValue>,
}

pub(super) fn export(
    bundle: &Bundle,
    namespace: &Namespace,
    of: RunLines<'_>,
    signal: ExportSignal,
    to: &mut dyn Write,
) -> Result<Exported, ExportError> {
    let (path, field) = match signal {
        ExportSignal::Traces => (bundle.traces(), "resourceSpans"),
        ExportSignal::Metrics => (bundle.metrics(), "resourceMetrics"),
        ExportSignal::Logs => (bundle.logs(), "resourceLogs"),
    };
    let is_of_spans = signal == ExportSignal::Traces;
    let mut unended = if is_of_spans { Unended::read(bundle, of) } else { Unended::default() };
    let mut items = Items { to, field, written: 0, failed: Ok(()) };
    let file = read_lines(&path, |line| {
        // Also parsed as the signal: a backend rejects the whole document because of a single invalid line.
        match signal {
            ExportSignal::Traces => {
                let spans: TracesLine<'_> = serde_json::from_str(line)?;
                of.check_spans(&spans)?;
                spans.spans().for_each(|span| unended.seen(span));
            }
            ExportSignal::Metrics => of.check_metrics(&serde_json::from_str::<MetricsLine<'_>>(line)?)?,
            ExportSignal::Logs => of.check_records(&serde_json::from_str::<LogsLine<'_>>(line)?)?,
        }
        // Unchanged instead of parsed and serialised again: nothing can be lost or rounded.
        let line: Line<'_> = serde_json::from_str(line)?;
        line.resources.iter().for_each(|resource| items.write(resource.get()));
        Ok(())
    });
    let mut open = 0;
    if is_of_spans && !unended.is_empty() {
        read_lines(&SignalFiles::from(bundle).open_spans(), |line| {
            of.check_spans(&serde_json::from_str(line)?)?;
            let mut line: Value = serde_json::from_str(line)?;
            for resource in line["resourceSpans"].as_array_mut().into_iter().flatten() {
                let kept = end_spans(resource, &unended, &namespace.join(OPEN));
                if kept > 0 {
                    items.write(&resource.to_string());
                }
                open += kept;
            }
            Ok(())
        });
    }
    let Items { written, failed, .. } = items;
    failed?;
    let exported =
        Exported { items: written, left_out: 0, unended: open, file, open_file: unended.damaged() };
    match signal {
        ExportSignal::Traces => exported.refuse_no_spans(),
        ExportSignal::Metrics | ExportSignal::Logs => exported.refuse_nothing(),
    }?;
    if written == 0 {
        write!(to, "{{\"{field}\":[")?;
    }
    writeln!(to, "]}}")?;
    Ok(exported)
}

/// Keeps the spans of a resource that have not ended, with the time at which the run was last seen as their end: a backend rejects
/// spans without one. Returns their number.
fn end_spans(resource: &mut Value, unended: &Unended, open: &str) -> u64 {
    let mut kept = 0;
    for scope in resource["scopeSpans"].as_array_mut().into_iter().flatten() {
        let Some(spans) = scope["spans"].as_array_mut() else { continue };
        spans.retain(|span| span["spanId"].as_str().is_some_and(|id| unended.contains(id)));
        for span in spans.iter_mut() {
            let start = span["startTimeUnixNano"].as_str().and_then(|start| start.parse().ok());
            span["endTimeUnixNano"] = unended.end_of(start.unwrap_or(0)).to_string().into();
            let is_open = json!({"key": open, "value": {"boolValue": true}});
            match span["attributes"].as_array_mut() {
                Some(attributes) => attributes.push(is_open),
                None => span["attributes"] = json!([is_open]),
            }
        }
        kept += spans.len() as u64;
    }
    kept
}

/// The items of the document. The document is started with the first one: nothing is written for an unreadable file.
struct Items<'w> {
    to: &'w mut dyn Write,
    field: &'static str,
    written: u64,
    failed: io::Result<()>,
}

impl Items<'_> {
    fn write(&mut self, item: &str) {
        if self.failed.is_ok() {
            self.failed = match self.written {
                0 => write!(self.to, "{{\"{}\":[{item}", self.field),
                _ => write!(self.to, ",{item}"),
            };
        }
        self.written += 1;
    }
}
