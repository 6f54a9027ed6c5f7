//! Metrics as Prometheus families, by the rules of the OpenTelemetry specification (`compatibility/prometheus_and_openmetrics.md`):
//! names include units, `target` has the resource attributes, and labels have the scope.

use std::collections::{BTreeMap, btree_map};

use daglight_run_identity::hexadecimal;
use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{InstrumentationScope, KeyValue, any_value::Value},
    metrics::v1::{
        Exemplar as OtlpExemplar, HistogramDataPoint, Metric as OtlpMetric, NumberDataPoint, exemplar,
        metric::Data, number_data_point,
    },
};

use crate::door::Exportable;

/// Series with the same name.
#[derive(Debug)]
pub(crate) struct Family {
    /// The name without the suffix of its samples.
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) help: String,
    pub(crate) series: Vec<Series>,
}

/// The type of the series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
    /// Labels of the process, without a value.
    Info,
}

/// The current value of a series, with its labels sorted by name.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) value: SeriesValue,
}

#[derive(Debug)]
pub(crate) enum SeriesValue {
    Number(f64),
    Histogram(Buckets),
}

/// The counts of a histogram.
#[derive(Debug)]
pub(crate) struct Buckets {
    pub(crate) count: u64,
    pub(crate) sum: f64,
    /// Sorted by bound; the last one has no bound.
    pub(crate) buckets: Vec<Bucket>,
}

/// Everything up to a bound.
#[derive(Debug)]
pub(crate) struct Bucket {
    pub(crate) bound: f64,
    pub(crate) count: u64,
    pub(crate) exemplar: Option<Exemplar>,
}

/// A single measurement, and the span to which it belongs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Exemplar {
    pub(crate) trace_id: String,
    pub(crate) span_id: String,
    pub(crate) value: f64,
    pub(crate) seconds_since_epoch: f64,
}

impl Family {
    /// The name of its samples; for a histogram, without the suffixes that distinguish them.
    pub(crate) fn sample(&self) -> String {
        sample_name(&self.name, self.kind)
    }
}

fn sample_name(family: &str, kind: Kind) -> String {
    match kind {
        Kind::Counter => format!("{family}_total"),
        Kind::Info => format!("{family}_info"),
        Kind::Gauge | Kind::Histogram => family.to_owned(),
    }
}

/// The families in the order of their sample names. Exponential histograms and summaries, which we do not use, are left out.
pub(crate) fn families(metrics: &Exportable<ExportMetricsServiceRequest>) -> Vec<Family> {
    let mut families = BTreeMap::new();
    for resource in &metrics.get().resource_metrics {
        let attributes = resource.resource.iter().flat_map(|resource| &resource.attributes);
        let target = Series { labels: labels(attributes, []), value: SeriesValue::Number(1.0) };
        add(&mut families, "target".to_owned(), "The resource", Kind::Info, target);
        for scope in &resource.scope_metrics {
            let of_scope = scope_labels(scope.scope.as_ref());
            for metric in &scope.metrics {
                add_metric(&mut families, metric, &of_scope);
            }
        }
    }
    families.into_values().collect()
}

/// By the names of their samples.
type Families = BTreeMap<String, Family>;
type ScopeLabels = [(String, String); 2];

fn add_metric(families: &mut Families, metric: &OtlpMetric, scope: &ScopeLabels) {
    let mut add = |kind, attributes: &[KeyValue], value| {
        let series = Series { labels: labels(attributes, scope.clone()), value };
        add(families, name(metric, kind), &metric.description, kind, series);
    };
    let mut add_numbers = |kind, points: &[NumberDataPoint]| {
        points.iter().for_each(|point| add(kind, &point.attributes, SeriesValue::Number(number(point))));
    };
    match &metric.data {
        Some(Data::Gauge(gauge)) => add_numbers(Kind::Gauge, &gauge.data_points),
        Some(Data::Sum(sum)) if sum.is_monotonic => add_numbers(Kind::Counter, &sum.data_points),
        // A sum that can decrease is a gauge in Prometheus.
        Some(Data::Sum(sum)) => add_numbers(Kind::Gauge, &sum.data_points),
        Some(Data::Histogram(histogram)) => {
            for point in &histogram.data_points {
                add(Kind::Histogram, &point.attributes, SeriesValue::Histogram(buckets(point)));
            }
        }
        Some(Data::ExponentialHistogram(_) | Data::Summary(_)) | None => {}
    }
}

fn add(families: &mut Families, name: String, help: &str, kind: Kind, series: Series) {
    let family = families.entry(sample_name(&name, kind)).or_insert_with(|| Family {
        name,
        kind,
        help: help.to_owned(),
        series: Vec::new(),
    });
    // Two scopes of a program may use one name for different things, but the text format has one type per name.
    if family.kind == kind {
        family.series.push(series);
    }
}

fn number(point: &NumberDataPoint) -> f64 {
    match point.value {
        Some(number_data_point::Value::AsDouble(value)) => value,
        Some(number_data_point::Value::AsInt(value)) => value as f64,
        None => f64::NAN,
    }
}

