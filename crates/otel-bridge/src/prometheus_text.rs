//! Metrics in the text format of Prometheus, by the rules of the OpenTelemetry specification
//! (`compatibility/prometheus_and_openmetrics.md`): units and `_total` stand in the names, the attributes of the resource in
//! `target_info`, the scope in labels.

use std::collections::{BTreeMap, btree_map};

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{InstrumentationScope, KeyValue, any_value::Value},
    metrics::v1::{
        HistogramDataPoint, Metric as OtlpMetric, NumberDataPoint, metric::Data, number_data_point,
    },
};
use prometheus::{
    TextEncoder,
    proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType},
};

use crate::door::Exportable;

/// The content type of the text.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The metrics as text. Exponential histograms and summaries, which nothing of ours has, are left out.
pub(crate) fn text(metrics: &Exportable<ExportMetricsServiceRequest>) -> String {
    let mut families = BTreeMap::new();
    for resource in &metrics.get().resource_metrics {
        let attributes = resource.resource.iter().flat_map(|resource| &resource.attributes);
        let target = Metric::from_label(labels(attributes, []));
        let mut value = Gauge::default();
        value.set_value(1.0);
        add(
            &mut families,
            "target_info".to_owned(),
            "The resource",
            MetricType::GAUGE,
            with_gauge(target, value),
        );
        for scope in &resource.scope_metrics {
            let of_scope = scope_labels(scope.scope.as_ref());
            for metric in &scope.metrics {
                add_metric(&mut families, metric, &of_scope);
            }
        }
    }
    let families: Vec<MetricFamily> = families.into_values().collect();
    // It fails where a family has no name or no metric, and none is made like that.
    TextEncoder::new().encode_to_string(&families).unwrap_or_default()
}

type Families = BTreeMap<String, MetricFamily>;
type ScopeLabels = [(String, String); 2];

fn add_metric(families: &mut Families, metric: &OtlpMetric, scope: &ScopeLabels) {
    let labels = |attributes: &[KeyValue]| labels(attributes, scope.clone());
    let mut add = |kind, labels, set: &dyn Fn(&mut Metric)| {
        let mut made = Metric::from_label(labels);
        set(&mut made);
        add(families, name(metric, kind), &metric.description, kind, made);
    };
    match &metric.data {
        Some(Data::Gauge(gauge)) => {
            for point in &gauge.data_points {
                add(MetricType::GAUGE, labels(&point.attributes), &|made| made.set_gauge(gauge_of(point)));
            }
        }
        Some(Data::Sum(sum)) if sum.is_monotonic => {
            for point in &sum.data_points {
                add(MetricType::COUNTER, labels(&point.attributes), &|made| {
                    let mut counter = Counter::default();
                    counter.set_value(number(point));
                    made.set_counter(counter);
                });
            }
        }
        // A sum that may fall is a gauge there.
        Some(Data::Sum(sum)) => {
            for point in &sum.data_points {
                add(MetricType::GAUGE, labels(&point.attributes), &|made| made.set_gauge(gauge_of(point)));
            }
        }
        Some(Data::Histogram(histogram)) => {
            for point in &histogram.data_points {
                add(MetricType::HISTOGRAM, labels(&point.attributes), &|made| {
                    made.set_histogram(histogram_of(point));
                });
            }
        }
        Some(Data::ExponentialHistogram(_) | Data::Summary(_)) | None => {}
    }
}

fn add(families: &mut Families, name: String, help: &str, kind: MetricType, metric: Metric) {
    let family = match families.entry(name) {
        btree_map::Entry::Occupied(known) => known.into_mut(),
        btree_map::Entry::Vacant(place) => {
            let mut family = MetricFamily::default();
            family.set_name(place.key().clone());
            family.set_help(help.to_owned());
            family.set_field_type(kind);
            place.insert(family)
        }
    };
    // Two scopes of a program may have one name for different things. The text format has one kind for a name.
    if family.get_field_type() == kind {
        family.mut_metric().push(metric);
    }
}

fn with_gauge(mut metric: Metric, gauge: Gauge) -> Metric {
    metric.set_gauge(gauge);
    metric
}

fn gauge_of(point: &NumberDataPoint) -> Gauge {
    let mut gauge = Gauge::default();
    gauge.set_value(number(point));
    gauge
}

fn number(point: &NumberDataPoint) -> f64 {
    match point.value {
        Some(number_data_point::Value::AsDouble(value)) => value,
        Some(number_data_point::Value::AsInt(value)) => value as f64,
        None => f64::NAN,
    }
}

fn histogram_of(point: &HistogramDataPoint) -> Histogram {
    let mut histogram = Histogram::default();
    histogram.set_sample_count(point.count);
    histogram.set_sample_sum(point.sum.unwrap_or(f64::NAN));
    // There, each bucket has what is in those below, too. The last one, without a bound, is the count of all.
    let counts = point.bucket_counts.iter().scan(0_u64, |below, count| {
        *below = below.saturating_add(*count);
        Some(*below)
    });
    let buckets = point.explicit_bounds.iter().zip(counts).map(|(bound, count)| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(count);
        bucket
    });
    histogram.set_bucket(buckets.collect());
    histogram
}

