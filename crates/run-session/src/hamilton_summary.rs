//! Data summaries and schemas in the shapes that Hamilton's page knows: `dagworks_describe`, version 3, and `schema`,
//! version 1.
//!
//! Each column has fields besides, which the bundle keeps and the page does not get ([`BUNDLE_ONLY_FIELDS`]).
//!
//! The page breaks as a whole when a column has a kind that it does not know, a date that a browser does not, or no
//! number where it expects one. Columns that it cannot show are `unhandled` there, which still shows their counts.

use std::collections::BTreeSet;

use chrono::{DurationRound as _, NaiveDateTime, TimeDelta};
use daglight_capture_policy::free_key;
use daglight_data_summary::{Category, ColumnSummary, DataSummary, Details, Distribution, Lengths, Point};
use daglight_run_bundle::BUNDLE_ONLY_FIELDS;
use datafusion::arrow::datatypes::Schema;
use serde_json::{Map, Value, json};

/// The value of a `dagworks_describe` attribute: an object with one entry for each column, with the fields for the bundle.
pub(crate) fn describe(summary: &DataSummary) -> Map<String, Value> {
    let mut columns = Map::new();
    for (position, column) in summary.columns.iter().enumerate() {
        // Results of joins have columns of one name, of which a JSON object would keep the last.
        columns.insert(free_key(&columns, column.name.clone()), describe_column(position, column));
    }
    columns
}

/// What stands in a `dagworks_describe` for a column that is not shown: its entry without values.
pub(crate) fn withheld_summary(name: &str, column: &Value) -> Value {
    let count = |key: &str| column[key].as_u64().unwrap_or(0);
    json!({
        "name": name,
        "pos": count("pos"),
        "data_type": column["data_type"].as_str().unwrap_or("-"),
        "count": count("count"),
        "missing": count("missing"),
        "base_data_type": "unhandled",
    })
}

/// What stands in a `schema` for a column that is not shown.
pub(crate) fn withheld_field(name: &str, field: &Value) -> Value {
    json!({
        "name": name,
        "type": field["type"].as_str().unwrap_or("-"),
        "nullable": field["nullable"].as_bool().unwrap_or(true),
        "metadata": {},
    })
}

/// The value of a `schema` attribute: an object with one entry for each field.
pub(crate) fn schema(schema: &Schema) -> Map<String, Value> {
    let mut fields = Map::new();
    for field in schema.fields() {
        let key = free_key(&fields, field.name().clone());
        let shape = json!({
            "name": key,
            "type": field.data_type().to_string(),
            "nullable": field.is_nullable(),
            "metadata": field.metadata(),
        });
        fields.insert(key, shape);
    }
    fields
}

fn describe_column(position: usize, column: &ColumnSummary) -> Value {
    let (kind, fields) = match &column.details {
        Details::Numeric(found) => ("numeric", numeric(found, Point::as_f64)),
        Details::Time(found) => ("numeric", numeric(found, seconds_since_midnight)),
        Details::Duration(found) => ("numeric", numeric(found, Point::as_f64)),
        Details::Datetime(found) => ("datetime", datetime(found)),
        Details::Boolean { true_count, .. } => ("boolean", boolean(*true_count)),
        Details::Category(found) => match category(found) {
            // Without a value that is shown it is not a category for the page, but a text like any other.
            Some(fields) => ("category", Some(fields)),
            None => ("str", text(&found.lengths)),
        },
        Details::Text(found) => ("str", text(&found.lengths)),
        _ => ("unhandled", None),
    };
    let (nans, infinities) = match &column.details {
        Details::Numeric(found) => (found.nans, found.infinities),
        _ => (0, 0),
    };
    let rank_error = match &column.details {
        Details::Numeric(found)
        | Details::Time(found)
        | Details::Duration(found)
        | Details::Datetime(found) => found.rank_error.filter(|_| fields.is_some()),
        _ => None,
    };
    let remark = remark(rank_error, nans, infinities);
    let mut value = Map::from_iter([
        ("name".to_owned(), column.name.clone().into()),
        ("pos".to_owned(), position.into()),
        ("data_type".to_owned(), marked(&column.data_type, remark.as_deref()).into()),
        ("count".to_owned(), column.count.into()),
        ("missing".to_owned(), column.missing.into()),
        ("base_data_type".to_owned(), if fields.is_some() { kind } else { "unhandled" }.into()),
    ]);
    value.extend(fields.unwrap_or_default());
    let [distinct, distinct_is_estimate, of_ranks, remarked] = BUNDLE_ONLY_FIELDS;
    if let Some((count, is_estimate)) = different_values(&column.details) {
        value.insert(distinct.to_owned(), count.into());
        value.insert(distinct_is_estimate.to_owned(), is_estimate.into());
    }
    if let Some(error) = rank_error {
        value.insert(of_ranks.to_owned(), error.into());
    }
    if let Some(remark) = remark {
        value.insert(remarked.to_owned(), remark.into());
    }
    Value::Object(value)
}

