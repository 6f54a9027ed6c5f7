//! Which data points have changed since they were last written, so that a beat does not write the whole state again.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use opentelemetry_proto::tonic::{
    common::v1::KeyValue,
    metrics::v1::{
        ExponentialHistogramDataPoint, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
        SummaryDataPoint, metric::Data,
    },
};
use prost::Message;

/// The last written state of each series. Its size is bounded by the number of series, which is bounded for a run of any length.
#[derive(Debug, Default)]
pub(crate) struct MetricChanges {
    written: HashMap<u64, u64>,
}

impl MetricChanges {
    /// Removes the data points that have not changed since the last call, and returns how many are left. Their values are
    /// cumulative, so a reader that keeps the last point of each series loses nothing.
    pub(crate) fn retain_changed(&mut self, metrics: &mut Vec<ResourceMetrics>) -> u64 {
        let mut left = 0;
        for resource in metrics.iter_mut() {
            let of_resource = resource.resource.as_ref().map(Message::encode_to_vec);
            for scope in &mut resource.scope_metrics {
                let of_scope = scope.scope.as_ref().map(Message::encode_to_vec);
                let origin = hash_of(|hasher| (&of_resource, of_scope).hash(hasher));
                for metric in &mut scope.metrics {
                    left += self.retain_of(origin, metric);
                }
                scope.metrics.retain(|metric| data_points(metric) > 0);
            }
            resource.scope_metrics.retain(|scope| !scope.metrics.is_empty());
        }
        metrics.retain(|resource| !resource.scope_metrics.is_empty());
        left as u64
    }

    fn retain_of(&mut self, origin: u64, metric: &mut Metric) -> usize {
        let Metric { name, data, .. } = metric;
        match data {
            Some(Data::Gauge(gauge)) => gauge.data_points.retain(|point| self.changed(origin, name, point)),
            Some(Data::Sum(sum)) => sum.data_points.retain(|point| self.changed(origin, name, point)),
            Some(Data::Histogram(histogram)) => {
                histogram.data_points.retain(|point| self.changed(origin, name, point));
            }
            Some(Data::ExponentialHistogram(histogram)) => {
                histogram.data_points.retain(|point| self.changed(origin, name, point));
            }
            Some(Data::Summary(summary)) => {
                summary.data_points.retain(|point| self.changed(origin, name, point))
            }
            None => {}
        }
        data_points(metric)
    }

    fn changed<P: Point>(&mut self, origin: u64, metric: &str, point: &P) -> bool {
        let series = hash_of(|hasher| {
            (origin, metric).hash(hasher);
            for attribute in point.attributes() {
                attribute.encode_to_vec().hash(hasher);
            }
        });
        let mut timeless = point.clone();
        timeless.forget_time();
        let state = hash_of(|hasher| timeless.encode_to_vec().hash(hasher));
        self.written.insert(series, state) != Some(state)
    }
}

/// The number of data points of a metric.
pub(crate) fn data_points(metric: &Metric) -> usize {
    match &metric.data {
        Some(Data::Gauge(gauge)) => gauge.data_points.len(),
        Some(Data::Sum(sum)) => sum.data_points.len(),
        Some(Data::Histogram(histogram)) => histogram.data_points.len(),
        Some(Data::ExponentialHistogram(histogram)) => histogram.data_points.len(),
        Some(Data::Summary(summary)) => summary.data_points.len(),
        None => 0,
    }
}

fn hash_of(fill: impl FnOnce(&mut DefaultHasher)) -> u64 {
    let mut hasher = DefaultHasher::new();
    fill(&mut hasher);
    hasher.finish()
}

/// A data point of any kind: the value of one series at one time.
trait Point: Message + Clone {
    fn attributes(&self) -> &[KeyValue];
    /// The timestamp itself does not count as a change.
    fn forget_time(&mut self);
}

macro_rules! points {
    ($($kind:ty),*) => {
        $(impl Point for $kind {
            fn attributes(&self) -> &[KeyValue] {
                &self.attributes
            }

            fn forget_time(&mut self) {
                self.time_unix_nano = 0;
            }
        })*
    };
}

points!(NumberDataPoint, HistogramDataPoint, ExponentialHistogramDataPoint, SummaryDataPoint);

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::{
        common::v1::InstrumentationScope,
        metrics::v1::{ScopeMetrics, Sum, number_data_point::Value},
    };

    use super::*;

    fn counters(time: u64, values: &[(&str, i64)]) -> Vec<ResourceMetrics> {
        let metric = |(name, value): &(&str, i64)| Metric {
            name: (*name).to_owned(),
            data: Some(Data::Sum(Sum {
                data_points: vec![NumberDataPoint {
                    time_unix_nano: time,
                    value: Some(Value::AsInt(*value)),
                    ..NumberDataPoint::default()
                }],
                ..Sum::default()
            })),
            ..Metric::default()
        };
        let scope_metrics =
            vec![ScopeMetrics { metrics: values.iter().map(metric).collect(), ..ScopeMetrics::default() }];
        vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }]
    }

    #[test]
    fn two_scopes_have_series_of_their_own() {
        let mut metrics = counters(1, &[("rows", 1)]);
        let mut other = metrics[0].scope_metrics[0].clone();
        other.scope = Some(InstrumentationScope { name: "other".into(), ..Default::default() });
        metrics[0].scope_metrics.push(other);
        assert_eq!(MetricChanges::default().retain_changed(&mut metrics), 2);
    }

    #[test]
    fn only_what_changed_is_left() {
        let mut changes = MetricChanges::default();
        let mut names = |time, values: &[(&str, i64)]| {
            let mut metrics = counters(time, values);
            let left = changes.retain_changed(&mut metrics);
            let scopes = metrics.iter().flat_map(|resource| &resource.scope_metrics);
            let names: Vec<_> = scopes.flat_map(|scope| &scope.metrics).map(|metric| &*metric.name).collect();
            (left, names.join(" "))
        };
        assert_eq!(names(1, &[("rows", 1), ("bytes", 5)]), (2, "rows bytes".to_owned()));
        assert_eq!(names(2, &[("rows", 2), ("bytes", 5)]), (1, "rows".to_owned()));
        assert_eq!(names(3, &[("rows", 2), ("bytes", 5)]), (0, String::new()));
        assert_eq!(names(4, &[("rows", 2), ("bytes", 6), ("errors", 0)]), (2, "bytes errors".to_owned()));
    }
}
