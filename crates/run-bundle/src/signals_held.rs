//! The content of a bundle's signal files: how many items, and of which run.

use std::path::Path;

use serde::{
    Deserialize,
    de::{Deserializer, IgnoredAny, SeqAccess, Visitor},
};

use crate::{
    delivery_counts::LedgerSignal,
    json_lines::{FileReading, read_lines},
};

/// The content of a signal file.
#[derive(Debug)]
pub(crate) struct SignalsHeld {
    /// How much of it could be read.
    pub(crate) reading: FileReading,
    /// Its spans, data points or log records.
    pub(crate) items: u64,
    /// The other run, if a line belongs to another one.
    pub(crate) other_run: Option<String>,
}

impl SignalsHeld {
    /// Counts the items of a file, a line at a time. `run_key` is the resource attribute with the run id.
    pub(crate) fn read(path: &Path, signal: &LedgerSignal, run_key: &str, run_id: &str) -> Self {
        let (mut items, mut other_run) = (0_u64, None);
        let reading = read_lines(path, |line| {
            let groups = match signal {
                LedgerSignal::Traces => serde_json::from_str::<CountedSpans>(line)?.groups,
                LedgerSignal::Logs => serde_json::from_str::<CountedRecords>(line)?.groups,
                _ => serde_json::from_str::<CountedPoints>(line)?.groups,
            };
            for group in groups {
                items = items.saturating_add(group.scopes.iter().map(Scope::items).sum());
                let named = group.resource.attributes.iter().find(|attribute| attribute.key == run_key);
                let named = named.and_then(|attribute| attribute.value.string_value.clone());
                if let Some(named) = named.filter(|named| named != run_id) {
                    other_run.get_or_insert(named);
                }
            }
            Ok(())
        });
        Self { reading, items, other_run }
    }
}

// Lines of OTLP/JSON, as far as needed for counting. The report has its own types, which borrow texts from the line; here nothing
// of an item is kept.
// the line; here nothing of an item is kept.

#[derive(Deserialize)]
struct CountedSpans {
    #[serde(default, rename = "resourceSpans")]
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct CountedRecords {
    #[serde(default, rename = "resourceLogs")]
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct CountedPoints {
    #[serde(default, rename = "resourceMetrics")]
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    #[serde(default)]
    resource: Resource,
    #[serde(default, alias = "scopeSpans", alias = "scopeLogs", alias = "scopeMetrics")]
    scopes: Vec<Scope>,
}

#[derive(Default, Deserialize)]
struct Resource {
    #[serde(default)]
    attributes: Vec<Attribute>,
}

#[derive(Deserialize)]
struct Attribute {
    key: String,
    #[serde(default)]
    value: AttributeValue,
}

#[derive(Default, Deserialize)]
struct AttributeValue {
    #[serde(default, rename = "stringValue")]
    string_value: Option<String>,
}

#[derive(Deserialize)]
struct Scope {
    #[serde(default)]
    spans: Length,
    #[serde(default, rename = "logRecords")]
    log_records: Length,
    #[serde(default)]
    metrics: Vec<Metric>,
}

impl Scope {
    fn items(&self) -> u64 {
        self.spans.0 + self.log_records.0 + self.metrics.iter().map(Metric::points).sum::<u64>()
    }
}

#[derive(Deserialize)]
struct Metric {
    #[serde(default)]
    gauge: Points,
    #[serde(default)]
    sum: Points,
    #[serde(default)]
    histogram: Points,
    #[serde(default, rename = "exponentialHistogram")]
    exponential_histogram: Points,
    #[serde(default)]
    summary: Points,
}

impl Metric {
    fn points(&self) -> u64 {
        let of_kinds = [&self.gauge, &self.sum, &self.histogram, &self.exponential_histogram, &self.summary];
        of_kinds.iter().map(|points| points.data_points.0).sum()
    }
}

#[derive(Default, Deserialize)]
struct Points {
    #[serde(default, rename = "dataPoints")]
    data_points: Length,
}

/// The length of a list, whose items are not kept: a line can have 64 MiB.
#[derive(Default)]
struct Length(u64);

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Count;
        impl<'de> Visitor<'de> for Count {
            type Value = Length;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Length, A::Error> {
                let mut length = 0;
                while items.next_element::<IgnoredAny>()?.is_some() {
                    length += 1;
                }
                Ok(Length(length))
            }
        }
        from.deserialize_seq(Count)
    }
}
