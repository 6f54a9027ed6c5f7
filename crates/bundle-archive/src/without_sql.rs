//! Which parts of a bundle are SQL, and the bundle without them.

use std::io::{self, BufWriter, Read, Write};

use daglight_run_bundle::{
    BundlePart, JsonLine, JsonLines, MAX_PLAN_BYTES, Manifest, NumberedLine, SQL_FIELDS,
};
use daglight_semantic_conventions::key::{DB_QUERY_TEXT, PROCESS_COMMAND_LINE};
use serde_json::Value;

use crate::{
    error_texts,
    names::{Names, without_literals},
};

/// Attributes that are SQL. The command line has the statements of `--command` and the values of `--param`.
const WITH_SQL: [&str; 2] = [DB_QUERY_TEXT, PROCESS_COMMAND_LINE];

/// The replacement for an unreadable line, which is unreadable, too.
const UNREADABLE: &[u8] = b"a damaged line was left out\n";

/// Whether a file is left out: it contains code, plans or values from the data in places that cannot be separated.
pub(crate) fn is_left_out(path: &str) -> bool {
    matches!(
        BundlePart::of(path),
        BundlePart::Tracker | BundlePart::Report | BundlePart::DataSummaries | BundlePart::Progress
    )
}

/// Whether a file is packed without some of its content.
pub(crate) fn is_changed(path: &str) -> bool {
    // Log records quote statements, columns are named after expressions, and each resource may have the command line.
    matches!(
        BundlePart::of(path),
        BundlePart::Plan
            | BundlePart::Traces
            | BundlePart::Metrics
            | BundlePart::Logs
            | BundlePart::Artifacts
    )
}

/// Writes the content of a file without the SQL in it. A line that is not JSON, or is longer than the limit, is replaced: its
/// contents are unknown, and after unpacking it must be visible that the line was damaged.
pub(crate) fn strip(path: &str, from: impl Read, to: impl Write) -> io::Result<()> {
    let mut to = BufWriter::new(to);
    let strip_document: fn(&mut Value) = match BundlePart::of(path) {
        BundlePart::Plan => |plan| {
            Names::new().of_plan(plan);
            strip_plan(plan);
        },
        BundlePart::Artifacts => |artifacts| Names::new().of_artifacts(artifacts),
        _ => return strip_lines(from, to),
    };
    let mut text = Vec::new();
    from.take(MAX_PLAN_BYTES).read_to_end(&mut text)?;
    // If it cannot be parsed, it is left out completely: half a plan from a crash may be all SQL.
    if let Ok(mut document) = serde_json::from_slice(&text) {
        strip_document(&mut document);
        serde_json::to_writer(&mut to, &document)?;
    }
    to.flush()
}

fn strip_lines(from: impl Read, mut to: impl Write) -> io::Result<()> {
    let mut lines = JsonLines::of(from);
    while let Some(NumberedLine { line, .. }) = lines.next_with(|line| serde_json::from_str(line))? {
        match line {
            JsonLine::Value(mut spans) => {
                strip_attributes(&mut spans);
                error_texts::of_signals(&mut spans);
                without_literals(&mut spans);
                serde_json::to_writer(&mut to, &spans)?;
                to.write_all(b"\n")?;
            }
            JsonLine::Damaged { .. } | JsonLine::Torn => to.write_all(UNREADABLE)?,
        }
    }
    to.flush()
}

/// A manifest without the texts of its errors, checks and warnings.
pub(crate) fn strip_manifest(manifest: &Manifest) -> serde_json::Result<Manifest> {
    let mut fields = serde_json::to_value(manifest)?;
    error_texts::of_manifest(&mut fields);
    strip_parameters(&mut fields);
    serde_json::from_value(fields)
}

/// The prefix of the tags for parameters.
const PARAMETERS: &str = "param.";
/// The replacement for the value of a parameter, the same as for a literal.
const PARAMETER: &str = "?";

/// The values of parameters take the place of literals in a script. Their names are kept.
fn strip_parameters(manifest: &mut Value) {
    let tags = manifest.pointer_mut("/identity/tags").and_then(Value::as_object_mut);
    for (name, value) in tags.into_iter().flatten() {
        if name.starts_with(PARAMETERS) {
            *value = PARAMETER.into();
        }
    }
}

fn strip_plan(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            // By the name of the field at any depth, so that a field that moves within the format stays hidden.
            fields.retain(|name, _| !SQL_FIELDS.contains(&name.as_str()));
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
            // An attribute of OTLP/JSON is `{"key": ..., "value": ...}` in a list, wherever it occurs: in spans, events, links and
            // resources alike.
            items.retain(|item| {
                !item.get("key").and_then(Value::as_str).is_some_and(|key| WITH_SQL.contains(&key))
            });
            items.iter_mut().for_each(strip_attributes);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use daglight_run_bundle::MAX_LINE_BYTES;

    use super::*;

    #[test]
    fn values_of_parameters_are_literals_of_the_script() {
        let mut manifest = serde_json::json!({
            "identity": {"tags": {"param.region": "north", "param.": "x", "parameter": "a", "repo": "b"}},
        });
        strip_parameters(&mut manifest);
        let expected = serde_json::json!({"param.region": "?", "param.": "?", "parameter": "a", "repo": "b"});
        assert_eq!(manifest["identity"]["tags"], expected);
    }

    #[test]
    fn the_rest_of_a_line_that_is_too_long_is_not_a_line() {
        let rest = &b"{\"attributes\": \"the rest of it\"}\n{\"next\": 1}\n"[..];
        let from = io::repeat(b' ').take(MAX_LINE_BYTES + 1).chain(rest);
        let mut to = Vec::new();
        strip("otel_traces.json", from, &mut to).unwrap();
        assert_eq!(to, [UNREADABLE, b"{\"next\":1}\n"].concat());
    }
}