/// The name with its unit, and of a counter with `_total`.
fn name(metric: &OtlpMetric, kind: MetricType) -> String {
    let mut name = valid_name(&metric.name);
    let unit = unit_in_words(&metric.unit, kind);
    if !unit.is_empty() && name.split('_').all(|part| part != unit) {
        name = format!("{name}_{unit}");
    }
    if kind == MetricType::COUNTER && !name.ends_with("_total") {
        name.push_str("_total");
    }
    name
}

/// A unit of UCUM as Prometheus calls it; what stands in braces is an annotation and no unit.
fn unit_in_words(unit: &str, kind: MetricType) -> String {
    match unit {
        "s" => "seconds".to_owned(),
        "ms" => "milliseconds".to_owned(),
        "us" => "microseconds".to_owned(),
        "ns" => "nanoseconds".to_owned(),
        "By" => "bytes".to_owned(),
        "KiBy" => "kibibytes".to_owned(),
        "MiBy" => "mebibytes".to_owned(),
        "%" => "percent".to_owned(),
        "1" if kind == MetricType::GAUGE => "ratio".to_owned(),
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

/// Labels by name, each once: of names that differ in what a label cannot have, the values stand behind each other.
fn labels<'a>(
    attributes: impl IntoIterator<Item = &'a KeyValue>,
    more: impl IntoIterator<Item = (String, String)>,
) -> Vec<LabelPair> {
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
    let pair = |(name, value)| {
        let mut label = LabelPair::default();
        label.set_name(name);
        label.set_value(value);
        label
    };
    labels.into_iter().map(pair).collect()
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

/// Every character that a name cannot have as `_`.
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
    use daglight_capture_policy::Redactor;
    use opentelemetry::{KeyValue, metrics::MeterProvider as _};
    use opentelemetry_sdk::{
        Resource,
        metrics::{SdkMeterProvider, Temporality},
        trace::SpanLimits,
    };

    use super::*;
    use crate::{door::Door, metric_reader::SharedReader, scrub::Scrubber};

    #[test]
    fn names_units_and_labels_are_those_of_prometheus() {
        let reader = SharedReader::new(Temporality::Cumulative);
        let resource = Resource::builder_empty().with_attribute(KeyValue::new("service.name", "shop"));
        let provider =
            SdkMeterProvider::builder().with_resource(resource.build()).with_reader(reader.clone()).build();
        let meter = provider.meter("daglight");
        let by_stage =
            [KeyValue::new("daglight.stage", "a \"b\"\n"), KeyValue::new("db.password", "hunter2")];
        meter
            .u64_counter("daglight.rows")
            .with_unit("{row}")
            .with_description("Rows")
            .build()
            .add(3, &by_stage);
        meter.f64_counter("daglight.cpu").with_unit("s").build().add(0.5, &[]);
        meter.u64_counter("daglight.bytes.read").with_unit("By").build().add(7, &[]);
        meter.u64_gauge("daglight.memory").with_unit("By").build().record(9, &[]);
        meter.i64_up_down_counter("daglight.active").build().add(-2, &[]);
        let histogram =
            meter.f64_histogram("daglight.duration").with_unit("s").with_boundaries(vec![1.0, 2.0]).build();
        [0.5, 1.5, 1.5, 9.0].into_iter().for_each(|value| histogram.record(value, &[]));
        let door = Door::new(Scrubber::new(Redactor::default(), None, None), SpanLimits::default());
        let (metrics, _) = reader.snapshot().unwrap();
        let text = text(&door.metrics(&metrics));
        for line in [
            "# HELP daglight_rows_total Rows",
            "# TYPE daglight_rows_total counter",
            r#"daglight_rows_total{daglight_stage="a \"b\"\n",db_password="[redacted]",otel_scope_name="daglight"} 3"#,
            r#"daglight_cpu_seconds_total{otel_scope_name="daglight"} 0.5"#,
            r#"daglight_bytes_read_total{otel_scope_name="daglight"} 7"#,
            "# TYPE daglight_memory_bytes gauge",
            r#"daglight_active{otel_scope_name="daglight"} -2"#,
            r#"daglight_duration_seconds_bucket{otel_scope_name="daglight",le="1"} 1"#,
            r#"daglight_duration_seconds_bucket{otel_scope_name="daglight",le="2"} 3"#,
            r#"daglight_duration_seconds_bucket{otel_scope_name="daglight",le="+Inf"} 4"#,
            r#"daglight_duration_seconds_sum{otel_scope_name="daglight"} 12.5"#,
            r#"daglight_duration_seconds_count{otel_scope_name="daglight"} 4"#,
            r#"target_info{service_name="shop"} 1"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\nis not in\n{text}");
        }
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn names_that_prometheus_does_not_know_become_valid() {
        assert_eq!(valid_name("a.b-c/d:e"), "a_b_c_d:e");
        assert_eq!((valid_name("9a"), valid_name("")), ("_9a".to_owned(), "_".to_owned()));
    }
}