/// How many different values a column has, and whether that is an estimate.
fn different_values(details: &Details) -> Option<(u64, bool)> {
    match details {
        Details::Numeric(found)
        | Details::Datetime(found)
        | Details::Time(found)
        | Details::Duration(found) => Some((found.distinct_estimate, true)),
        Details::Boolean { true_count, false_count } => {
            Some((u64::from(*true_count > 0) + u64::from(*false_count > 0), false))
        }
        Details::Text(found) => Some((found.distinct_estimate, true)),
        Details::Category(found) => Some((found.unique, false)),
        Details::Binary { distinct_estimate, .. } => Some((*distinct_estimate, true)),
        _ => None,
    }
}

/// The type, with what is remarked on the figures. The page has no other place for it: it computes with all other fields, which
/// JSON has only finite numbers for.
fn marked(data_type: &str, remark: Option<&str>) -> String {
    remark.map_or_else(|| data_type.to_owned(), |remark| format!("{data_type} ({remark})"))
}

/// What is estimated, and what the figures leave out.
fn remark(rank_error: Option<f64>, nans: u64, infinities: u64) -> Option<String> {
    let counted = [(nans, "NaN"), (infinities, "infinite")].into_iter().filter(|(count, _)| *count > 0);
    let values = |count: u64| if count == 1 { "value" } else { "values" };
    let counted: Vec<String> =
        counted.map(|(count, what)| format!("{count} {what} {}", values(count))).collect();
    let left_out = (!counted.is_empty()).then(|| format!("figures leave out {}", counted.join(" and ")));
    let estimated =
        rank_error.map(|error| format!("histogram and quantiles: estimates, ±{} % of rows", error * 100.0));
    let remarks: Vec<String> = left_out.into_iter().chain(estimated).collect();
    (!remarks.is_empty()).then(|| remarks.join("; "))
}

pub(crate) type Fields = Option<Map<String, Value>>;

fn object(value: Value) -> Fields {
    match value {
        Value::Object(fields) => Some(fields),
        _ => None,
    }
}

pub(crate) fn numeric(found: &Distribution, number: impl Fn(&Point) -> Option<f64>) -> Fields {
    let quantiles: Option<Map<String, Value>> = found
        .quantiles
        .iter()
        .map(|quantile| Some((quantile.fraction.to_string(), number(&quantile.value)?.into())))
        .collect();
    let bins: Option<Vec<(f64, f64)>> =
        found.histogram.iter().map(|bin| Some((number(&bin.from)?, number(&bin.to)?))).collect();
    let bins = bins?;
    let (first, last) = (bins.first().map_or(0.0, |bin| bin.0), bins.last().map_or(0.0, |bin| bin.1));
    // One width for all: those of two bars differ in their last digit, and so would the digits of their labels.
    let width = (last - first) / bins.len() as f64;
    // The page reads the edges back out of the label.
    let mut labels: Vec<String> =
        bins.iter().map(|(from, to)| format!("({}, {}]", edge(*from, width), edge(*to, width))).collect();
    if labels.iter().collect::<BTreeSet<_>>().len() < labels.len() {
        // As floats their edges are the same; they themselves may have more digits.
        labels = found.histogram.iter().map(|bin| format!("({}, {}]", bin.from, bin.to)).collect();
    }
    let mut histogram = Map::new();
    // Two bars with one label are one: a JSON object has each key once, and the counts must still add up.
    for (label, bin) in labels.into_iter().zip(&found.histogram) {
        add(&mut histogram, label, bin.count);
    }
    let (min, max, mean) = match &found.finite {
        Some(finite) => (Some(&finite.min), Some(&finite.max), finite.mean.as_ref()),
        // Infinities alone have no range, and the page cannot draw one.
        None if found.infinities > 0 => (None, None, None),
        None => (found.min.as_ref(), found.max.as_ref(), found.mean.as_ref()),
    };
    object(json!({
        "zeros": found.zeros,
        "min": exact(min?, &number)?,
        "max": exact(max?, &number)?,
        "mean": number(mean?)?,
        "std": found.std,
        "quantiles": quantiles?,
        "histogram": histogram,
    }))
}

