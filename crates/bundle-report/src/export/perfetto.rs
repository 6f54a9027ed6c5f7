//! The trace event format, as [its document](https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU)
//! describes it: complete events (`X`) on a thread for each lane, names of threads (`M`), and counters (`C`).

use std::io::{self, Write};

use daglight_run_bundle::{Bundle, read_lines};
use daglight_semantic_conventions::{Key, Namespace, span};
use serde_json::{Map, Value, json};

use super::{
    Exported,
    lanes::{Lanes, is_exported, name_of},
};
use crate::otlp::{Span, TracesLine};

/// The one process of a run.
const PROCESS: u32 = 1;

pub(super) fn export(
    bundle: &Bundle,
    namespace: &Namespace,
    run: &str,
    to: &mut dyn Write,
) -> io::Result<Exported> {
    let lanes = Lanes::read(bundle, namespace);
    let mut events = Events { to, any: false };
    events.to.write_all(b"{\"displayTimeUnit\":\"ms\",\"traceEvents\":[")?;
    events.write(&metadata("process_name", 0, json!({"name": run})))?;
    for (lane, group) in lanes.lanes.iter().enumerate() {
        let thread = lane + 1;
        events.write(&metadata("thread_name", thread, json!({"name": group})))?;
        events.write(&metadata("thread_sort_index", thread, json!({"sort_index": thread})))?;
    }
    // From the first span on: microseconds since 1970 would not fit into a number of JSON.
    let begin = lanes.begin();
    // The lines once more, now for what stands on the spans.
    let (mut position, mut written) = (0, Ok(()));
    let file = read_lines(&bundle.traces(), |line| {
        let line: TracesLine<'_> = serde_json::from_str(line)?;
        for span in line.spans() {
            if written.is_err() {
                break;
            }
            if span.name == span::HEARTBEAT {
                written = counters(span, namespace, begin).iter().try_for_each(|event| events.write(event));
                continue;
            }
            if !is_exported(span) {
                continue;
            }
            // A run that goes on may have written more meanwhile.
            let Some(laid) = lanes.spans.get(position) else { break };
            position += 1;
            let mut args: Map<String, Value> = span
                .attributes
                .iter()
                .map(|(key, value)| (key.to_owned(), value.to_string().into()))
                .collect();
            args.insert("span_id".into(), span.span_id.clone().into());
            if let Some(status) = span.status.as_ref().filter(|_| span.is_error()) {
                args.insert("error".into(), status.message.clone().into());
            }
            written = events.write(&json!({
                "name": name_of(span, namespace),
                "cat": span.name,
                "ph": "X",
                "ts": microseconds(laid.start - begin),
                "dur": microseconds(laid.end - laid.start),
                "pid": PROCESS,
                "tid": laid.lane + 1,
                "args": args,
            }));
        }
        Ok(())
    });
    written?;
    events.to.write_all(b"\n]}\n")?;
    Ok(Exported { items: position as u64, left_out: lanes.left_out, file })
}

/// What a process or thread is called. Readers other than Perfetto want a category and a time of every event.
fn metadata(name: &str, thread: usize, args: Value) -> Value {
    json!({"name": name, "cat": "__metadata", "ph": "M", "ts": 0, "pid": PROCESS, "tid": thread, "args": args})
}

/// A beat as numbers over time.
fn counters(beat: &Span<'_>, namespace: &Namespace, begin: u64) -> Vec<Value> {
    let counted = [
        ("memory of the process, bytes", Key::ProcessResidentBytes),
        ("memory given out by DataFusion, bytes", Key::MemoryReserved),
        ("processor time, seconds", Key::ProcessCpuSeconds),
        ("read from storage, bytes", Key::IoBytesRead),
        ("written to storage, bytes", Key::IoBytesWritten),
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
