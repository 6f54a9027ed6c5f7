//! Exemplars of the duration histograms: for each bucket the span that was measured last. The SDK does not support them
//! (`opentelemetry_sdk` 0.33.1), so they are kept separately, and added to its data points on export.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use opentelemetry::{KeyValue, Value, trace::SpanContext};
use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{KeyValue as OtlpKeyValue, any_value},
    metrics::v1::{
        AggregationTemporality, Exemplar, Histogram, HistogramDataPoint, exemplar::Value::AsDouble,
        metric::Data,
    },
};

use crate::names;

/// Upper bounds of the buckets of every duration, in seconds.
pub(crate) const DURATION_BOUNDS: [f64; 15] =
    [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0];

/// The maximum number of series with exemplars. The SDK has the same limit for the series of a metric.
const MOST_SERIES: usize = 2_000;

/// Which measurements become exemplars, according to `OTEL_METRICS_EXEMPLAR_FILTER`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum ExemplarFilter {
    /// Measurements of all spans.
    #[default]
    AlwaysOn,
    /// Measurements of exported spans.
    TraceBased,
    /// None.
    AlwaysOff,
}

/// The exemplars of one meter provider. Clones share the same state.
#[derive(Debug, Clone, Default)]
pub(crate) struct Exemplars {
    filter: ExemplarFilter,
    series: Arc<Mutex<HashMap<u64, Buckets>>>,
}

/// The last measurement in each bucket.
type Buckets = Box<[Option<Measured>; DURATION_BOUNDS.len() + 1]>;

/// A measured span: only its ids.
#[derive(Debug, Clone)]
struct Measured {
    seconds: f64,
    time: SystemTime,
    span: SpanContext,
}

impl Exemplars {
    pub(crate) fn new(filter: ExemplarFilter) -> Self {
        Self { filter, series: Arc::default() }
    }

    /// Records a measurement of a span that ended at `time`.
    pub(crate) fn offer(
        &self,
        metric: &str,
        attributes: &[KeyValue],
        (seconds, time): (f64, SystemTime),
        span: &SpanContext,
    ) {
        let is_taken = match self.filter {
            ExemplarFilter::AlwaysOn => span.is_valid(),
            ExemplarFilter::TraceBased => span.is_valid() && span.is_sampled(),
            ExemplarFilter::AlwaysOff => false,
        };
        let texts =
            attributes.iter().map(|attribute| Some((attribute.key.as_str(), text(&attribute.value)?)));
        let Some(series) = is_taken.then(|| series_of(metric, texts)).flatten() else { return };
        let mut known = self.lock();
        if known.len() < MOST_SERIES || known.contains_key(&series) {
            let bucket = DURATION_BOUNDS.partition_point(|bound| *bound < seconds);
            known.entry(series).or_default()[bucket] = Some(Measured { seconds, time, span: span.clone() });
        }
    }