/// Integers keep all their digits.
fn exact(point: &Point, number: impl Fn(&Point) -> Option<f64>) -> Option<Value> {
    match point {
        Point::Integer(value) => Some((*value).into()),
        Point::Unsigned(value) => Some((*value).into()),
        other => number(other).map(Value::from),
    }
}

pub(crate) fn seconds_since_midnight(time: &Point) -> Option<f64> {
    let Point::Text(text) = time else { return None };
    let (sign, text) = text.strip_prefix('-').map_or((1.0, text.as_str()), |text| (-1.0, text));
    let parts: Option<Vec<f64>> = text.split(':').map(|part| part.parse().ok()).collect();
    Some(sign * parts?.into_iter().fold(0.0, |seconds, part| seconds * 60.0 + part))
}

/// An edge with as many digits as distinguish it from the next ones.
fn edge(value: f64, width: f64) -> String {
    // As many as distinguish the edges of one bar, and two more.
    let digits = 2.0 - width.log10().floor();
    if !(-15.0..=15.0).contains(&digits) || value.abs() >= 1e15 {
        return format!("{value:e}");
    }
    format!("{value:.places$}", places = digits.max(0.0) as usize)
}

fn add(histogram: &mut Map<String, Value>, label: String, count: u64) {
    let before = histogram.get(&label).and_then(Value::as_u64).unwrap_or(0);
    histogram.insert(label, (before + count).into());
}

pub(crate) fn datetime(found: &Distribution) -> Fields {
    let quantiles: Option<Map<String, Value>> = found
        .quantiles
        .iter()
        .map(|quantile| Some((quantile.fraction.to_string(), date(&quantile.value)?.into())))
        .collect();
    let mut histogram = Map::new();
    let edges: Option<Vec<(String, String)>> =
        found.histogram.iter().map(|bin| Some((date(&bin.from)?, date(&bin.to)?))).collect();
    for ((from, to), bin) in whole_seconds(edges?).into_iter().zip(&found.histogram) {
        // After the comma the page leaves a blank, with which browsers parse a date only if it has no `T`.
        let label = format!("({from}, {to}]").replace('T', " ");
        add(&mut histogram, label, bin.count);
    }
    object(json!({
        "zeros": found.zeros,
        "min": date(found.min.as_ref()?)?,
        "max": date(found.max.as_ref()?)?,
        "mean": date(found.mean.as_ref()?)?,
        "std": found.std,
        "quantiles": quantiles?,
        "histogram": histogram,
    }))
}

/// The edges of bars that are longer than a few seconds, in whole seconds: the nanoseconds between the least and the greatest value
/// come of dividing their distance by the number of bars. These two stay as they are.
fn whole_seconds(mut bars: Vec<(String, String)>) -> Vec<(String, String)> {
    const LEAST: TimeDelta = TimeDelta::seconds(10);
    let time = |text: &str| NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").ok();
    let is_long =
        |(from, to): &(String, String)| time(from).zip(time(to)).is_some_and(|(from, to)| to - from >= LEAST);
    if !bars.iter().all(is_long) {
        return bars;
    }
    let rounded = |text: &str| {
        let second = time(text)?.duration_round(TimeDelta::seconds(1)).ok()?;
        Some(second.format("%Y-%m-%dT%H:%M:%S").to_string())
    };
    for at in 1..bars.len() {
        if let Some(edge) = rounded(&bars[at].0) {
            bars[at - 1].1.clone_from(&edge);
            bars[at].0 = edge;
        }
    }
    bars
}

/// A text that every browser takes for a point in time. A date alone would be midnight in UTC, and shown as the day
/// before in America; with a time it is midnight where the reader is.
fn date(point: &Point) -> Option<String> {
    /// Browsers know 100,000,000 days around 1970.
    const YEARS: std::ops::RangeInclusive<i64> = -271_820..=275_759;
    let Point::Text(text) = point else { return None };
    let is_negative = text.starts_with('-');
    let year: i64 = text.trim_start_matches(['-', '+']).split('-').next()?.parse().ok()?;
    let is_known = YEARS.contains(&if is_negative { -year } else { year });
    is_known.then(|| if text.contains('T') { text.clone() } else { format!("{text}T00:00:00") })
}

