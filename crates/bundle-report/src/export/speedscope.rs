//! The file format of speedscope, as [its schema](https://www.speedscope.app/file-format-schema.json) has it: an evented profile
//! for each lane.

use std::io::{self, Write};

use daglight_run_bundle::Bundle;
use daglight_semantic_conventions::Namespace;
use serde_json::json;

use super::{
    ExportError, Exported,
    lanes::{LaidSpan, Lanes},
};
use crate::trace_lines::RunLines;

const SCHEMA: &str = "https://www.speedscope.app/file-format-schema.json";

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
    let begin = lanes.begin;
    let order = lanes.in_order();
    write!(to, "{{\"$schema\":{},\"exporter\":\"daglight\",\"name\":{},", json!(SCHEMA), json!(run))?;
    let frames: Vec<_> = lanes.names.iter().map(|name| json!({ "name": name })).collect();
    write!(to, "\"shared\":{{\"frames\":{}}},\n\"profiles\":[", json!(frames))?;
    for (number, of_lane) in order.chunk_by(|a, b| lane(&lanes, *a) == lane(&lanes, *b)).enumerate() {
        let spans: Vec<&LaidSpan> = of_lane.iter().map(|position| &lanes.spans[*position as usize]).collect();
        let since = |nanoseconds: u64| (nanoseconds - begin) as f64 / 1e6;
        let start = spans.iter().map(|span| span.start).min().unwrap_or(begin);
        let end = spans.iter().map(|span| span.end).max().unwrap_or(begin);
        let name = spans.first().and_then(|span| lanes.lanes.get(span.lane as usize));
        let comma = if number > 0 { "," } else { "" };
        write!(
            to,
            "{comma}\n{{\"type\":\"evented\",\"name\":{},\"unit\":\"milliseconds\",\"startValue\":{},\"endValue\":{},\"events\":[",
            json!(name),
            json!(since(start)),
            json!(since(end))
        )?;
        let mut events = Events { to, any: false, begin };
        let mut open: Vec<&LaidSpan> = Vec::new();
        for span in spans {
            // The format requires opening and closing events in the order of time, with inner spans closed first.
            while let Some(ended) = open.pop_if(|inner| inner.end <= span.start) {
                events.write("C", ended.name, ended.end)?;
            }
            events.write("O", span.name, span.start)?;
            open.push(span);
        }
        while let Some(ended) = open.pop() {
            events.write("C", ended.name, ended.end)?;
        }
        write!(to, "]}}")?;
    }
    writeln!(to, "\n]}}")?;
    Ok(exported)
}

fn lane(lanes: &Lanes, position: u32) -> u32 {
    lanes.spans[position as usize].lane
}

struct Events<'w> {
    to: &'w mut dyn Write,
    any: bool,
    begin: u64,
}

impl Events<'_> {
    fn write(&mut self, kind: &str, frame: u32, at: u64) -> io::Result<()> {
        let comma = if self.any { "," } else { "" };
        self.any = true;
        let at_ms = json!((at - self.begin) as f64 / 1e6);
        write!(self.to, "{comma}{{\"type\":\"{kind}\",\"frame\":{frame},\"at\":{at_ms}}}")
    }
}
