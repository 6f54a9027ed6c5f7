//! Whole summaries: every Arrow type, every cut of the rows, and exact results to compare with.

use std::sync::Arc;

use arrow::{
    array::*,
    buffer::{NullBuffer, OffsetBuffer, ScalarBuffer},
    compute::{cast, concat},
    datatypes::*,
};

use super::*;

/// A small generator of numbers without a pattern.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) ^ (self.0 << 7)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn maybe<T>(&mut self, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.below(10) == 0 { None } else { Some(value(self)) }
    }
}

fn summarize(array: &ArrayRef, cuts: &[usize], options: &SummaryOptions) -> ColumnSummary {
    let field = Field::new("c", array.data_type().clone(), true);
    let schema = Arc::new(Schema::new(vec![field]));
    let mut whole = Summarizer::new(&schema, options.clone());
    let mut part = Summarizer::new(&schema, options.clone());
    let mut start = 0;
    for end in cuts.iter().copied().chain([array.len()]) {
        let batch = RecordBatch::try_new(schema.clone(), vec![array.slice(start, end - start)]).unwrap();
        part.update(&batch);
        if end % 2 == 0 {
            whole.merge(std::mem::replace(&mut part, Summarizer::new(&schema, options.clone())));
        }
        start = end;
    }
    whole.merge(part);
    let summary = whole.finish();
    assert_eq!(summary.rows, array.len() as u64);
    assert_eq!(summary.columns.len(), 1);
    check_json(&summary);
    summary.columns.into_iter().next().unwrap()
}

/// Nothing but numbers that JSON has, and everything comes back.
#[track_caller]
fn check_json(summary: &DataSummary) {
    let text = serde_json::to_string(summary).unwrap();
    assert!(!text.contains("NaN") && !text.contains("inf\""), "{text}");
    let again = serde_json::from_str::<DataSummary>(&text).unwrap();
    again.columns.iter().zip(&summary.columns).for_each(|(found, expected)| check_same(found, expected));
}

fn summary_of(array: ArrayRef) -> ColumnSummary {
    summarize(&array, &[], &SummaryOptions::default())
}

#[track_caller]
fn distribution(summary: &ColumnSummary) -> &Distribution {
    match &summary.details {
        Details::Numeric(found)
        | Details::Datetime(found)
        | Details::Time(found)
        | Details::Duration(found) => found,
        other => panic!("no distribution: {other:?}"),
    }
}

