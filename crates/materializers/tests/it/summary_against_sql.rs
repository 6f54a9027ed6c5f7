//! Data summaries compared with exact results that DataFusion computes by SQL over the same rows.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, Float64Array, RecordBatch},
    compute::cast,
    datatypes::{DataType, Float64Type, Int64Type},
};
use daglight_data_summary::{
    ColumnSummary, DataSummary, Details, Distribution, Point, Summarizer, SummaryOptions,
};
use datafusion::{
    physical_plan::execute_stream_partitioned,
    prelude::{SessionConfig, SessionContext},
};
use futures::TryStreamExt;

/// Rows of every kind of column, skewed, sparse and with ties, without a file.
const ROWS: &str = "
    CREATE TABLE t AS
    SELECT
        value AS id,
        CASE WHEN value % 11 <> 0 THEN value * value % 1009 - 500 END AS number,
        CAST(value % 256 AS TINYINT UNSIGNED) AS small,
        CASE WHEN value % 7 <> 0 THEN exp(value * 7919 % 100003 / 10000.0) END AS skewed,
        CAST(1e9 + value * 31 % 1000 / 1000.0 AS DOUBLE) AS narrow,
        CAST(value * 37 % 10007 / 8.0 AS REAL) AS real_number,
        CAST(value * 104729 % 1000003 AS DECIMAL(15, 2)) / 100 AS price,
        CAST(value * 104729 % 1000003 AS DECIMAL(38, 10)) * CAST(12345678901.0000000001 AS DECIMAL(38, 10)) AS wide,
        CAST(value * 13 % 20000 AS INT) AS day_number,
        arrow_cast(CAST(value * 13 % 20000 AS INT), 'Date32') AS day,
        arrow_cast(1700000000000000000 + value * 15485863 % 86400000000007, 'Timestamp(ns)') AS instant,
        arrow_cast(value * 32452843 % 86400000000, 'Time64(µs)') AS time_of_day,
        value % 3 = 0 AS flag,
        CASE WHEN value % 13 <> 0 THEN 'category ' || CAST(value % 17 AS TEXT) END AS category,
        'customer ' || CAST(value * 48271 % 30011 AS TEXT) AS customer,
        CASE WHEN value % 5 = 0 THEN '' ELSE repeat('ä', value % 40) END AS phrase
    FROM generate_series(1, 60000) AS series(value)";

struct Exact {
    context: SessionContext,
    summary: DataSummary,
}

