//! Removes from metrics what may not leave the process. The SDK collects them into values that cannot be changed, so this works on
//! the messages created from them.

use daglight_capture_policy::{REDACTED, Redactor};
use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue, any_value},
    metrics::v1::{Exemplar, ScopeMetrics, metric::Data},
};

use crate::scrub::Scrubber;

impl Scrubber {
    /// Scrubs the scope, the names and the attributes of metrics, which any code may have set.
    pub(crate) fn scope_metrics(&self, scope: &mut ScopeMetrics) {
        let redactor = self.redactor();
        if let Some(scope) = &mut scope.scope {
            text(redactor, &mut scope.name);
            text(redactor, &mut scope.version);
            attributes(redactor, &mut scope.attributes);
        }
        text(redactor, &mut scope.schema_url);
        for metric in &mut scope.metrics {
            text(redactor, &mut metric.name);
            text(redactor, &mut metric.description);
            text(redactor, &mut metric.unit);
            attributes(redactor, &mut metric.metadata);
            macro_rules! points {
                ($data:expr) => {
                    for point in &mut $data.data_points {
                        attributes(redactor, &mut point.attributes);
                        exemplars(redactor, &mut point.exemplars);
                    }
                };
            }
            match &mut metric.data {
                Some(Data::Gauge(data)) => points!(data),
                Some(Data::Sum(data)) => points!(data),
                Some(Data::Histogram(data)) => points!(data),
                Some(Data::ExponentialHistogram(data)) => points!(data),
                Some(Data::Summary(data)) => {
                    for point in &mut data.data_points {
                        attributes(redactor, &mut point.attributes);
                    }
                }
                None => {}
            }
        }
    }
}

fn exemplars(redactor: &Redactor, exemplars: &mut [Exemplar]) {
    for exemplar in exemplars {
        attributes(redactor, &mut exemplar.filtered_attributes);
    }
}

fn attributes(redactor: &Redactor, attributes: &mut [KeyValue]) {
    for attribute in attributes {
        if redactor.hides_key(&attribute.key) {
            let redacted = any_value::Value::StringValue(REDACTED.to_owned());
            attribute.value = Some(AnyValue { value: Some(redacted) });
        } else if let Some(found) = &mut attribute.value {
            value(redactor, found);
        }
    }
}

fn value(redactor: &Redactor, found: &mut AnyValue) {
    match &mut found.value {
        Some(any_value::Value::StringValue(found)) => text(redactor, found),
        Some(any_value::Value::ArrayValue(list)) => {
            list.values.iter_mut().for_each(|item| value(redactor, item));
        }
        Some(any_value::Value::KvlistValue(list)) => attributes(redactor, &mut list.values),
        _ => {}
    }
}

fn text(redactor: &Redactor, found: &mut String) {
    if !found.is_empty() {
        let scrubbed = redactor.text(found);
        if scrubbed != *found {
            *found = scrubbed;
        }
    }
}