/// Arrays of every type, with nulls, NaN, infinities and extreme values among their rows.
fn arrays_of_every_type(rows: usize) -> Vec<ArrayRef> {
    let mut random = Numbers(rows as u64);
    let mut integers = |modulus: u64| -> Vec<Option<i64>> {
        (0..rows)
            .map(|_| random.maybe(|random| (random.below(modulus) as i64).wrapping_sub((modulus / 2) as i64)))
            .collect()
    };
    let wide = Int64Array::from(
        integers(u64::MAX)
            .into_iter()
            .enumerate()
            .map(|(row, value)| if row == 3 { Some(i64::MIN) } else { value })
            .collect::<Vec<_>>(),
    );
    let narrow: ArrayRef = Arc::new(Int64Array::from(integers(100)));
    let wide: ArrayRef = Arc::new(wide);
    let mut arrays: Vec<ArrayRef> = vec![narrow.clone(), wide.clone()];
    for data_type in [
        DataType::Int8,
        DataType::Int16,
        DataType::Int32,
        DataType::Float16,
        DataType::Float32,
        DataType::Float64,
        DataType::Decimal32(9, 2),
        DataType::Decimal64(18, 0),
        DataType::Decimal128(38, 10),
        DataType::Decimal256(76, -2),
        DataType::Utf8,
        DataType::LargeUtf8,
        DataType::Utf8View,
        DataType::Date32,
        DataType::Boolean,
    ] {
        let narrow = if data_type == DataType::Date32 {
            cast(&narrow, &DataType::Int32).unwrap()
        } else {
            narrow.clone()
        };
        arrays.push(cast(&narrow, &data_type).unwrap());
    }
    let positive: ArrayRef = Arc::new(UInt64Array::from(
        integers(1 << 40).into_iter().map(|value| value.map(|value| value as u64)).collect::<Vec<_>>(),
    ));
    for data_type in [DataType::UInt8, DataType::UInt16, DataType::UInt32, DataType::UInt64] {
        arrays.push(cast(&positive, &data_type).unwrap());
    }
    for unit in [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond] {
        arrays.push(cast(&wide, &DataType::Timestamp(unit, None)).unwrap());
        arrays.push(cast(&narrow, &DataType::Timestamp(unit, Some("Europe/Berlin".into()))).unwrap());
        arrays.push(cast(&wide, &DataType::Duration(unit)).unwrap());
    }
    arrays.push(cast(&wide, &DataType::Date64).unwrap());
    arrays.push(cast(&wide, &DataType::Time64(TimeUnit::Nanosecond)).unwrap());
    arrays.push(cast(&wide, &DataType::Time64(TimeUnit::Microsecond)).unwrap());
    let narrow_32 = cast(&narrow, &DataType::Int32).unwrap();
    arrays.push(cast(&narrow_32, &DataType::Time32(TimeUnit::Second)).unwrap());
    arrays.push(cast(&narrow_32, &DataType::Time32(TimeUnit::Millisecond)).unwrap());
    arrays.push(cast(&narrow_32, &DataType::Interval(IntervalUnit::YearMonth)).unwrap());
    arrays.push(new_null_array(&DataType::Interval(IntervalUnit::DayTime), rows));
    arrays.push(new_null_array(&DataType::Interval(IntervalUnit::MonthDayNano), rows));
    arrays.push(Arc::new(NullArray::new(rows)));

    let odd =
        [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, -0.0, 0.0, f64::MIN_POSITIVE, 1.5];
    arrays.push(Arc::new((0..rows).map(|row| odd.get(row % 11).copied()).collect::<Float64Array>()));
    arrays.push(Arc::new((0..rows).map(|_| Some(f64::NAN)).collect::<Float64Array>()));

    let texts: Vec<Option<String>> = (0..rows)
        .map(|row| {
            (row % 7 != 0).then(|| ["", "a", "grün", "a much longer text than the rest"][row % 4].to_owned())
        })
        .collect();
    let texts: ArrayRef = Arc::new(StringArray::from(texts));
    for data_type in [DataType::Binary, DataType::LargeBinary, DataType::BinaryView] {
        arrays.push(cast(&texts, &data_type).unwrap());
    }
    for key in [DataType::Int8, DataType::UInt16, DataType::Int32, DataType::Int64] {
        arrays.push(cast(&texts, &DataType::Dictionary(Box::new(key), Box::new(DataType::Utf8))).unwrap());
    }
    arrays.push(
        cast(&narrow, &DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Int64))).unwrap(),
    );
    arrays.push(
        cast(&texts, &DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Binary))).unwrap(),
    );
    for ends in [DataType::Int16, DataType::Int32, DataType::Int64] {
        for values in [&texts, &narrow] {
            let ends = Arc::new(Field::new("run_ends", ends.clone(), false));
            let field = Arc::new(Field::new("values", values.data_type().clone(), true));
            arrays.push(cast(values, &DataType::RunEndEncoded(ends, field)).unwrap());
        }
    }
    arrays.push(Arc::new(
        FixedSizeBinaryArray::try_from_sparse_iter_with_size(
            (0..rows).map(|row| (row % 5 != 0).then_some([row as u8; 3])),
            3,
        )
        .unwrap(),
    ));

    let nulls: NullBuffer = (0..rows).map(|row| row % 6 != 1).collect();
    let items = Arc::new(Field::new("item", DataType::Int64, true));
    let lengths = || (0..rows).map(|row| row % 3);
    let total = lengths().sum::<usize>();
    let values: ArrayRef = Arc::new(Int64Array::from_iter_values((0..total).map(|value| value as i64)));
    let list = ListArray::new(
        items.clone(),
        OffsetBuffer::from_lengths(lengths()),
        values.clone(),
        Some(nulls.clone()),
    );
    let list: ArrayRef = Arc::new(list);
    for data_type in [
        DataType::LargeList(items.clone()),
        DataType::ListView(items.clone()),
        DataType::LargeListView(items.clone()),
    ] {
        arrays.push(cast(&list, &data_type).unwrap());
    }
    arrays.push(list);
    let pairs: ArrayRef = Arc::new(Int64Array::from_iter_values(0..2 * rows as i64));
    arrays.push(Arc::new(FixedSizeListArray::new(items, 2, pairs, Some(nulls.clone()))));
    let fields: Fields =
        vec![Field::new("n", DataType::Int64, true), Field::new("t", DataType::Utf8, true)].into();
    arrays.push(Arc::new(StructArray::new(fields, vec![narrow.clone(), texts.clone()], Some(nulls.clone()))));

    let entries: Fields =
        vec![Field::new("keys", DataType::Int64, false), Field::new("values", DataType::Int64, true)].into();
    let entries_array = StructArray::new(entries.clone(), vec![values.clone(), values], None);
    let entries = Arc::new(Field::new("entries", DataType::Struct(entries), false));
    arrays.push(Arc::new(MapArray::new(
        entries,
        OffsetBuffer::from_lengths(lengths()),
        entries_array,
        Some(nulls),
        false,
    )));

    let union_fields = || {
        UnionFields::try_new(
            [1, 4],
            [Field::new("number", DataType::Int64, true), Field::new("text", DataType::Utf8, true)],
        )
        .unwrap()
    };
    let type_ids: ScalarBuffer<i8> = (0..rows).map(|row| if row % 3 == 0 { 1 } else { 4 }).collect();
    let offsets: ScalarBuffer<i32> = (0..rows as i32).collect();
    let children = || vec![narrow.clone(), texts.clone()];
    arrays.push(Arc::new(UnionArray::try_new(union_fields(), type_ids.clone(), None, children()).unwrap()));
    arrays.push(Arc::new(UnionArray::try_new(union_fields(), type_ids, Some(offsets), children()).unwrap()));
    arrays
}

