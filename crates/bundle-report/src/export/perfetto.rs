//! The trace event format, as [its document](https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU)
//! describes it: complete events (`X`) on a thread for each lane, names of threads (`M`), and counters (`C`).

use std::io::{self, Write};

use daglight_run_bundle::Bundle;
use daglight_semantic_conventions::{Key, Namespace, span};
use serde_json::{Value, json};

use super::{
    ExportError, Exported,
    lanes::{LaidSpan, Lanes, SpanDetails, is_exported},
};
use crate::{
    otlp::Span,
    trace_lines::{RunLines, read_spans},
};

/// The one process of a run.
const PROCESS: u32 = 1;

pub(super) fn export(
    bundle: &Bundle,
    namespace: &Namespace,
    of: RunLines<'_>,
    run: &str,
    to: &mut dyn Write,
) -> Result<Exported, ExportError> {
    let lanes = Lanes::read(bundle, namespace, of);
    let exported = lanes.exported();
    exported.refuse_no_spans()?;
    let mut events = Events { to, any: false };
    events.to.write_all(b"{\"displayTimeUnit\":\"ms\",\"traceEvents\":[")?;
    events.write(&metadata("process_name", 0, json!({"name": run})))?;
    for (lane, group) in lanes.lanes.iter().enumerate() {
        let thread = lane + 1;
        events.write(&metadata("thread_name", thread, json!({"name": group})))?;
        events.write(&metadata("thread_sort_index", thread, json!({"sort_index": thread})))?;
    }
    // The spans that have ended. The others were kept completely, because their file changes during a run.
    let (ended, open) = lanes.spans.split_at(lanes.spans.len() - lanes.unended.len());
    // The lines again, now for the details of the spans. A running run may have written more in the meantime.
    let mut laid = ended.iter();
    let mut written = Ok(());
    read_spans(&bundle.traces(), of, |span| {
        if written.is_err() {
            return;
        }
        if span.name == span::HEARTBEAT {
            written = counters(span, namespace, lanes.begin).iter().try_for_each(|event| events.write(event));
        } else if is_exported(span)
            && let Some(laid) = laid.next()
        {
            written = events.write(&complete(&lanes, laid, SpanDetails::of(span)));
        }
    });
    written?;
    for (laid, details) in open.iter().zip(&lanes.unended) {
        let mut attributes = details.attributes.clone();
        attributes.insert("open".into(), "has not ended".into());
        events.write(&complete(&lanes, laid, SpanDetails { kind: details.kind.clone(), attributes }))?;
    }
    events.to.write_all(b"\n]}\n")?;
    Ok(exported)
}

fn complete(lanes: &Lanes, span: &LaidSpan, details: SpanDetails) -> Value {
    json!({
        "name": lanes.names[span.name as usize],
        "cat": details.kind,
        "ph": "X",
        // Relative to the first span: microseconds since 1970 would not fit into a JSON number.
        "ts": microseconds(span.start - lanes.begin),
        "dur": microseconds(span.end - span.start),
        "pid": PROCESS,
        "tid": span.lane + 1,
        "args": details.attributes,
    })
}

/// The name of a process or thread. Readers other than Perfetto require a category and a time for every event.
fn metadata(name: &str, thread: usize, args: Value) -> Value {
    json!({"name": name, "cat": "__metadata", "ph": "M", "ts": 0, "pid": PROCESS, "tid": thread, "args": args})
}

/// A beat as counters.
fn counters(beat: &Span<'_>, namespace: &Namespace, begin: u64) -> Vec<Value> {
    let counted = [
        ("memory of the process, bytes", Key::ProcessResidentBytes),
        ("memory given out by DataFusion, bytes", Key::MemoryReserved),
        ("processor time, seconds", Key::ProcessCpuSeconds),
        ("read from storage, bytes", Key::IoBytesRead),
        ("written to storage, bytes", Key::IoBytesWritten),
        ("rows read", Key::RowsRead),
        ("rows written", Key::RowsWritten),
        ("nodes at once", Key::ActiveTasks),
    ];
    let counters = counted.into_iter().filter_map(|(name, key)| {
        let value = beat.attributes.number(&namespace.key(key)).filter(|value| value.is_finite())?;
        let ts = microseconds(beat.start_time_unix_nano.saturating_sub(begin));
        Some(json!({"name": name, "cat": beat.name, "ph": "C", "ts": ts, "pid": PROCESS, "tid": 0, "args": {"value": value}}))
    });
    counters.collect()
}

fn microseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e3
}

struct Events<'w> {
    to: &'w mut dyn Write,
    any: bool,
}

impl Events<'_> {
    fn write(&mut self, event: &Value) -> io::Result<()> {
        self.to.write_all(if self.any { b",\n" } else { b"\n" })?;
        self.any = true;
        serde_json::to_writer(&mut self.to, event).map_err(io::Error::from)
    }
}
