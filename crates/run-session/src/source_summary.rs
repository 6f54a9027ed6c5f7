//! What the metadata of a source's files say, in the shapes that Hamilton's page knows.
//!
//! The page's table needs a row count and the missing values of every column. It draws a range without its mean, and
//! nothing where histogram and quantiles are empty.

use daglight_capture_policy::{Policy, free_key};
use daglight_materializers::{ColumnFacts, SourceFacts};
use datafusion::{
    arrow::{
        datatypes::DataType,
        util::display::{ArrayFormatter, FormatOptions},
    },
    common::ScalarValue,
};
use serde_json::{Map, Value, json};

use crate::{artifacts::known_only, hamilton_bounds, location::shown_location};

/// The value of a `dagworks_describe` attribute with the columns of which enough is known for the page: it computes with
/// the number of missing values.
pub(crate) fn describe(source: &SourceFacts) -> Option<Map<String, Value>> {
    // Without their number, a share of missing values would say nothing.
    let rows = source.rows?;
    let mut columns = Map::new();
    for (position, (field, facts)) in source.schema.fields().iter().zip(&source.columns).enumerate() {
        // Formats without statistics leave a column out, and do not say that nothing is missing.
        let Some(missing) = facts.missing else { continue };
        let (kind, range) = match range(facts) {
            Some((kind, min, max)) => {
                (kind, json!({ "min": min, "max": max, "quantiles": {}, "histogram": {} }))
            }
            None if is_text(field.data_type()) => ("str", json!({})),
            None => ("unhandled", json!({})),
        };
        let key = free_key(&columns, field.name().clone());
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

/// Where the rows come from, how many there are, and whether their summary `is_described` by these files.
pub(crate) fn locate(source: &SourceFacts, is_described: bool, policy: &Policy) -> Value {
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
        "data_summary": is_described.then_some("from the metadata of the files"),
        "columns_without_statistics": Some(not_described(source)).filter(|columns| !columns.is_empty()),
    }))
}

/// The least and the greatest value of a column of numbers or times.
fn range(facts: &ColumnFacts) -> Option<(&'static str, Value, Value)> {
    let (min, max) = (facts.min.as_ref()?, facts.max.as_ref()?);
    let (kind, least, greatest) = hamilton_bounds::bounds(min, max)?;
    Some((kind, in_own_zone(min).unwrap_or(least), in_own_zone(max).unwrap_or(greatest)))
}