#[test]
fn every_type_is_summarised_or_said_to_be_unhandled() {
    for array in arrays_of_every_type(300) {
        let summary = summary_of(array.clone());
        let data_type = array.data_type();
        assert_eq!(summary.data_type, data_type.to_string());
        assert_eq!((summary.count, summary.unhandled_rows), (300, 0), "{data_type}");
        assert_eq!(summary.missing, array.logical_null_count() as u64, "{data_type}");
        let is_unhandled = matches!(summary.details, Details::Unhandled { .. });
        assert_eq!(is_unhandled, matches!(data_type, DataType::Null | DataType::Interval(_)), "{data_type}");
    }
}

#[test]
fn no_type_minds_empty_batches_or_columns_of_nulls() {
    for array in arrays_of_every_type(0) {
        let summary = summary_of(array);
        assert_eq!((summary.count, summary.missing, summary.unhandled_rows), (0, 0, 0));
    }
    for array in arrays_of_every_type(1) {
        let nulls = new_null_array(array.data_type(), 50);
        let summary = summary_of(nulls.clone());
        assert_eq!(
            (summary.count, summary.missing),
            (50, nulls.logical_null_count() as u64),
            "{}",
            array.data_type()
        );
    }
}

/// Equal but for the rounding of means and deviations.
#[track_caller]
fn check_same(found: &ColumnSummary, expected: &ColumnSummary) {
    fn rounded(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Number(number) => {
                if let Some(float) = number.as_f64().filter(|_| !number.is_i64() && !number.is_u64()) {
                    *value = format!("{float:.9e}").into();
                }
            }
            serde_json::Value::Array(items) => items.iter_mut().for_each(rounded),
            serde_json::Value::Object(entries) => entries.values_mut().for_each(rounded),
            _ => {}
        }
    }
    let [mut found, mut expected] = [found, expected].map(|summary| serde_json::to_value(summary).unwrap());
    rounded(&mut found);
    rounded(&mut expected);
    assert_eq!(found, expected);
}

