//! What of a bundle is SQL, and the bundle without it.

use std::io::{self, BufRead as _, BufReader, BufWriter, Read, Write};

use daglight_run_bundle::{BundlePart, MAX_LINE_BYTES, MAX_PLAN_BYTES};
use serde_json::Value;

/// The attribute of spans with the text of a query, by the conventions of OpenTelemetry.
const QUERY_TEXT: &str = "db.query.text";
/// The fields of a plan file that hold SQL, plans, their literals, or rows.
const PLAN_FIELDS: [&str; 6] =
    ["sql", "logical_plan", "optimized_plan", "physical_plan", "detail", "preview"];

/// What stands for a line that cannot be read. It cannot be read either.
const UNREADABLE: &[u8] = b"a damaged line was left out\n";

/// Whether a file is left out: it holds code, plans or values of the data in places that cannot be distinguished.
pub(crate) fn is_left_out(path: &str) -> bool {
    matches!(BundlePart::of(path), BundlePart::Tracker | BundlePart::Report | BundlePart::DataSummaries)
}

/// Whether a file is packed without a part of it.
pub(crate) fn is_changed(path: &str) -> bool {
    matches!(BundlePart::of(path), BundlePart::Plan | BundlePart::Traces)
}

/// Writes the content of a file without the SQL in it. A line that is not JSON is
/// replaced, since nobody can say what is in it, and whoever unpacks the file must see that it was damaged.
pub(crate) fn strip(path: &str, from: impl Read, to: impl Write) -> io::Result<()> {
    let mut to = BufWriter::new(to);
    if BundlePart::of(path) == BundlePart::Plan {
        let mut text = Vec::new();
        from.take(MAX_PLAN_BYTES).read_to_end(&mut text)?;
        // What cannot be parsed is left out as a whole: the half of a plan that a crash has left may be all SQL.
        if let Ok(mut plan) = serde_json::from_slice(&text) {
            strip_plan(&mut plan);
            serde_json::to_writer(&mut to, &plan)?;
        }
        return to.flush();
    }
    let mut lines = BufReader::new(from);
    loop {
        let mut line = Vec::new();
        if (&mut lines).take(MAX_LINE_BYTES).read_until(b'\n', &mut line)? == 0 {
            return to.flush();
        }
        match serde_json::from_slice(&line) {
            Ok(mut spans) => {
                strip_attributes(&mut spans);
                serde_json::to_writer(&mut to, &spans)?;
                to.write_all(b"\n")?;
            }
            Err(_) => to.write_all(UNREADABLE)?,
        }
    }
}

fn strip_plan(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            // By the name of the field at any depth, so that one that moves within the format stays hidden.
            fields.retain(|name, _| !PLAN_FIELDS.contains(&name.as_str()));
            fields.values_mut().for_each(strip_plan);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_plan),
        _ => {}
    }
}

fn strip_attributes(value: &mut Value) {
    match value {
        Value::Object(fields) => fields.values_mut().for_each(strip_attributes),
        Value::Array(items) => {
            // An attribute of OTLP/JSON is `{"key": ..., "value": ...}` in a list, wherever it stands: on spans,
            // events, links and resources alike.
            items.retain(|item| item.get("key").and_then(Value::as_str) != Some(QUERY_TEXT));
            items.iter_mut().for_each(strip_attributes);
        }
        _ => {}
    }
}
