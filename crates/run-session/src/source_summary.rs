//! What the metadata of a source's files say, in the shapes that Hamilton's page knows.
//!
//! The page's table needs a row count and the missing values of every column. It draws a range without its mean, and
//! nothing where histogram and quantiles are empty.

use chrono::{DateTime, Datelike as _, SecondsFormat};
use daglight_capture_policy::Policy;
use daglight_materializers::{ColumnFacts, SourceFacts};
use datafusion::{
    arrow::datatypes::{DataType, TimeUnit},
    common::ScalarValue,
};
use serde_json::{Map, Value, json};

use crate::{artifacts::known_only, hamilton_summary, location::shown_location};

/// The value of a `dagworks_describe` attribute with the columns of which enough is known for the page: it computes with
/// the number of missing values.
pub(crate) fn describe(source: &SourceFacts) -> Option<Map<String, Value>> {
    let rows = source.rows?;
    let mut columns = Map::new();
    for (position, (field, facts)) in source.schema.fields().iter().zip(&source.columns).enumerate() {
        let Some(missing) = facts.missing else { continue };
        let (kind, range) = match range(facts) {
            Some((kind, min, max)) => {
                (kind, json!({ "min": min, "max": max, "quantiles": {}, "histogram": {} }))
            }
            None if is_text(field.data_type()) => ("str", json!({})),
            None => ("unhandled", json!({})),
        };
        let key = hamilton_summary::free_key(&columns, field.name());
        let mut column = json!({
            "name": key,
            "pos": position,
            "data_type": field.data_type().to_string(),
            "count": rows,
            "missing": missing,
            "base_data_type": kind,
        });
        if let (Value::Object(column), Value::Object(range)) = (&mut column, range) {
            column.extend(range);
        }
        columns.insert(key, column);
    }
    (!columns.is_empty()).then_some(columns)
}

/// Why a source has no summary.
pub(crate) fn why_not_described(source: &SourceFacts) -> String {
    let what = match (source.unread, source.rows) {
        (Some(unread), _) => {
            return format!("the metadata of its files were not read for a summary: {unread}");
        }
        (None, None) => "how many rows they hold, and none",
        (None, Some(_)) => "how many values are missing in any column, and no row",
    };
    format!("its files do not say {what} was read for a summary")
}

/// The columns that a summary leaves out, because their files do not say how many values are missing.
fn not_described(source: &SourceFacts) -> Vec<&str> {
    let fields = source.schema.fields().iter().zip(&source.columns);
    let unknown = fields.filter(|(_, facts)| facts.missing.is_none());
    unknown.map(|(field, _)| field.name().as_str()).collect()
}

/// Where the rows come from, and how many there are.
pub(crate) fn locate(source: &SourceFacts, policy: &Policy) -> Value {
    let shown = |location: &String| shown_location(location, policy);
    let locations: Vec<String> = source.locations.iter().filter_map(shown).collect();
    known_only(json!({
        "location": match locations.as_slice() {
            [] => Value::Null,
            [one] => one.as_str().into(),
            several => several.into(),
        },
        "rows": source.rows,
        "bytes": source.files.as_ref().map(|files| files.bytes()),
        "files": source.files.as_ref().map(|files| files.count()),
        "columns": source.schema.fields().len(),
        "columns_without_statistics": Some(not_described(source)).filter(|columns| !columns.is_empty()),
    }))
}

/// The least and the greatest value of a column of numbers or times.
fn range(facts: &ColumnFacts) -> Option<(&'static str, Value, Value)> {
    let (min, max) = (facts.min.as_ref()?, facts.max.as_ref()?);
    match min.data_type() {
        kind if kind.is_numeric() => Some(("numeric", number(min)?, number(max)?)),
        DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => {
            Some(("datetime", time(min)?, time(max)?))
        }
        _ => None,
    }
}

fn number(value: &ScalarValue) -> Option<Value> {
    let wanted = match value.data_type() {
        DataType::UInt64 => DataType::UInt64,
        kind if kind.is_integer() => DataType::Int64,
        _ => DataType::Float64,
    };
    match value.cast_to(&wanted).ok()? {
        ScalarValue::Int64(value) => value.map(Value::from),
        ScalarValue::UInt64(value) => value.map(Value::from),
        ScalarValue::Float64(value) => value.filter(|value| value.is_finite()).map(Value::from),
        _ => None,
    }
}