#[test]
fn how_rows_are_cut_and_merged_does_not_matter() {
    for array in arrays_of_every_type(1500) {
        let whole = summary_of(array.clone());
        check_same(&summarize(&array, &[1, 2, 700, 700, 1001], &SummaryOptions::default()), &whole);
        // Offsets that are not at the border of a byte.
        let padded = concat(&[&array.slice(0, 13), &array, &array.slice(5, 9)]).unwrap();
        check_same(&summary_of(padded.slice(13, 1500)), &whole);
    }
}

#[track_caller]
fn check_numbers(array: ArrayRef, values: &[f64]) {
    let rows = array.len();
    let summary = summarize(&array, &[rows / 5, rows / 2], &SummaryOptions::default());
    let found = distribution(&summary);
    let number = |point: &Option<Point>| point.as_ref().and_then(Point::as_f64).unwrap();
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (least, greatest) = (sorted[0], sorted[sorted.len() - 1]);
    assert_eq!((number(&found.min), number(&found.max)), (least, greatest));
    // Compensated, so that the expectation is better than what is checked.
    let mut sum = (0.0, 0.0);
    for value in values {
        let next = sum.0 + (value - sum.1);
        sum.1 = (next - sum.0) - (value - sum.1);
        sum.0 = next;
    }
    let mean = sum.0 / values.len() as f64;
    let scale = values.iter().map(|value| value.abs()).sum::<f64>() / values.len() as f64;
    assert!(
        (number(&found.mean) - mean).abs() <= 1e-9 * mean.abs().max(1e-6 * scale),
        "mean {:?} {mean}",
        found.mean
    );
    let std =
        (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (values.len() - 1) as f64).sqrt();
    assert!((found.std.unwrap() - std).abs() <= 1e-9 * std, "std {:?} {std}", found.std);
    for quantile in &found.quantiles {
        let value = quantile.value.as_f64().unwrap();
        let tolerance = found.rank_error.unwrap_or(0.0) + 1.0 / values.len() as f64;
        let least = sorted.partition_point(|other| *other < value) as f64 / values.len() as f64;
        let greatest = sorted.partition_point(|other| *other <= value) as f64 / values.len() as f64;
        let fraction = quantile.fraction;
        assert!(
            least - tolerance <= fraction && fraction <= greatest + tolerance,
            "{fraction} {value} {least} {greatest}"
        );
    }
    assert_eq!(found.histogram.len(), 10);
    assert_eq!(found.histogram.iter().map(|bin| bin.count).sum::<u64>(), values.len() as u64);
    for bin in &found.histogram {
        let (from, to) = (bin.from.as_f64().unwrap(), bin.to.as_f64().unwrap());
        let exact = values.iter().filter(|value| from < **value && **value <= to).count() as f64;
        let error = (bin.count as f64 - exact).abs() / values.len() as f64;
        assert!(error <= 2.0 * found.rank_error.unwrap_or(0.0), "{bin:?} {exact}");
    }
}