/// A point in time with the offset of its column's zone: summaries have UTC. `None` for a column without a zone, and for
/// years that ISO 8601 has more digits for.
fn in_own_zone(value: &ScalarValue) -> Option<Value> {
    let DataType::Timestamp(_, Some(_)) = value.data_type() else { return None };
    let array = value.to_array().ok()?;
    let format = ArrayFormatter::try_new(array.as_ref(), &FormatOptions::default()).ok()?;
    let text = format.value(0).try_to_string().ok()?;
    let has_four_digits = text.find('-') == Some(4);
    has_four_digits.then(|| text.into())
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

    use daglight_materializers::{Unread, source_facts};
    use datafusion::{
        arrow::{
            array::*,
            datatypes::{Field, Schema, i256},
        },
        parquet::arrow::ArrowWriter,
        prelude::{ParquetReadOptions, SessionContext},
    };

    use super::*;

    fn source(columns: Vec<(&str, DataType, ColumnFacts)>) -> SourceFacts {
        let fields = columns.iter().map(|(name, data_type, _)| Field::new(*name, data_type.clone(), true));
        SourceFacts {
            schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
            locations: Vec::new(),
            places: Vec::new(),
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
        assert_eq!(column("day"), ("datetime".into(), json!("1994-08-23T00:00:00")));
        assert_eq!(column("name"), ("str".into(), Value::Null));
        assert_eq!(column("flag"), ("unhandled".into(), Value::Null));
        assert_eq!(column("void"), ("unhandled".into(), Value::Null));
    }

    /// A Parquet file with one column of each type, with a least and a greatest value and a missing one between.
    #[tokio::test]
    async fn bounds_of_files_have_the_unit_and_zone_of_their_column() {
        let second = 1_700_000_000_i64;
        let cases: Vec<(&str, ArrayRef, &str, Value, Value)> = vec![
            (
                "ns",
                Arc::new(TimestampNanosecondArray::from(vec![
                    Some(1_700_000_000_123_456_789),
                    None,
                    Some(1_700_000_001_000_000_001),
                ])),
                "datetime",
                json!("2023-11-14T22:13:20.123456789"),
                json!("2023-11-14T22:13:21.000000001"),
            ),
            (
                "us",
                Arc::new(TimestampMicrosecondArray::from(vec![Some(-1), None, Some(1_700_000_000_000_001)])),
                "datetime",
                json!("1969-12-31T23:59:59.999999"),
                json!("2023-11-14T22:13:20.000001"),
            ),
            (
                "ms",
                Arc::new(TimestampMillisecondArray::from(vec![Some(1), None, Some(1_700_000_000_500)])),
                "datetime",
                json!("1970-01-01T00:00:00.001"),
                json!("2023-11-14T22:13:20.500"),
            ),
            (
                "utc",
                Arc::new(
                    TimestampMicrosecondArray::from(vec![Some(0), None, Some(second * 1_000_000 + 1)])
                        .with_timezone("UTC"),
                ),
                "datetime",
                json!("1970-01-01T00:00:00Z"),
                json!("2023-11-14T22:13:20.000001Z"),
            ),
            (
                "berlin",
                Arc::new(
                    TimestampNanosecondArray::from(vec![Some(0), None, Some(1_720_000_000_000_000_001)])
                        .with_timezone("Europe/Berlin"),
                ),
                "datetime",
                json!("1970-01-01T01:00:00+01:00"),
                json!("2024-07-03T11:46:40.000000001+02:00"),
            ),
            (
                "offset",
                Arc::new(
                    TimestampMillisecondArray::from(vec![Some(0), None, Some(5)]).with_timezone("-03:30"),
                ),
                "datetime",
                json!("1969-12-31T20:30:00-03:30"),
                json!("1969-12-31T20:30:00.005-03:30"),
            ),
            (
                "date32",
                Arc::new(Date32Array::from(vec![Some(-1), None, Some(19_782)])),
                "datetime",
                json!("1969-12-31T00:00:00"),
                json!("2024-02-29T00:00:00"),
            ),
            (
                "date64",
                Arc::new(Date64Array::from(vec![Some(0), None, Some(86_400_000)])),
                "datetime",
                json!("1970-01-01T00:00:00"),
                json!("1970-01-02T00:00:00"),
            ),
            (
                "time32s",
                Arc::new(Time32SecondArray::from(vec![Some(1), None, Some(86_399)])),
                "numeric",
                json!(1.0),
                json!(86_399.0),
            ),
            (
                "time32ms",
                Arc::new(Time32MillisecondArray::from(vec![Some(1_500), None, Some(86_399_999)])),
                "numeric",
                json!(1.5),
                json!(86_399.999),
            ),
            (
                "time64us",
                Arc::new(Time64MicrosecondArray::from(vec![Some(1), None, Some(3_600_000_001)])),
                "numeric",
                json!(1e-6),
                json!(3_600.000_001),
            ),
            (
                "time64ns",
                Arc::new(Time64NanosecondArray::from(vec![Some(0), None, Some(1_000_000_001)])),
                "numeric",
                json!(0.0),
                json!(1.000_000_001),
            ),
            (
                "decimal",
                Arc::new(
                    Decimal128Array::from(vec![Some(-150), None, Some(250)])
                        .with_precision_and_scale(10, 2)
                        .unwrap(),
                ),
                "numeric",
                json!(-1.5),
                json!(2.5),
            ),
            (
                "wide",
                Arc::new(
                    Decimal256Array::from(vec![Some(i256::from(-150)), None, Some(i256::from(250))])
                        .with_precision_and_scale(50, 1)
                        .unwrap(),
                ),
                "numeric",
                json!(-15.0),
                json!(25.0),
            ),
            (
                "int8",
                Arc::new(Int8Array::from(vec![Some(-128), None, Some(127)])),
                "numeric",
                json!(-128),
                json!(127),
            ),
            (
                "uint64",
                Arc::new(UInt64Array::from(vec![Some(0), None, Some(u64::MAX)])),
                "numeric",
                json!(0),
                json!(u64::MAX),
            ),
            (
                "float32",
                Arc::new(Float32Array::from(vec![Some(-0.5), None, Some(1.5)])),
                "numeric",
                json!(-0.5),
                json!(1.5),
            ),
            (
                "duration",
                Arc::new(DurationMillisecondArray::from(vec![Some(-1_500), None, Some(2_000)])),
                "numeric",
                json!(-1.5),
                json!(2.0),
            ),
            (
                "text",
                Arc::new(StringArray::from(vec![Some("a"), None, Some("z")])),
                "str",
                Value::Null,
                Value::Null,
            ),
        ];
        let columns = cases.iter().map(|(name, column, ..)| (*name, Arc::clone(column), true));
        let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("types.parquet");
        let file = std::fs::File::create(&path).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let session = SessionContext::new();
        session
            .register_parquet("types", path.to_str().unwrap(), ParquetReadOptions::default())
            .await
            .unwrap();
        let described = describe(&source_facts(&session, "types").await.unwrap()).unwrap();
        for (name, column, kind, min, max) in cases {
            let found = &described[name];
            let shown = (&found["base_data_type"], &found["min"], &found["max"], &found["missing"]);
            assert_eq!(shown, (&json!(kind), &min, &max, &json!(1)), "{name}: {}", column.data_type());
        }
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
        let located = locate(&source, true, &Policy::of_profile(daglight_capture_policy::Profile::Dev));
        assert_eq!(located["columns_without_statistics"], json!(["list"]));
        assert_eq!(located["data_summary"], "from the metadata of the files");
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
