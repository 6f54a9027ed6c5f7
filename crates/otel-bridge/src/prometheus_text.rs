//! Metrics as text for Prometheus: in its own format, or in OpenMetrics, which supports exemplars.

use std::{
    collections::HashSet,
    fmt::{self, Write},
};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;

use crate::{
    door::Exportable,
    prometheus_families::{Buckets, Exemplar, Family, Kind, Series, SeriesValue, families},
};

/// A text format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// The Prometheus text format, version 0.0.4.
    Plain,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

const OPEN_METRICS: &str = "application/openmetrics-text";
const PLAIN: &str = "text/plain";

impl Format {
    /// The format that a request prefers according to its `Accept` header.
    pub(crate) fn accepted(accept: &str) -> Self {
        let open_metrics = quality(accept, OPEN_METRICS);
        // If both are equally preferred, the one with more information.
        match open_metrics > 0.0 && open_metrics >= quality(accept, PLAIN) {
            true => Self::OpenMetrics,
            false => Self::Plain,
        }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Plain => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// The metrics as text.
    pub(crate) fn text(self, metrics: Option<&Exportable<ExportMetricsServiceRequest>>) -> String {
        let mut text = String::new();
        self.write(&mut text, metrics).expect("writing to a string does not fail");
        text
    }

    fn write(
        self,
        to: &mut String,
        metrics: Option<&Exportable<ExportMetricsServiceRequest>>,
    ) -> fmt::Result {
        let mut known = HashSet::new();
        for family in metrics.map(families).unwrap_or_default() {
            // A counter `x_total` and a gauge `x` of a program are families with the same name, for which OpenMetrics readers
            // reject the whole text.
            if self == Self::Plain || known.insert(family.name.clone()) {
                self.write_family(to, &family)?;
            }
        }
        match self {
            Self::Plain => Ok(()),
            // Without it, a reader considers the text truncated.
            Self::OpenMetrics => writeln!(to, "# EOF"),
        }
    }

    fn write_family(self, to: &mut String, family: &Family) -> fmt::Result {
        let (name, sample) = (&*family.name, family.sample());
        // A family has the name of its samples in one format, and the name without their suffix in the other.
        let (family_name, kind) = match (self, family.kind) {
            (Self::Plain, Kind::Info) => (&*sample, "gauge"),
            (Self::Plain, Kind::Counter) => (&*sample, "counter"),
            (Self::OpenMetrics, Kind::Info) => (name, "info"),
            (Self::OpenMetrics, Kind::Counter) => (name, "counter"),
            (_, Kind::Gauge) => (name, "gauge"),
            (_, Kind::Histogram) => (name, "histogram"),
        };
        if !family.help.is_empty() {
            writeln!(to, "# HELP {family_name} {}", self.escaped_help(&family.help))?;
        }
        writeln!(to, "# TYPE {family_name} {kind}")?;
        family.series.iter().try_for_each(|series| self.write_series(to, &sample, series))
    }

    fn write_series(self, to: &mut String, name: &str, series: &Series) -> fmt::Result {
        match &series.value {
            SeriesValue::Number(value) => {
                write_sample(to, name, &series.labels, None, *value)?;
                writeln!(to)
            }
            SeriesValue::Histogram(buckets) => self.write_histogram(to, name, &series.labels, buckets),
        }
    }

    fn write_histogram(
        self,
        to: &mut String,
        name: &str,
        labels: &Labels,
        histogram: &Buckets,
    ) -> fmt::Result {
        for bucket in &histogram.buckets {
            let bound = self.bound(bucket.bound);
            write_sample(to, &format!("{name}_bucket"), labels, Some(&bound), bucket.count as f64)?;
            if let (Self::OpenMetrics, Some(exemplar)) = (self, &bucket.exemplar) {
                write_exemplar(to, exemplar)?;
            }
            writeln!(to)?;
        }
        write_sample(to, &format!("{name}_sum"), labels, None, histogram.sum)?;
        writeln!(to)?;
        write_sample(to, &format!("{name}_count"), labels, None, histogram.count as f64)?;
        writeln!(to)
    }

    /// OpenMetrics writes bounds as floating-point numbers, which are part of a series name.
    fn bound(self, bound: f64) -> String {
        match self {
            Self::OpenMetrics if bound.is_finite() => format!("{bound:?}"),
            _ => number(bound),
        }
    }

    fn escaped_help(self, help: &str) -> String {
        let escaped = help.replace('\\', "\\\\").replace('\n', "\\n");
        match self {
            Self::Plain => escaped,
            Self::OpenMetrics => escaped.replace('"', "\\\""),
        }
    }
}

/// The quality value of a media type: 0 if it is not listed.
fn quality(accept: &str, media_type: &str) -> f64 {
    let qualities = accept.split(',').filter_map(|item| {
        let mut parts = item.split(';').map(str::trim);
        let named = parts.next()?.eq_ignore_ascii_case(media_type);
        let quality =
            parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |text| text.parse().ok());
        named.then_some(quality).flatten()
    });
    qualities.fold(0.0, f64::max)
}

