//! What the tracker is told of a node that ended, in the order in which the page shows it.

use daglight_capture_policy::{Captured, Policy};
use daglight_materializers::{SourceFacts, Written, schema_hash};
use daglight_tracker_client::{Attribute, AttributeKind, AttributeRole};
use datafusion::{arrow::datatypes::DataType, common::ScalarValue};
use serde_json::{Map, Value, json};

use crate::{
    hamilton_summary::{self, withheld_field, withheld_summary},
    node_scope::{NodeFacts, QueryFacts},
};

/// The attributes of a node. `error` is what ended it, as lines.
pub(crate) fn attributes(facts: &NodeFacts, error: Option<&[String]>, policy: &Policy) -> Vec<Attribute> {
    let mut attributes = Vec::new();
    let mut add = |name: &str, kind, role, value: Captured| {
        attributes.push(Attribute::new(name, kind, role, value));
    };
    if let Some(lines) = error {
        add("stack_trace", AttributeKind::Error, AttributeRole::Error, policy.capture_stack(lines));
    }
    if let Some((kind, value)) = data_summary(facts, policy) {
        add("data_summary", kind, AttributeRole::ResultSummary, value);
    }
    if let Some(schema) = &facts.schema {
        let fields = policy.capture_columns(hamilton_summary::schema(schema), withheld_field);
        add("schema", AttributeKind::Schema, AttributeRole::ResultSummary, fields);
    }
    for written in &facts.written {
        let name = if facts.written.len() == 1 {
            "artifact".to_owned()
        } else {
            format!("artifact {}", written.name)
        };
        add(
            &name,
            AttributeKind::Dict,
            AttributeRole::ArtifactLink,
            policy.capture(artifact(written, &facts.queries)),
        );
    }
    if !facts.queries.is_empty() {
        let queries: Map<String, Value> = facts
            .queries
            .iter()
            .map(|query| (format!("query {}", query.id), describe_query(query)))
            .collect();
        add(
            "queries",
            AttributeKind::Dict,
            AttributeRole::ResourceUtilization,
            policy.capture(Value::Object(queries)),
        );
    }
    let recorded = facts.recorded.iter().map(|(name, value)| {
        let kind = if value.as_value().is_object() { AttributeKind::Dict } else { AttributeKind::Primitive };
        Attribute::new(name, kind, AttributeRole::ResultSummary, value.clone())
    });
    attributes.extend(recorded);
    attributes
}

/// The summary of the rows that passed; else what the files of a source say; else why there is none.
fn data_summary(facts: &NodeFacts, policy: &Policy) -> Option<(AttributeKind, Captured)> {
    if !policy.data_statistics() {
        return Some((
            AttributeKind::Dict,
            policy.capture(json!({
                "data_statistics": "disabled by the capture policy",
                "rows": facts.rows,
                "bytes": facts.bytes,
            })),
        ));
    }
    if let Some(summary) = &facts.summary {
        let columns = policy.capture_columns(hamilton_summary::describe(summary), withheld_summary);
        return Some((AttributeKind::DagworksDescribe, columns));
    }
    if let Some(source) = &facts.source {
        return Some((AttributeKind::Dict, policy.capture(describe_source(source, policy))));
    }
    let view = facts.written.iter().find(|written| written.rows.is_none())?;
    Some((
        AttributeKind::Dict,
        policy.capture(json!({
            "rows": Value::Null,
            "columns": view.schema.fields().len(),
            "note": "a view has no rows of its own: its query runs inside those that read it",
        })),
    ))
}

fn describe_source(source: &SourceFacts, policy: &Policy) -> Value {
    let columns: Map<String, Value> = source
        .schema
        .fields()
        .iter()
        .zip(&source.columns)
        .map(|(field, facts)| {
            let shown = |value: &Option<ScalarValue>| {
                value
                    .as_ref()
                    .filter(|value| policy.text_min_max() || is_number_or_time(&value.data_type()))
                    .map(to_json)
            };
            let column = json!({
                "type": field.data_type().to_string(),
                "missing": facts.missing,
                "min": shown(&facts.min),
                "max": shown(&facts.max),
            });
            (field.name().clone(), column)
        })
        .collect();
    json!({
        "rows": source.rows,
        "files": source.files.map(|files| files.count),
        "bytes": source.files.map(|files| files.bytes),
        "locations": source.locations,
        "columns": columns,
        "note": "from the metadata of the files; no row was read for it",
    })
}

fn is_number_or_time(data_type: &DataType) -> bool {
    data_type.is_numeric() || data_type.is_temporal()
}

/// Finite numbers as numbers, everything else as text.
fn to_json(value: &ScalarValue) -> Value {
    let text = value.to_string();
    let number = value.data_type().is_numeric().then(|| serde_json::from_str::<Value>(&text).ok()).flatten();
    number.filter(Value::is_number).unwrap_or(Value::String(text))
}

fn artifact(written: &Written, queries: &[QueryFacts]) -> Value {
    json!({
        "name": written.name,
        "materialization": written.materialization.name(),
        "location": written.location,
        "rows": written.rows,
        "bytes": written.files.map(|files| files.bytes),
        "files": written.files.map(|files| files.count),
        "columns": written.schema.fields().len(),
        "schema_hash": schema_hash(&written.schema),
        "plan_signature": plan_signature(queries),
        "written_at": written.written_at.to_rfc3339(),
    })
}

/// The plan hash of the query that wrote, or of the last one.
pub(crate) fn plan_signature(queries: &[QueryFacts]) -> Option<String> {
    let writing = queries.iter().rev().find(|query| query.is_write);
    writing.or(queries.last()).map(|query| query.plan_hash.clone())
}

fn describe_query(query: &QueryFacts) -> Value {
    let milliseconds = |duration: std::time::Duration| (duration.as_secs_f64() * 1e6).round() / 1e3;
    let busiest: Map<String, Value> = query
        .busiest
        .iter()
        .enumerate()
        .map(|(rank, (name, busy))| {
            (format!("{} {name}", rank + 1), format!("{} ms", milliseconds(*busy)).into())
        })
        .collect();
    json!({
        "operation": query.operation,
        "outcome": query.outcome,
        "rows": query.rows,
        "bytes_scanned": query.bytes_scanned,
        "bytes_written": query.bytes_written,
        "planning_ms": milliseconds(query.planning),
        "wall_ms": milliseconds(query.wall_time),
        "plan_hash": query.plan_hash,
        "source_tables": query.source_tables,
        "busiest_operators": busiest,
        "plan_file": query.plan_file,
    })
}