fn buckets(point: &HistogramDataPoint) -> Buckets {
    let bounds = point.explicit_bounds.iter().copied().chain([f64::INFINITY]);
    let mut below = 0_u64;
    let mut least = f64::NEG_INFINITY;
    let buckets = bounds.zip(&point.bucket_counts).map(|(bound, count)| {
        // In Prometheus, each bucket includes the lower ones.
        below = below.saturating_add(*count);
        let is_in = |exemplar: &Exemplar| exemplar.value > least && exemplar.value <= bound;
        let exemplar = point.exemplars.iter().filter_map(exemplar_of).find(is_in);
        least = bound;
        Bucket { bound, count: below, exemplar }
    });
    Buckets { buckets: buckets.collect(), count: point.count, sum: point.sum.unwrap_or(f64::NAN) }
}

fn exemplar_of(exemplar: &OtlpExemplar) -> Option<Exemplar> {
    let value = match exemplar.value? {
        exemplar::Value::AsDouble(value) => value,
        exemplar::Value::AsInt(value) => value as f64,
    };
    Some(Exemplar {
        trace_id: hexadecimal(&exemplar.trace_id),
        span_id: hexadecimal(&exemplar.span_id),
        value,
        seconds_since_epoch: exemplar.time_unix_nano as f64 / 1e9,
    })
}

/// The name with its unit.
fn name(metric: &OtlpMetric, kind: Kind) -> String {
    let mut name = valid_name(&metric.name);
    if kind == Kind::Counter
        && let Some(without) = name.strip_suffix("_total")
    {
        // The suffix comes after the unit, and is added to each sample.
        name.truncate(without.len());
    }
    let unit = unit_in_words(&metric.unit, kind);
    if !unit.is_empty() && name.split('_').all(|part| part != unit) {
        name = format!("{name}_{unit}");
    }
    name
}

/// A UCUM unit by its Prometheus name; text in braces is an annotation, not a unit.
fn unit_in_words(unit: &str, kind: Kind) -> String {
    match unit {
        "s" => "seconds".to_owned(),
        "ms" => "milliseconds".to_owned(),
        "us" => "microseconds".to_owned(),
        "ns" => "nanoseconds".to_owned(),
        "By" => "bytes".to_owned(),
        "KiBy" => "kibibytes".to_owned(),
        "MiBy" => "mebibytes".to_owned(),
        "%" => "percent".to_owned(),
        "1" if kind == Kind::Gauge => "ratio".to_owned(),
        "" | "1" => String::new(),
        unit if unit.starts_with('{') => String::new(),
        unit => valid_name(unit),
    }
}

fn scope_labels(scope: Option<&InstrumentationScope>) -> ScopeLabels {
    let of = |text: fn(&InstrumentationScope) -> &String| scope.map(text).cloned().unwrap_or_default();
    [
        ("otel_scope_name".to_owned(), of(|scope| &scope.name)),
        ("otel_scope_version".to_owned(), of(|scope| &scope.version)),
    ]
}

/// Labels by name, each only once: if names become equal because of invalid characters, their values are concatenated.
fn labels<'a>(
    attributes: impl IntoIterator<Item = &'a KeyValue>,
    more: impl IntoIterator<Item = (String, String)>,
) -> Vec<(String, String)> {
    let mut labels: BTreeMap<String, String> = BTreeMap::new();
    for KeyValue { key, value, .. } in attributes {
        let value = value.as_ref().and_then(|value| value.value.as_ref()).map(text_of).unwrap_or_default();
        match labels.entry(valid_name(key).replace(':', "_")) {
            btree_map::Entry::Vacant(place) => _ = place.insert(value),
            btree_map::Entry::Occupied(mut known) => {
                let both = format!("{};{value}", known.get());
                known.insert(both);
            }
        }
    }
    labels.extend(more.into_iter().filter(|(_, value)| !value.is_empty()));
    labels.into_iter().collect()
}

fn text_of(value: &Value) -> String {
    match value {
        Value::StringValue(text) => text.clone(),
        Value::BoolValue(flag) => flag.to_string(),
        Value::IntValue(number) => number.to_string(),
        Value::DoubleValue(number) => number.to_string(),
        other => serde_json::to_string(other).unwrap_or_default(),
    }
}

/// Replaces every invalid character of a name with `_`.
fn valid_name(name: &str) -> String {
    let valid = |c: char| if c.is_ascii_alphanumeric() || c == '_' || c == ':' { c } else { '_' };
    let valid: String = name.chars().map(valid).collect();
    match valid.starts_with(|c: char| c.is_ascii_digit()) || valid.is_empty() {
        true => format!("_{valid}"),
        false => valid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_prometheus_does_not_know_become_valid() {
        assert_eq!(valid_name("a.b-c/d:e"), "a_b_c_d:e");
        assert_eq!((valid_name("9a"), valid_name("")), ("_9a".to_owned(), "_".to_owned()));
    }

    #[test]
    fn the_unit_stands_before_the_end_of_a_counter() {
        let metric = |name: &str| OtlpMetric { name: name.into(), unit: "s".into(), ..OtlpMetric::default() };
        assert_eq!(name(&metric("a.b"), Kind::Counter), "a_b_seconds");
        assert_eq!(name(&metric("a.total"), Kind::Counter), "a_seconds");
        assert_eq!(name(&metric("a.seconds.total"), Kind::Counter), "a_seconds");
        assert_eq!(name(&metric("a.total"), Kind::Gauge), "a_total_seconds");
    }
}