/// The page shows `zeros` in the column that it calls "true", and the rest of the rows in the one called "false".
fn boolean(true_count: u64) -> Fields {
    object(json!({ "zeros": true_count }))
}

/// Nothing where the values may not be shown: the page wants one.
fn category(found: &Category) -> Fields {
    let top_value = &found.domain.first()?.value;
    let mut domain = Map::new();
    for entry in &found.domain {
        add(&mut domain, entry.value.clone(), entry.count);
    }
    object(json!({
        "empty": found.lengths.empty,
        "domain": domain,
        "top_value": top_value,
        "top_freq": found.top_count,
        "unique": found.unique,
    }))
}

fn text(lengths: &Lengths) -> Fields {
    object(json!({
        "avg_str_len": lengths.mean?,
        "std_str_len": lengths.std.unwrap_or(0.0),
        "empty": lengths.empty,
    }))
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, sync::Arc};

    use daglight_data_summary::{Summarizer, SummaryOptions};
    use datafusion::arrow::{
        array::*,
        datatypes::{DataType, Field, Int32Type, TimeUnit},
    };

    use super::*;

    fn described(array: ArrayRef, options: SummaryOptions) -> Value {
        let batch = RecordBatch::try_from_iter([("c", array)]).unwrap();
        let mut summarizer = Summarizer::new(&batch.schema(), options);
        summarizer.update(&batch);
        describe(&summarizer.finish())["c"].clone()
    }

    #[track_caller]
    fn check(array: ArrayRef, expected: Value) {
        let found = described(array, SummaryOptions::default());
        for (key, value) in expected.as_object().unwrap() {
            assert_eq!(&found[key], value, "{key} of {found}");
        }
    }

    #[test]
    fn numbers() {
        check(
            Arc::new(Int64Array::from(vec![Some(0), None, Some(10)])),
            json!({
                "name": "c", "pos": 0, "data_type": "Int64", "base_data_type": "numeric", "count": 3, "missing": 1,
                "zeros": 1, "min": 0, "max": 10, "mean": 5.0, "std": 50_f64.sqrt(),
                "quantiles": {"0.1": 1.0, "0.25": 2.5, "0.5": 5.0, "0.75": 7.5, "0.9": 9.0},
                "histogram": {
                    "(-0.01, 1.00]": 1, "(1.00, 2.00]": 0, "(2.00, 3.00]": 0, "(3.00, 4.00]": 0, "(4.00, 5.00]": 0,
                    "(5.00, 6.00]": 0, "(6.00, 7.00]": 0, "(7.00, 8.00]": 0, "(8.00, 9.00]": 0, "(9.00, 10.00]": 1,
                },
            }),
        );
        let decimals = Decimal128Array::from(vec![150, 250]).with_precision_and_scale(10, 2).unwrap();
        check(Arc::new(decimals), json!({"min": 1.5, "max": 2.5, "mean": 2.0, "base_data_type": "numeric"}));
        check(
            Arc::new(Float64Array::from(vec![Some(1.0), Some(f64::NAN), None])),
            json!({"missing": 1, "std": null, "max": 1.0, "data_type": "Float64 (figures leave out 1 NaN value)"}),
        );
        check(
            Arc::new(Float64Array::from(vec![1.0, f64::INFINITY, 2.0, f64::NAN])),
            json!({
                "missing": 0, "count": 4, "max": 2.0, "mean": 1.5, "base_data_type": "numeric",
                "data_type": "Float64 (figures leave out 1 NaN value and 1 infinite value)",
            }),
        );
        check(
            Arc::new(Float64Array::from(vec![f64::INFINITY])),
            json!({"base_data_type": "unhandled", "data_type": "Float64 (figures leave out 1 infinite value)"}),
        );
        check(Arc::new(Int64Array::from(vec![i64::MAX])), json!({"min": i64::MAX}));
        check(
            Arc::new(Time32SecondArray::from(vec![3_661, 7_322])),
            json!({"base_data_type": "numeric", "min": 3661.0, "max": 7322.0}),
        );
        check(Arc::new(DurationMillisecondArray::from(vec![-1_500])), json!({"min": -1.5}));
    }

    #[test]
    fn estimates_are_marked_as_such() {
        let exact = Int64Array::from_iter_values(0..999_981);
        let quantiles = json!({
            "0.1": 99_998.0, "0.25": 249_995.0, "0.5": 499_990.0, "0.75": 749_985.0, "0.9": 899_982.0,
        });
        check(Arc::new(exact), json!({"data_type": "Int64", "quantiles": quantiles}));
        let estimated = "(histogram and quantiles: estimates, ±1 % of rows)";
        check(Arc::new(UInt64Array::from(vec![7; 1_000_001])), json!({"data_type": "UInt64", "mean": 7.0}));
        check(
            Arc::new(Int64Array::from_iter_values(0..1_000_001)),
            json!({"data_type": format!("Int64 {estimated}"), "min": 0, "max": 1_000_000, "mean": 500_000.0}),
        );
        let days = Date32Array::from_iter_values((0..1_000_001).map(|day| day / 10));
        check(
            Arc::new(days),
            json!({"data_type": format!("Date32 {estimated}"), "base_data_type": "datetime"}),
        );
        let texts = StringArray::from_iter_values((0..20_000).map(|number| number.to_string()));
        check(Arc::new(texts), json!({"data_type": "Utf8"}));
    }

    #[test]
    fn bins_that_floats_cannot_distinguish_have_distinct_labels() {
        let first = 1_000_000_000_000_000_000_i64;
        let rows = 1_000_100;
        for column in [
            Arc::new(Int64Array::from_iter_values((0..rows).map(|row| first + row % 1_000))) as ArrayRef,
            Arc::new(UInt64Array::from_iter_values((0..rows).map(|row| u64::MAX - row as u64 % 1_000))),
            Arc::new(
                Decimal128Array::from_iter_values(
                    (0..rows).map(|row| i128::from(first) * 1_000 + i128::from(row % 1_000)),
                )
                .with_precision_and_scale(30, 2)
                .unwrap(),
            ),
            Arc::new(Int64Array::from_iter_values((0..1_000).map(|row| first + row))),
        ] {
            let found = described(column, SummaryOptions::default());
            let bins = found["histogram"].as_object().unwrap();
            let counts: u64 = bins.values().filter_map(Value::as_u64).sum();
            assert_eq!((bins.len(), counts), (10, found["count"].as_u64().unwrap()), "{found}");
        }
    }

    #[test]
    fn one_value_at_the_end_of_its_type_is_shown() {
        let one_bin = |array: ArrayRef| {
            let found = described(array.clone(), SummaryOptions::default());
            let bins = found["histogram"].as_object().cloned().unwrap_or_default();
            let counts: Vec<u64> =
                bins.values().filter_map(Value::as_u64).filter(|count| *count > 0).collect();
            assert_eq!(counts, [array.len() as u64], "{found}");
            let label = bins.iter().find(|(_, count)| count.as_u64() > Some(0)).unwrap().0.clone();
            let edges =
                label.trim_matches(['(', ']']).split_once(", ").map(|(a, b)| (a.to_owned(), b.to_owned()));
            let (from, to) = edges.unwrap();
            let number = |text: &str| text.parse::<f64>().unwrap();
            let value = found["min"].as_f64().unwrap();
            assert!(number(&from) <= value && value <= number(&to), "{label} in {found}");
            assert!(number(&to) - number(&from) <= (value.abs() / 1e3).max(1.0), "{label} in {found}");
        };
        one_bin(Arc::new(UInt64Array::from(vec![0, 0])));
        one_bin(Arc::new(UInt64Array::from(vec![u64::MAX; 3])));
        one_bin(Arc::new(UInt64Array::from(vec![1 << 63])));
        one_bin(Arc::new(Int64Array::from(vec![i64::MIN; 2])));
        one_bin(Arc::new(Int64Array::from(vec![i64::MAX; 2])));
        one_bin(Arc::new(Float64Array::from(vec![f64::MAX; 2])));
        one_bin(Arc::new(Float64Array::from(vec![f64::MIN; 2])));
        one_bin(Arc::new(UInt64Array::from(vec![7; 3])));
        one_bin(Arc::new(Float64Array::from(vec![-0.0])));
        let decimal = |value| Decimal128Array::from(vec![value; 2]).with_precision_and_scale(38, 0).unwrap();
        one_bin(Arc::new(decimal(10_i128.pow(38) - 1)));
        one_bin(Arc::new(decimal(1 - 10_i128.pow(38))));
        let span = Float64Array::from(vec![f64::MIN, f64::MAX]);
        check(Arc::new(span), json!({"base_data_type": "numeric", "mean": 0.0, "std": null}));
    }

    #[test]
    fn the_edges_of_a_histogram_have_as_many_digits_each() {
        let labels = |array: ArrayRef| -> Vec<String> {
            let found = described(array, SummaryOptions::default());
            found["histogram"].as_object().unwrap().keys().cloned().collect()
        };
        for array in [
            Arc::new(Int64Array::from(vec![7])) as ArrayRef,
            Arc::new(Float64Array::from(vec![0.1, 0.4, 1.1])),
            Arc::new(Float64Array::from(vec![1e-7, 3e-7])),
        ] {
            let labels = labels(array);
            let digits: BTreeSet<usize> = labels
                .iter()
                .flat_map(|label| label.trim_matches(['(', ']']).split(", "))
                .map(|edge| edge.split_once('.').map_or(0, |(_, digits)| digits.len()))
                .collect();
            assert_eq!((labels.len(), digits.len()), (10, 1), "{labels:?}");
        }
        let times = TimestampNanosecondArray::from_iter_values((1..2_001).map(|at| at * 1_000_000_000_007));
        let labels = labels(Arc::new(times));
        let inner = labels.iter().filter(|label| label.contains('.')).count();
        // The least value and the greatest have a fraction, and stand on one bar each.
        assert_eq!((labels.len(), inner), (10, 2), "{labels:?}");
    }

    #[test]
    fn dates_are_what_a_browser_parses() {
        check(
            Arc::new(Date32Array::from(vec![0, 10])),
            json!({
                "base_data_type": "datetime", "min": "1970-01-01T00:00:00", "max": "1970-01-11T00:00:00",
                "mean": "1970-01-06T00:00:00", "zeros": 1,
            }),
        );
        let found = described(Arc::new(Date32Array::from(vec![0, 10])), SummaryOptions::default());
        assert_eq!(found["histogram"]["(1970-01-10 00:00:00, 1970-01-11 00:00:00]"], 1, "{found}");
        check(
            Arc::new(TimestampSecondArray::from(vec![i64::MAX])),
            json!({"base_data_type": "unhandled", "count": 1, "min": null}),
        );
    }

    #[test]
    fn truth_values_and_texts() {
        let truths = BooleanArray::from(vec![true, true, false]);
        check(Arc::new(truths), json!({"base_data_type": "boolean", "count": 3, "zeros": 2}));
        check(
            Arc::new(StringArray::from(vec!["ab", "", "abcd"])),
            json!({"base_data_type": "str", "avg_str_len": 2.0, "std_str_len": 2.0, "empty": 1}),
        );
        let categories: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "a", "a"]));
        check(
            categories.clone(),
            json!({
                "base_data_type": "category", "top_value": "a", "top_freq": 3, "unique": 2, "empty": 0,
                "domain": {"a": 3, "b": 1},
            }),
        );
        let hidden = described(categories, SummaryOptions { values: false, ..SummaryOptions::default() });
        assert_eq!(hidden["base_data_type"], "str");
        assert_eq!(hidden["top_value"], Value::Null);
    }

    #[test]
    fn what_the_page_cannot_show_is_unhandled() {
        for array in [
            new_null_array(&DataType::Int64, 2),
            new_null_array(&DataType::Timestamp(TimeUnit::Second, None), 2),
            new_null_array(&DataType::Utf8, 2),
            new_null_array(&DataType::Null, 2),
            Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1)]), None])),
            Arc::new(BinaryArray::from(vec![&b"x"[..], b"y"])),
            Arc::new(Float32Array::from(vec![f32::NAN, f32::INFINITY])),
        ] {
            check(array, json!({"base_data_type": "unhandled", "count": 2, "min": null}));
        }
    }

    #[test]
    fn schemas_keep_every_field() {
        let metadata = HashMap::from([("unit".to_owned(), "m".to_owned())]);
        let fields = vec![
            Field::new("id", DataType::Int64, false),
            Field::new("id", DataType::Utf8, true).with_metadata(metadata),
        ];
        assert_eq!(
            Value::Object(schema(&Schema::new(fields))),
            json!({
                "id": {"name": "id", "type": "Int64", "nullable": false, "metadata": {}},
                "id (2)": {"name": "id (2)", "type": "Utf8", "nullable": true, "metadata": {"unit": "m"}},
            })
        );
    }
}