#[test]
fn numbers_are_as_good_as_exact_ones() {
    // The last ones are too many to be kept.
    for rows in [2, 1000, 20_000, 1_000_100] {
        let mut random = Numbers(7);
        let integers: Vec<i64> = (0..rows).map(|_| random.below(1000) as i64 - 200).collect();
        let floats: Vec<f64> = integers.iter().map(|value| *value as f64).collect();
        check_numbers(Arc::new(Int64Array::from(integers.clone())), &floats);
        check_numbers(
            Arc::new(Int32Array::from_iter_values(integers.iter().map(|value| *value as i32))),
            &floats,
        );
        check_numbers(Arc::new(Float64Array::from(floats.clone())), &floats);
        let decimals =
            Decimal128Array::from_iter_values(integers.iter().map(|value| i128::from(*value) * 100));
        check_numbers(Arc::new(decimals.with_precision_and_scale(38, 2).unwrap()), &floats);
        let decimals = Decimal256Array::from_iter_values(
            integers.iter().map(|value| i256::from_i128(i128::from(*value) * 100)),
        );
        check_numbers(Arc::new(decimals.with_precision_and_scale(76, 2).unwrap()), &floats);

        let skewed: Vec<f64> = (0..rows).map(|_| (random.below(1 << 20) as f64 / 1e5).exp()).collect();
        check_numbers(Arc::new(Float64Array::from(skewed.clone())), &skewed);
        let close: Vec<f64> = (0..rows).map(|_| 1e9 + random.below(1 << 10) as f64 / 8_388_608.0).collect();
        let offsets: Vec<f64> = close.iter().map(|value| value - 1e9).collect();
        let summary = summary_of(Arc::new(Float64Array::from(close)));
        let expected = summary_of(Arc::new(Float64Array::from(offsets)));
        let stds = [summary, expected].map(|summary| distribution(&summary).std.unwrap());
        assert!((stds[0] - stds[1]).abs() <= 1e-9 * stds[1], "{stds:?}");
        let large: Vec<u64> = (0..rows).map(|_| u64::MAX - (random.below(1 << 20) << 12)).collect();
        let floats: Vec<f64> = large.iter().map(|value| *value as f64).collect();
        check_numbers(Arc::new(UInt64Array::from(large)), &floats);
        let any: Vec<i64> = (0..rows).map(|_| (random.next() as i64) >> 11 << 11).collect();
        let floats: Vec<f64> = any.iter().map(|value| *value as f64).collect();
        check_numbers(Arc::new(Int64Array::from(any)), &floats);
    }
}

#[test]
fn integers_beyond_what_a_float_holds_are_exact() {
    let summary = summary_of(Arc::new(Int64Array::from(vec![i64::MAX, i64::MIN, i64::MAX - 1])));
    let found = distribution(&summary);
    assert_eq!((&found.min, &found.max), (&Some(Point::Integer(i64::MIN)), &Some(Point::Integer(i64::MAX))));
    let summary = summary_of(Arc::new(UInt64Array::from(vec![0, u64::MAX])));
    let found = distribution(&summary);
    assert_eq!((&found.max, found.zeros), (&Some(Point::Unsigned(u64::MAX)), 1));

    let start = 1_700_000_000_000_000_000;
    let array =
        TimestampNanosecondArray::from_iter_values([start + 1, start + 3, start + 5]).with_timezone("UTC");
    let summary = summary_of(Arc::new(array));
    let found = distribution(&summary);
    assert_eq!(found.mean, Some(Point::Text("2023-11-14T22:13:20.000000003Z".into())));
    assert_eq!(found.std, Some(2e-9));
    assert_eq!(found.quantiles[2].value, found.mean.clone().unwrap());

    let digits = 99_999_999_999_999_999_999_999_999_999_999_999_999_i128;
    let decimals = Decimal128Array::from(vec![digits, -digits, 1]).with_precision_and_scale(38, 30).unwrap();
    let summary = summary_of(Arc::new(decimals));
    let found = distribution(&summary);
    assert_eq!(found.min, Some(Point::Text("-99999999.999999999999999999999999999999".into())));
    assert!((found.std.unwrap() - 1e8).abs() < 1.0);
}

#[test]
fn decimals_go_on_when_they_outgrow_64_bits() {
    let small: Vec<i128> = (0..3000).map(|row| i128::from(Numbers(row).next() as i64) >> 20).collect();
    let large: Vec<i128> = small.iter().map(|value| value << 70).collect();
    for values in [[small.clone(), large.clone()].concat(), [large, small].concat()] {
        let floats: Vec<f64> = values.iter().map(|value| *value as f64).collect();
        let array = Decimal128Array::from(values).with_precision_and_scale(38, 0).unwrap();
        check_numbers(Arc::new(array.clone()), &floats);
        check_numbers(cast(&array, &DataType::Decimal256(76, 0)).unwrap(), &floats);
        let summary = summary_of(Arc::new(array));
        let distinct = distribution(&summary).distinct_estimate;
        assert!((5_700..6_001).contains(&distinct), "{distinct}");
    }
}

