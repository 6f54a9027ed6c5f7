//! The lines of `otel_metrics.json`, which are only validated: whether a backend would accept them as metrics.

use std::borrow::Cow;

use serde::Deserialize;

use crate::otlp::{Attributes, Double, Integer, Resource, nanoseconds};

/// A line of metrics.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MetricsLine<'a> {
    #[serde(borrow)]
    resource_metrics: Vec<ResourceMetrics<'a>>,
}

impl<'a> MetricsLine<'a> {
    pub(crate) fn resources(&self) -> impl Iterator<Item = &Resource<'a>> {
        self.resource_metrics.iter().map(|metrics| &metrics.resource)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "that the points can be read is all that is asked")]
struct ResourceMetrics<'a> {
    #[serde(borrow, default)]
    resource: Resource<'a>,
    #[serde(borrow, default)]
    scope_metrics: Vec<ScopeMetrics<'a>>,
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "as above")]
struct ScopeMetrics<'a> {
    #[serde(borrow, default)]
    metrics: Vec<Metric<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metric<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    description: Cow<'a, str>,
    #[serde(borrow)]
    unit: Cow<'a, str>,
    #[serde(borrow)]
    gauge: Option<Points<'a>>,
    #[serde(borrow)]
    sum: Option<Points<'a>>,
    #[serde(borrow)]
    histogram: Option<Points<'a>>,
    #[serde(borrow)]
    exponential_histogram: Option<Points<'a>>,
    #[serde(borrow)]
    summary: Option<Points<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Points<'a> {
    #[serde(borrow)]
    data_points: Vec<Point<'a>>,
    is_monotonic: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Point<'a> {
    #[serde(borrow)]
    attributes: Attributes<'a>,
    #[serde(deserialize_with = "nanoseconds")]
    start_time_unix_nano: u64,
    #[serde(deserialize_with = "nanoseconds")]
    time_unix_nano: u64,
    as_int: Option<Integer>,
    as_double: Option<Double>,
    count: Option<Integer>,
    sum: Option<Double>,
    min: Option<Double>,
    max: Option<Double>,
    bucket_counts: Option<Vec<Integer>>,
    explicit_bounds: Option<Vec<Double>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_line(metric: &str) -> bool {
        let line = format!(r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{metric}]}}]}}]}}"#);
        serde_json::from_str::<MetricsLine<'_>>(&line).is_ok()
    }

    #[test]
    fn what_no_backend_takes_for_metrics_is_none() {
        for metric in [
            "{}",
            r#"{"name":"a \"b\"","unit":"s","sum":{"dataPoints":[{"timeUnixNano":"5","asInt":"-1"}],"isMonotonic":true,"aggregationTemporality":2}}"#,
            r#"{"name":"h","histogram":{"dataPoints":[{"count":"2","sum":1.5,"bucketCounts":["1",1],"explicitBounds":[0.5]}]}}"#,
            r#"{"name":"g","gauge":{"dataPoints":[{"asDouble":"NaN","attributes":[{"key":"a","value":{"boolValue":true}}]}]}}"#,
        ] {
            assert!(is_line(metric), "{metric}");
        }
        for metric in [
            r#"{"name":true}"#,
            r#"{"name":"n","gauge":{"dataPoints":[{"asInt":{"a":[]}}]}}"#,
            r#"{"name":"n","gauge":{"dataPoints":{}}}"#,
            r#"{"name":"n","sum":{"dataPoints":[{"timeUnixNano":"x"}]}}"#,
            r#"{"name":"n","histogram":{"dataPoints":[{"bucketCounts":[[]]}]}}"#,
            r#"{"name":"n","gauge":{"dataPoints":[{"attributes":[7]}]}}"#,
        ] {
            assert!(!is_line(metric), "{metric}");
        }
        assert!(serde_json::from_str::<MetricsLine<'_>>(r#"{"resourceSpans":[]}"#).is_err());
    }
}