impl Exact {
    /// The rows, and their summary made by one summarizer for each partition.
    async fn new() -> Self {
        let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(3));
        context.sql(ROWS).await.unwrap().collect().await.unwrap();
        let plan = context.sql("SELECT * FROM t").await.unwrap().create_physical_plan().await.unwrap();
        let schema = plan.schema();
        let mut merged = Summarizer::new(&schema, SummaryOptions::default());
        for mut stream in execute_stream_partitioned(plan, context.task_ctx()).unwrap() {
            let mut partition = Summarizer::new(&schema, SummaryOptions::default());
            while let Some(batch) = stream.try_next().await.unwrap() {
                partition.update(&batch);
            }
            merged.merge(partition);
        }
        Self { context, summary: merged.finish() }
    }

    fn column(&self, name: &str) -> &ColumnSummary {
        self.summary.columns.iter().find(|column| column.name == name).unwrap()
    }

    fn distribution(&self, name: &str) -> &Distribution {
        match &self.column(name).details {
            Details::Numeric(found) | Details::Datetime(found) | Details::Time(found) => found,
            other => panic!("{name} has no distribution: {other:?}"),
        }
    }

    /// The first row of a query.
    async fn row(&self, select: &str) -> RecordBatch {
        let batches =
            self.context.sql(&format!("SELECT {select} FROM t")).await.unwrap().collect().await.unwrap();
        batches[0].slice(0, 1)
    }

    async fn counts(&self, select: &str) -> Vec<u64> {
        let row = self.row(select).await;
        row.columns().iter().map(|column| column.as_primitive::<Int64Type>().value(0) as u64).collect()
    }

    async fn floats(&self, select: &str) -> Vec<f64> {
        let row = self.row(select).await;
        let float = |column: &ArrayRef| {
            cast(column, &DataType::Float64).unwrap().as_primitive::<Float64Type>().value(0)
        };
        row.columns().iter().map(float).collect()
    }

    async fn texts(&self, select: &str) -> Vec<String> {
        let row = self.row(select).await;
        let text =
            |column: &ArrayRef| cast(column, &DataType::Utf8).unwrap().as_string::<i32>().value(0).to_owned();
        row.columns().iter().map(text).collect()
    }

    async fn check_counts(&self, name: &str) {
        let counts = self.counts(&format!("count(*), count(*) - count({name})")).await;
        let column = self.column(name);
        assert_eq!(vec![column.count, column.missing], counts, "{name}");
        assert_eq!(column.unhandled_rows, 0, "{name}");
    }

    /// Moments of numbers.
    async fn check_moments(&self, name: &str) {
        let found = self.distribution(name);
        let zeros = self.counts(&format!("count(*) FILTER (WHERE {name} = 0)")).await;
        assert_eq!(vec![found.zeros], zeros, "zeros of {name}");
        let exact = self.floats(&format!("min({name}), max({name}), avg(CAST({name} AS DOUBLE))")).await;
        let number = |point: &Option<Point>| point.as_ref().and_then(Point::as_f64).unwrap();
        let ends = [number(&found.min), number(&found.max)];
        if self.column(name).data_type.starts_with("Decimal") {
            // The engine's floats of decimals are not the nearest ones. Their digits are compared elsewhere.
            check_close(ends[0], exact[0], &format!("min of {name}"));
            check_close(ends[1], exact[1], &format!("max of {name}"));
        } else {
            assert_eq!(ends[..], exact[..2], "{name}");
        }
        check_close(number(&found.mean), exact[2], &format!("mean of {name}"));
        // Centred first, so that the expectation itself is precise.
        let variance = format!(
            "sum(power(CAST({name} AS DOUBLE) - {mean:?}, 2)) / (count({name}) - 1)",
            mean = exact[2]
        );
        check_close(found.std.unwrap(), self.floats(&variance).await[0].sqrt(), &format!("std of {name}"));
    }

    /// Quantiles, by the ranks of the values that were found. `literal` writes a point in SQL.
    async fn check_quantiles(&self, name: &str, literal: impl Fn(&Point) -> String) {
        let found = self.distribution(name);
        assert_eq!(
            found.quantiles.iter().map(|quantile| quantile.fraction).collect::<Vec<_>>(),
            [0.1, 0.25, 0.5, 0.75, 0.9]
        );
        for quantile in &found.quantiles {
            let value = literal(&quantile.value);
            let select = format!(
                "CAST(count(*) FILTER (WHERE {name} < {value}) AS DOUBLE) / count({name}), \
                 CAST(count(*) FILTER (WHERE {name} <= {value}) AS DOUBLE) / count({name})"
            );
            let ranks = self.floats(&select).await;
            let fraction = quantile.fraction;
            assert!(
                ranks[0] - 0.01 <= fraction && fraction <= ranks[1] + 0.01,
                "{name}: {value} has ranks {ranks:?}, not {fraction}"
            );
        }
        let (rows, binned) = (self.column(name), found.histogram.iter().map(|bin| bin.count).sum::<u64>());
        assert_eq!((found.histogram.len(), binned), (10, rows.count - rows.missing), "{name}");
    }

    async fn check_distinct(&self, name: &str, estimate: u64) {
        let exact = self.counts(&format!("count(DISTINCT {name})")).await[0];
        let error = (estimate as f64 - exact as f64).abs() / exact as f64;
        assert!(error < 0.05, "{estimate} different values of {name}, not {exact}");
    }
}

#[track_caller]
fn check_close(found: f64, exact: f64, what: &str) {
    assert!((found - exact).abs() <= 1e-9 * exact.abs(), "{what}: {found}, not {exact}");
}

#[tokio::test]
async fn summaries_agree_with_sql() {
    let exact = Exact::new().await;
    assert_eq!(exact.summary.rows, 60_000);
    for column in &exact.summary.columns {
        exact.check_counts(&column.name).await;
    }
    for name in ["id", "number", "small", "skewed", "narrow", "real_number", "price", "wide", "day_number"] {
        exact.check_moments(name).await;
        exact.check_quantiles(name, |point| format!("CAST({point} AS DOUBLE)")).await;
        exact.check_distinct(name, exact.distribution(name).distinct_estimate).await;
    }
}

#[tokio::test]
async fn decimals_and_times_are_exact_to_the_last_digit() {
    let exact = Exact::new().await;
    for (name, data_type) in [
        ("price", ""),
        ("wide", ""),
        ("day", "Date32"),
        ("instant", "Timestamp(ns)"),
        ("time_of_day", "Time64(µs)"),
    ] {
        let found = exact.distribution(name);
        let ends: Vec<String> =
            [&found.min, &found.max].map(|point| point.as_ref().unwrap().to_string()).into();
        assert_eq!(ends, exact.texts(&format!("min({name}), max({name})")).await, "{name}");
        if !data_type.is_empty() {
            exact.check_quantiles(name, |point| literal(point, data_type)).await;
            exact.check_distinct(name, found.distinct_estimate).await;
        }
    }
    let instant = exact.distribution("instant");
    let start = 1_700_000_000_000_000_000_i64;
    let offset = format!("CAST(arrow_cast(instant, 'Int64') - {start} AS DOUBLE)");
    let mean = exact.floats(&format!("avg({offset})")).await[0];
    let variance = format!("sum(power({offset} - {mean:?}, 2)) / (count(*) - 1)");
    check_close(instant.std.unwrap(), exact.floats(&variance).await[0].sqrt() / 1e9, "std of instant");
    let found = format!("arrow_cast('{}', 'Timestamp(ns)')", instant.mean.as_ref().unwrap());
    let found = exact.counts(&format!("arrow_cast({found}, 'Int64') - {start}")).await[0];
    assert!((found as f64 - mean).abs() <= 1.0, "mean of instant: {found}, not {mean}");
}