#[test]
fn nan_is_counted_and_infinities_are_ends() {
    let values = vec![
        Some(f64::NAN),
        Some(1.0),
        None,
        Some(f64::INFINITY),
        Some(3.0),
        Some(f64::NEG_INFINITY),
        Some(-0.0),
    ];
    let summary = summary_of(Arc::new(Float64Array::from(values)));
    let found = distribution(&summary);
    assert_eq!((summary.count, summary.missing, found.nans, found.infinities, found.zeros), (7, 1, 1, 2, 1));
    let text = |text: &str| Some(Point::Text(text.to_owned()));
    assert_eq!((&found.min, &found.max, &found.mean), (&text("-Infinity"), &text("Infinity"), &None));
    let finite =
        FiniteValues { min: Point::Float(0.0), max: Point::Float(3.0), mean: Some(Point::Float(4.0 / 3.0)) };
    assert_eq!(found.finite.as_ref(), Some(&finite));
    let summary = summary_of(Arc::new(Float64Array::from(vec![1.0, 2.0, f64::INFINITY])));
    let found = distribution(&summary);
    assert_eq!((&found.min, &found.max), (&Some(Point::Float(1.0)), &text("Infinity")));
    assert_eq!((&found.mean, found.infinities), (&text("Infinity"), 1));
    let summary = summary_of(Arc::new(Float64Array::from(vec![f64::NEG_INFINITY])));
    let found = distribution(&summary);
    assert_eq!((&found.min, &found.max, &found.finite), (&text("-Infinity"), &text("-Infinity"), &None));
    let summary = summary_of(Arc::new(Float64Array::from(vec![f64::MAX, f64::MIN, 1.0])));
    assert_eq!(
        (&distribution(&summary).max, distribution(&summary).std),
        (&Some(Point::Float(f64::MAX)), None)
    );
    let summary = summary_of(Arc::new(Float32Array::from(vec![f32::NAN; 5])));
    assert_eq!(distribution(&summary), &Distribution { nans: 5, ..Distribution::default() });
}

#[test]
fn estimated_histograms_have_the_ends_in_their_bins() {
    let values = [0].into_iter().chain((0..1_500_000).map(|_| 500)).chain([1_000]);
    let floats: ArrayRef = Arc::new(values.clone().map(f64::from).map(Some).collect::<Float64Array>());
    let integers: ArrayRef = Arc::new(Int64Array::from_iter_values(values.map(i64::from)));
    for array in [floats, integers] {
        let summary = summary_of(array);
        let counts: Vec<u64> =
            distribution(&summary).histogram.iter().map(|bin| bin.count).filter(|count| *count > 0).collect();
        assert_eq!(counts, [1, 1_500_000, 1]);
    }
    let summary = summary_of(Arc::new(Int64Array::from(vec![7; 1_500_000])));
    assert_eq!(distribution(&summary).histogram.iter().filter(|bin| bin.count > 0).count(), 1);
}

#[test]
fn one_value_has_a_histogram_and_no_deviation() {
    let dates: ArrayRef = Arc::new(Date32Array::from(vec![19_782; 4]));
    let summary = summary_of(dates);
    let found = distribution(&summary);
    assert_eq!(found.std, Some(0.0));
    assert_eq!(found.histogram.iter().map(|bin| bin.count).max(), Some(4));
    assert_eq!(found.histogram[0].from.to_string(), "2024-02-28T12:00:00");
    assert_eq!(found.histogram[9].to.to_string(), "2024-02-29T12:00:00");
    let summary = summary_of(Arc::new(Int64Array::from(vec![7])));
    assert_eq!(distribution(&summary).std, None);
    assert_eq!(distribution(&summary).mean, Some(Point::Float(7.0)));
}

fn texts(values: impl IntoIterator<Item = Option<String>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<StringArray>())
}