/// A time as browsers read it, which takes a year of four digits.
fn time(value: &ScalarValue) -> Option<Value> {
    let milliseconds = value.cast_to(&DataType::Timestamp(TimeUnit::Millisecond, None)).ok()?;
    let ScalarValue::TimestampMillisecond(Some(milliseconds), _) = milliseconds else { return None };
    let time = DateTime::from_timestamp_millis(milliseconds)?;
    (0..=9999).contains(&time.year()).then(|| time.to_rfc3339_opts(SecondsFormat::AutoSi, true).into())
}

fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use daglight_materializers::Unread;
    use datafusion::arrow::datatypes::{Field, Schema};

    use super::*;

    fn source(columns: Vec<(&str, DataType, ColumnFacts)>) -> SourceFacts {
        let fields = columns.iter().map(|(name, data_type, _)| Field::new(*name, data_type.clone(), true));
        SourceFacts {
            schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
            locations: Vec::new(),
            files: None,
            rows: Some(10),
            unread: None,
            columns: columns.into_iter().map(|(.., facts)| facts).collect(),
        }
    }

    fn facts(missing: Option<u64>, min: Option<ScalarValue>, max: Option<ScalarValue>) -> ColumnFacts {
        ColumnFacts { missing, min, max }
    }

    #[test]
    fn ranges_are_shown_by_kind() {
        let known = |value: ScalarValue| facts(Some(1), Some(value.clone()), Some(value));
        let day = ScalarValue::Date32(Some(9_000));
        let source = source(vec![
            ("id", DataType::Int64, known(ScalarValue::Int64(Some(i64::MAX)))),
            ("price", DataType::Decimal128(15, 2), known(ScalarValue::Decimal128(Some(1250), 15, 2))),
            ("day", DataType::Date32, known(day)),
            ("name", DataType::Utf8View, known(ScalarValue::Utf8View(Some("x".into())))),
            ("flag", DataType::Boolean, known(ScalarValue::Boolean(Some(true)))),
            ("void", DataType::Float64, facts(Some(10), None, None)),
        ]);
        let described = describe(&source).unwrap();
        let column = |name: &str| {
            let column = &described[name];
            assert_eq!((&column["count"], column["missing"].is_u64()), (&json!(10), true), "{column}");
            (column["base_data_type"].as_str().unwrap().to_owned(), column["min"].clone())
        };
        assert_eq!(column("id"), ("numeric".into(), json!(i64::MAX)));
        assert_eq!(column("price"), ("numeric".into(), json!(12.5)));
        assert_eq!(column("day"), ("datetime".into(), json!("1994-08-23T00:00:00Z")));
        assert_eq!(column("name"), ("str".into(), Value::Null));
        assert_eq!(column("flag"), ("unhandled".into(), Value::Null));
        assert_eq!(column("void"), ("unhandled".into(), Value::Null));
    }

    #[test]
    fn a_column_of_which_little_is_known_takes_no_other_with_it() {
        let one = Some(ScalarValue::Int64(Some(1)));
        let source = source(vec![
            ("list", DataType::new_list(DataType::Int64, true), facts(None, None, None)),
            ("x", DataType::Int64, facts(Some(0), one.clone(), one)),
            ("void", DataType::Null, facts(Some(10), None, None)),
        ]);
        let described = describe(&source).unwrap();
        let names: Vec<&String> = described.keys().collect();
        assert_eq!(names, ["x", "void"]);
        assert_eq!((&described["x"]["pos"], &described["x"]["max"]), (&json!(1), &json!(1)));
        let located = locate(&source, &Policy::of_profile(daglight_capture_policy::Profile::Dev));
        assert_eq!(located["columns_without_statistics"], json!(["list"]));
    }

    #[test]
    fn files_that_do_not_count_give_no_table() {
        let unknown = source(vec![("id", DataType::Int64, facts(None, None, None))]);
        assert_eq!(describe(&unknown), None);
        assert_eq!(describe(&SourceFacts { rows: None, ..source(Vec::new()) }), None);
        assert_eq!(describe(&source(Vec::new())), None);
        let why = |rows, unread| why_not_described(&SourceFacts { rows, unread, ..source(Vec::new()) });
        let many = "the metadata of its files were not read for a summary: it has more than 1000 files";
        assert_eq!(why(None, Some(Unread::TooManyFiles)), many);
        assert!(why(None, None).contains("how many rows they hold"));
        assert!(why(Some(1), None).contains("missing in any column, and no row was read"));
    }
}