type Labels = [(String, String)];

fn write_sample(to: &mut String, name: &str, labels: &Labels, le: Option<&str>, value: f64) -> fmt::Result {
    write!(to, "{name}")?;
    let labels = labels.iter().map(|(name, value)| (&**name, &**value)).chain(le.map(|bound| ("le", bound)));
    let labels: Vec<String> = labels.map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    if !labels.is_empty() {
        write!(to, "{{{}}}", labels.join(","))?;
    }
    write!(to, " {}", number(value))
}

fn write_exemplar(to: &mut String, exemplar: &Exemplar) -> fmt::Result {
    let Exemplar { trace_id, span_id, value, seconds_since_epoch } = exemplar;
    let value = number(*value);
    write!(to, " # {{trace_id=\"{trace_id}\",span_id=\"{span_id}\"}} {value} {seconds_since_epoch:.3}")
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"")
}

fn number(value: f64) -> String {
    match value {
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        value => value.to_string(),
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
    use crate::{door::Door, exemplars::Exemplars, metric_reader::SharedReader, scrub::Scrubber};

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
        let text = Format::Plain.text(Some(&door.metrics(&metrics, &Exemplars::default())));
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

    #[track_caller]
    fn check_accepted(accept: &str, format: Format) {
        assert_eq!(Format::accepted(accept), format, "{accept}");
    }

    #[test]
    fn a_scraper_gets_the_format_that_it_prefers() {
        check_accepted("", Format::Plain);
        check_accepted("*/*", Format::Plain);
        check_accepted("text/plain;version=0.0.4", Format::Plain);
        check_accepted("application/openmetrics-text", Format::OpenMetrics);
        check_accepted("application/openmetrics-text;q=0", Format::Plain);
        check_accepted("application/openmetrics-text;q=0.3, text/plain;q=0.5", Format::Plain);
        // The header that Prometheus 2.42 sends.
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                          text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        check_accepted(prometheus, Format::OpenMetrics);
    }

    #[test]
    fn what_open_metrics_has_no_two_names_for_is_left_out_there_alone() {
        let reader = SharedReader::new(Temporality::Cumulative);
        let provider = SdkMeterProvider::builder().with_reader(reader.clone()).build();
        let meter = provider.meter("program");
        meter.u64_counter("jobs").build().add(3, &[]);
        meter.u64_gauge("jobs").build().record(4, &[]);
        let door = Door::new(Scrubber::new(Redactor::default(), None, None), SpanLimits::default());
        let (metrics, _) = reader.snapshot().unwrap();
        let metrics = door.metrics(&metrics, &Exemplars::default());
        let samples = |format: Format| format.text(Some(&metrics)).matches("\njobs").count();
        assert_eq!((samples(Format::Plain), samples(Format::OpenMetrics)), (2, 1));
    }

    #[test]
    fn without_anything_measured_a_text_is_whole() {
        assert_eq!(
            (Format::Plain.text(None).as_str(), Format::OpenMetrics.text(None).as_str()),
            ("", "# EOF\n")
        );
    }
}