#[test]
fn texts_that_repeat_are_a_category() {
    let values =
        (0..1000).map(|row| (row % 10 != 9).then(|| ["blau", "grün", "", "rot"][row % 4].to_owned()));
    let array = texts(values);
    let Details::Category(found) = summary_of(array.clone()).details else { panic!("no category") };
    assert_eq!((found.unique, found.top_count, found.lengths.empty), (4, 250, 250));
    let domain: Vec<(&str, u64)> = found.domain.iter().map(|entry| (&*entry.value, entry.count)).collect();
    assert_eq!(domain, [("", 250), ("blau", 250), ("grün", 200), ("rot", 200)]);
    assert_eq!((found.min.as_deref(), found.max.as_deref()), (Some(""), Some("rot")));
    assert_eq!((found.lengths.min, found.lengths.max), (Some(0), Some(4)));
    for data_type in [
        DataType::Utf8View,
        DataType::LargeUtf8,
        DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8View)),
    ] {
        let same = summary_of(cast(&array, &data_type).unwrap());
        assert_eq!(same.details, Details::Category(found.clone()), "{data_type}");
    }
}

#[test]
fn texts_that_do_not_repeat_are_not() {
    let summary = summary_of(texts((0..50_000).map(|row| Some(format!("customer {row:05}")))));
    let Details::Text(found) = summary.details else { panic!("no text") };
    assert_eq!(
        (found.min.as_deref(), found.max.as_deref()),
        (Some("customer 00000"), Some("customer 49999"))
    );
    assert!((47_500..52_500).contains(&found.distinct_estimate), "{}", found.distinct_estimate);
    assert_eq!((found.lengths.mean, found.lengths.std), (Some(14.0), Some(0.0)));
    assert_eq!(found.top_values, []);

    let summary = summary_of(texts(
        (0..10_000).map(|row| Some(format!("{}", if row % 2 == 0 { 0 } else { row % 600 }))),
    ));
    let Details::Text(found) = summary.details else { panic!("no text") };
    assert_eq!(found.distinct_estimate, 301);
    assert_eq!(found.top_values[0], ValueCount { value: "0".into(), count: 5_000 });
    assert_eq!(found.top_values.len(), 10);
}

#[test]
fn no_value_is_shown_where_none_may_be() {
    let options = SummaryOptions { values: false, text_min_max: false, ..SummaryOptions::default() };
    for array in [
        texts((0..100).map(|row| Some(format!("secret {}", row % 3)))),
        texts((0..5000).map(|row| Some(format!("secret {row}")))),
    ] {
        let summary = summarize(&array, &[50], &options);
        let text = serde_json::to_string(&summary).unwrap();
        assert!(!text.contains("secret"), "{text}");
    }
}

#[test]
fn shapes_of_nested_values() {
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([
        Some(vec![Some(1), None, Some(2)]),
        None,
        Some(vec![]),
    ]);
    let Details::Nested(Shape::List { item_type, lengths }) = summary_of(Arc::new(list)).details else {
        panic!("no list")
    };
    assert_eq!((&*item_type, lengths.min, lengths.max, lengths.empty), ("Int32", Some(0), Some(3), 1));
    let fields: Fields = vec![Field::new("n", DataType::Int64, true)].into();
    let nulls = NullBuffer::from(vec![true, false, true]);
    let structs =
        StructArray::new(fields, vec![Arc::new(Int64Array::from(vec![None, None, Some(1)]))], Some(nulls));
    let summary = summary_of(Arc::new(structs));
    let Details::Nested(Shape::Struct { fields }) = summary.details else { panic!("no struct") };
    assert_eq!((summary.missing, fields[0].missing), (1, 1));
}