/// Dates between two days are timestamps in a summary.
fn literal(point: &Point, data_type: &str) -> String {
    let text = point.to_string();
    match data_type {
        "Date32" => format!("arrow_cast('{text}', 'Timestamp(ms)')"),
        _ => format!("arrow_cast('{text}', '{data_type}')"),
    }
}

#[tokio::test]
async fn texts_and_truth_values_agree_with_sql() {
    let exact = Exact::new().await;
    let Details::Boolean { true_count, false_count } = exact.column("flag").details else {
        panic!("not a truth value")
    };
    let counts = exact.counts("count(*) FILTER (WHERE flag), count(*) FILTER (WHERE NOT flag)").await;
    assert_eq!(vec![true_count, false_count], counts);

    let Details::Category(category) = &exact.column("category").details else { panic!("not a category") };
    assert_eq!(vec![category.unique], exact.counts("count(DISTINCT category)").await);
    for entry in &category.domain {
        let count = exact.counts(&format!("count(*) FILTER (WHERE category = '{}')", entry.value)).await;
        assert_eq!(vec![entry.count], count, "{}", entry.value);
    }
    let ends = vec![category.min.clone().unwrap(), category.max.clone().unwrap()];
    assert_eq!(ends, exact.texts("min(category), max(category)").await);

    let Details::Text(customer) = &exact.column("customer").details else { panic!("not a text") };
    exact.check_distinct("customer", customer.distinct_estimate).await;
    let ends = vec![customer.min.clone().unwrap(), customer.max.clone().unwrap()];
    assert_eq!(ends, exact.texts("min(customer), max(customer)").await);

    let Details::Category(phrase) = &exact.column("phrase").details else { panic!("not a category") };
    let lengths = &phrase.lengths;
    let length = "character_length(phrase)";
    let counts = exact.counts(&format!("CAST(min({length}) AS BIGINT), CAST(max({length}) AS BIGINT), count(*) FILTER (WHERE phrase = '')")).await;
    assert_eq!(vec![lengths.min.unwrap(), lengths.max.unwrap(), lengths.empty], counts);
    let moments = exact.floats(&format!("avg({length}), stddev({length})")).await;
    check_close(lengths.mean.unwrap(), moments[0], "mean length");
    check_close(lengths.std.unwrap(), moments[1], "std of lengths");
}

#[tokio::test]
async fn the_same_rows_give_the_same_summary() {
    assert_eq!(Exact::new().await.summary, Exact::new().await.summary);
}

/// What is not finite is not missing, and the ends and the mean are those of SQL.
#[tokio::test]
async fn infinities_are_shown_as_sql_shows_them() {
    let (infinity, least) = (f64::INFINITY, f64::NEG_INFINITY);
    for values in [vec![1.0, 2.0, infinity], vec![least, 5.0], vec![least, 0.0, infinity], vec![infinity]] {
        let column: ArrayRef = Arc::new(Float64Array::from(values.clone()));
        let batch = RecordBatch::try_from_iter([("x", column)]).unwrap();
        let mut summarizer = Summarizer::new(&batch.schema(), SummaryOptions::default());
        summarizer.update(&batch);
        let context = SessionContext::new();
        context.register_batch("t", batch).unwrap();
        let exact = Exact { context, summary: summarizer.finish() };
        exact.check_counts("x").await;
        let found = exact.distribution("x");
        let number = |point: &Option<Point>| point.as_ref().and_then(Point::as_f64);
        let sql = exact.floats("min(x), max(x), avg(x)").await;
        assert_eq!([number(&found.min), number(&found.max)], [Some(sql[0]), Some(sql[1])], "{values:?}");
        assert_eq!(number(&found.mean), Some(sql[2]).filter(|mean| !mean.is_nan()), "{values:?}");
        let infinite = values.iter().filter(|value| value.is_infinite()).count() as u64;
        assert_eq!((found.infinities, found.nans), (infinite, 0));
    }
}