    /// Adds them to the data points to which they belong.
    pub(crate) fn attach(&self, request: &mut ExportMetricsServiceRequest) {
        let known = self.lock();
        let scopes = request.resource_metrics.iter_mut().flat_map(|resource| &mut resource.scope_metrics);
        let own =
            scopes.filter(|metrics| metrics.scope.as_ref().is_some_and(|scope| scope.name == names::SCOPE));
        for metric in own.flat_map(|metrics| &mut metrics.metrics) {
            let Some(Data::Histogram(histogram)) = &mut metric.data else { continue };
            let is_delta = has_deltas(histogram);
            for point in &mut histogram.data_points {
                let series = series_of(&metric.name, point.attributes.iter().map(otlp_text));
                if let Some(buckets) = series.and_then(|series| known.get(&series)) {
                    let measured = buckets.iter().flatten().map(exemplar);
                    // Earlier measurements belong to a point that was already sent.
                    point.exemplars =
                        measured.filter(|exemplar| !is_delta || is_within(exemplar, point)).collect();
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Buckets>> {
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn has_deltas(histogram: &Histogram) -> bool {
    histogram.aggregation_temporality == AggregationTemporality::Delta as i32
}

fn is_within(exemplar: &Exemplar, point: &HistogramDataPoint) -> bool {
    exemplar.time_unix_nano > point.start_time_unix_nano
}

fn exemplar(measured: &Measured) -> Exemplar {
    let since = measured.time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Exemplar {
        filtered_attributes: Vec::new(),
        time_unix_nano: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX),
        span_id: measured.span.span_id().to_bytes().to_vec(),
        trace_id: measured.span.trace_id().to_bytes().to_vec(),
        value: Some(AsDouble(measured.seconds)),
    }
}

/// The key of a series, independent of the order of its attributes. `None` if an attribute is not a text, which never happens for
/// our own. It is a hash, because there is a lookup for each span that ends.
fn series_of<'a>(metric: &str, attributes: impl Iterator<Item = Option<(&'a str, &'a str)>>) -> Option<u64> {
    attributes
        .into_iter()
        .try_fold(hash_of(metric), |sum, attribute| Some(sum.wrapping_add(hash_of(attribute?))))
}

fn hash_of(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(text.as_str()),
        _ => None,
    }
}

fn otlp_text(attribute: &OtlpKeyValue) -> Option<(&str, &str)> {
    match attribute.value.as_ref()?.value.as_ref()? {
        any_value::Value::StringValue(text) => Some((&attribute.key, text)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use opentelemetry::trace::{SpanId, TraceFlags, TraceId, TraceState};
    use opentelemetry_proto::tonic::{
        common::v1::InstrumentationScope,
        metrics::v1::{Metric, ResourceMetrics, ScopeMetrics},
    };

    use super::*;

    fn span(id: u64, is_sampled: bool) -> SpanContext {
        let flags = TraceFlags::default().with_sampled(is_sampled);
        SpanContext::new(TraceId::from(7), SpanId::from(id), flags, false, TraceState::default())
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// The exemplar spans of one point of `metric` that has a stage as its attribute.
    fn attached(
        exemplars: &Exemplars,
        metric: &str,
        stage: &str,
        temporality: AggregationTemporality,
    ) -> Vec<u64> {
        let key = |key: &str, text: &str| OtlpKeyValue::from(&KeyValue::new(key.to_owned(), text.to_owned()));
        let point = HistogramDataPoint {
            // In an order other than the recorded one.
            attributes: vec![key("stage", stage), key("dag", "sales")],
            start_time_unix_nano: 5_000_000_000,
            ..HistogramDataPoint::default()
        };
        let histogram = Histogram { data_points: vec![point], aggregation_temporality: temporality.into() };
        let metric =
            Metric { name: metric.to_owned(), data: Some(Data::Histogram(histogram)), ..Metric::default() };
        let scope = InstrumentationScope { name: names::SCOPE.to_owned(), ..InstrumentationScope::default() };
        let scope = ScopeMetrics { scope: Some(scope), metrics: vec![metric], ..ScopeMetrics::default() };
        let resource = ResourceMetrics { scope_metrics: vec![scope], ..ResourceMetrics::default() };
        let mut request = ExportMetricsServiceRequest { resource_metrics: vec![resource] };
        exemplars.attach(&mut request);
        let metric = &request.resource_metrics[0].scope_metrics[0].metrics[0];
        let Some(Data::Histogram(histogram)) = &metric.data else { panic!("{metric:?}") };
        let id = |exemplar: &Exemplar| u64::from_be_bytes(exemplar.span_id.clone().try_into().unwrap());
        histogram.data_points[0].exemplars.iter().map(id).collect()
    }

    fn recorded(filter: ExemplarFilter) -> Exemplars {
        let exemplars = Exemplars::new(filter);
        let attributes = [KeyValue::new("dag", "sales"), KeyValue::new("stage", "plan")];
        // Two in one bucket, of which the last is kept, and one above all bounds, which is not sampled.
        exemplars.offer("d", &attributes, (0.2, at(3)), &span(1, true));
        exemplars.offer("d", &attributes, (0.5, at(4)), &span(2, true));
        exemplars.offer("d", &attributes, (9_999.0, at(6)), &span(3, false));
        exemplars.offer("d", &attributes, (0.2, at(6)), &SpanContext::NONE);
        exemplars
    }

    #[test]
    fn each_bucket_has_the_last_span_of_its_series() {
        use AggregationTemporality::{Cumulative, Delta};
        let all = recorded(ExemplarFilter::AlwaysOn);
        assert_eq!(attached(&all, "d", "plan", Cumulative), [2, 3]);
        assert_eq!(attached(&all, "d", "plan", Delta), [3], "the other was sent with an earlier point");
        assert_eq!(attached(&all, "d", "write", Cumulative), [0; 0]);
        assert_eq!(attached(&all, "e", "plan", Cumulative), [0; 0]);
        let sampled = recorded(ExemplarFilter::TraceBased);
        assert_eq!(attached(&sampled, "d", "plan", Cumulative), [2]);
        let none = recorded(ExemplarFilter::AlwaysOff);
        assert_eq!(attached(&none, "d", "plan", Cumulative), [0; 0]);
    }

    #[test]
    fn series_are_bounded_and_the_known_ones_go_on() {
        let exemplars = Exemplars::default();
        let offer = |stage: usize, id: u64| {
            let attributes = [KeyValue::new("stage", stage.to_string()), KeyValue::new("dag", "sales")];
            exemplars.offer("d", &attributes, (0.2, at(6)), &span(id, true));
        };
        (0..MOST_SERIES + 10).for_each(|stage| offer(stage, 1));
        offer(0, 2);
        assert_eq!(exemplars.lock().len(), MOST_SERIES);
        assert_eq!(attached(&exemplars, "d", "0", AggregationTemporality::Cumulative), [2]);
    }
}