#[test]
fn what_does_not_fit_the_schema_is_counted() {
    let schema =
        Schema::new(vec![Field::new("a", DataType::Int64, true), Field::new("b", DataType::Utf8, true)]);
    let mut summarizer = Summarizer::new(&schema, SummaryOptions::default());
    let batch = RecordBatch::try_from_iter([("a", texts([Some("x".into())]))]).unwrap();
    summarizer.update(&batch);
    let views: ArrayRef = Arc::new(StringViewArray::from(vec!["x"]));
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    summarizer.update(&RecordBatch::try_from_iter([("a", numbers), ("b", views)]).unwrap());
    let other = Schema::new(vec![Field::new("a", DataType::Boolean, true)]);
    let mut others = Summarizer::new(&other, SummaryOptions::default());
    others.update(
        &RecordBatch::try_from_iter([("a", Arc::new(BooleanArray::from(vec![true])) as ArrayRef)]).unwrap(),
    );
    summarizer.merge(others);
    let summary = summarizer.finish();
    assert_eq!(summary.rows, 3);
    let counts: Vec<(u64, u64)> =
        summary.columns.iter().map(|column| (column.count, column.unhandled_rows)).collect();
    assert_eq!(counts, [(1, 2), (1, 2)]);
}

#[test]
fn without_statistics_or_columns_rows_and_bytes_stay() {
    let batch =
        RecordBatch::try_from_iter([("a", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef)]).unwrap();
    let options = SummaryOptions { statistics: false, ..SummaryOptions::default() };
    let mut summarizer = Summarizer::new(&batch.schema(), options);
    summarizer.update(&batch);
    assert_eq!(summarizer.finish(), DataSummary { rows: 2, bytes: 16, statistics: false, columns: vec![] });

    let empty = RecordBatch::try_new_with_options(
        Arc::new(Schema::empty()),
        vec![],
        &RecordBatchOptions::new().with_row_count(Some(9)),
    );
    let mut summarizer = Summarizer::new(&Schema::empty(), SummaryOptions::default());
    summarizer.update(&empty.unwrap());
    assert_eq!(summarizer.finish().rows, 9);
}

#[test]
fn a_summarizer_can_move_between_threads() {
    fn is_send<T: Send + 'static>() {}
    is_send::<Summarizer>();
}

#[test]
fn partitions_of_an_output_share_the_memory_for_exact_values() {
    let rows = 1_000_000;
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values((0..rows).map(|row| row * 7_919 % rows)));
    let fields: Vec<(String, ArrayRef)> =
        (0..4).map(|number| (format!("c{number}"), Arc::clone(&column))).collect();
    let batch = RecordBatch::try_from_iter(fields).unwrap();
    let empty = Summarizer::new(&batch.schema(), SummaryOptions::default());
    let mut partitions = vec![empty.clone(); 3];
    for (number, start) in (0..batch.num_rows()).step_by(8_192).enumerate() {
        let length = 8_192.min(batch.num_rows() - start);
        partitions[number % 3].update(&batch.slice(start, length));
    }
    let mut whole = empty;
    partitions.into_iter().for_each(|partition| whole.merge(partition));
    for column in &whole.finish().columns {
        let found = distribution(column);
        assert_eq!(found.rank_error, None);
        let quantiles: Vec<f64> =
            found.quantiles.iter().map(|quantile| quantile.value.as_f64().unwrap()).collect();
        for (found, expected) in
            quantiles.iter().zip([99_999.9, 249_999.75, 499_999.5, 749_999.25, 899_999.1])
        {
            assert!((found - expected).abs() < 1e-6, "{found} instead of {expected}");
        }
        // The least value belongs to the first bin, as every upper edge to the bin below it.
        let bins: Vec<u64> = found.histogram.iter().map(|bin| bin.count).collect();
        assert_eq!(bins, [100_000; 10]);
    }
    // One value more is one too many.
    whole.update(&batch.slice(0, 1));
    assert_eq!(distribution(&whole.finish().columns[0]).rank_error, Some(0.01));
}

#[test]
fn columns_of_an_order_are_those_that_share_the_memory() {
    for array in arrays_of_every_type(3) {
        let field = Arc::new(arrow::datatypes::Field::new("x", array.data_type().clone(), true));
        let room = super::kept::Room::of_one_in(1);
        let column = super::column::Column::new(field, &SummaryOptions::default(), room);
        assert_eq!(
            column.values.keeps_values(),
            super::column::is_ordered(array.data_type()),
            "{}",
            array.data_type()
        );
    }
}
