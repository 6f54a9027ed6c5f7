//! The `OTEL_*` variables of the OpenTelemetry specification, parsed into types. `docs/opentelemetry.md` lists them.

use std::{collections::BTreeMap, time::Duration};

use daglight_capture_policy::Redactor;
use opentelemetry_sdk::{
    metrics::Temporality,
    trace::{Sampler, SpanLimits},
};

use crate::{
    exemplars::ExemplarFilter,
    ledger::Signal,
    misspelled::misspelled,
    signal_export::SignalExport,
    traceparent::{TRACEPARENT, is_traceparent},
    variables::Variables,
};

/// Header values of at least this many bytes count as credentials, regardless of the header's name.
const LONG_HEADER: usize = 16;

/// The values of the variables. For an invalid value, the default is used and there is a warning.
#[derive(Debug)]
pub(crate) struct Environment {
    pub(crate) traces: SignalExport,
    pub(crate) metrics: SignalExport,
    pub(crate) logs: SignalExport,
    pub(crate) service_name: Option<String>,
    pub(crate) resource_attributes: Vec<(String, String)>,
    pub(crate) sampler: Sampler,
    pub(crate) span_limits: SpanLimits,
    /// The maximum number of characters of a text on a span.
    pub(crate) span_value_length: Option<usize>,
    /// The maximum number of characters of a text in the attributes of a log record.
    pub(crate) log_value_length: Option<usize>,
    pub(crate) span_batches: Batches,
    pub(crate) log_batches: Batches,
    pub(crate) metric_interval: Duration,
    pub(crate) temporality: Temporality,
    /// For metrics that leave the process.
    pub(crate) exemplar_filter: ExemplarFilter,
    pub(crate) propagators: Propagators,
    pub(crate) warnings: Vec<String>,
}

/// How items of one signal are batched before they are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Batches {
    pub(crate) queue_length: usize,
    pub(crate) batch_length: usize,
    pub(crate) delay: Duration,
}

/// What is taken from and passed on to other processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Propagators {
    pub(crate) trace_context: bool,
    pub(crate) baggage: bool,
}

/// Variables of the specification that neither the SDK nor this crate supports.
const UNSUPPORTED: [&str; 3] = [
    "OTEL_CONFIG_FILE",
    "OTEL_EXPERIMENTAL_CONFIG_FILE",
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
];

impl Environment {
    /// Reads the variables. Warnings repeat values only as far as the redactor shows them.
    pub(crate) fn read(values: &BTreeMap<String, String>, redactor: &Redactor) -> Self {
        let mut variables = Variables::new(values, redactor);
        let reader = &mut variables;
        let disabled = reader.flag("OTEL_SDK_DISABLED");
        let value_length = reader.number("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT");
        let mut environment = Self {
            traces: SignalExport::read(reader, Signal::Traces, disabled),
            metrics: SignalExport::read(reader, Signal::Metrics, disabled),
            logs: SignalExport::read(reader, Signal::Logs, disabled),
            service_name: reader.text("OTEL_SERVICE_NAME").map(str::to_owned),
            resource_attributes: reader.pairs("OTEL_RESOURCE_ATTRIBUTES"),
            sampler: sampler(reader),
            span_limits: span_limits(reader),
            // According to the specification, the specific limit takes precedence over the general one.
            span_value_length: reader.number("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT").or(value_length),
            log_value_length: reader.number("OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT").or(value_length),
            span_batches: batches(reader, "OTEL_BSP", Duration::from_secs(5)),
            log_batches: batches(reader, "OTEL_BLRP", Duration::from_secs(1)),
            metric_interval: reader
                .milliseconds("OTEL_METRIC_EXPORT_INTERVAL")
                .unwrap_or(Duration::from_secs(60)),
            temporality: temporality(reader),
            exemplar_filter: exemplar_filter(reader),
            propagators: propagators(reader),
            warnings: Vec::new(),
        };
        // With a warning, because otherwise users look for the reason in the wrong place.
        for name in UNSUPPORTED {
            if reader.text(name).is_some() {
                reader.warn(format!("{name} is not supported and has no effect"));
            }
        }
        if let Some(text) = reader.text(TRACEPARENT)
            && environment.propagators.trace_context
            && !is_traceparent(text)
        {
            reader.wrong(TRACEPARENT, text, "the run begins a new trace, 00-TRACE-SPAN-FLAGS was expected, with 32, 16 and 2 lower-case hexadecimal digits");
        }
        for (name, meant) in misspelled(values) {
            reader.warn(format!(
                "{name} is not a variable of OpenTelemetry and has no effect: did you mean {meant}?"
            ));
        }
        environment.warnings = variables.into_warnings();
        environment
    }

    /// Makes the redactor hide, in every text, the credentials that are sent to endpoints. Values of other headers may be ordinary
    /// words, such as the name of a tenant: they are hidden only in answers of the endpoint.
    pub(crate) fn hide_credentials(&self, redactor: &Redactor) {
        redactor.hide_proxies();
        for target in
            [&self.traces, &self.metrics, &self.logs].into_iter().filter_map(|export| export.otlp.as_ref())
        {
            redactor.hide_url(&target.endpoint);
            for (name, value) in &target.headers {
                // A long value under any name may be a key. A short one, such as the name of a tenant, would be hidden everywhere
                // the word occurs.
                if redactor.hides_option(name) || value.expose().len() >= LONG_HEADER {
                    redactor.hide_header(value.expose());
                }
            }
        }
    }
}

fn sampler(variables: &mut Variables<'_>) -> Sampler {
    let on_by_parent = || Sampler::ParentBased(Box::new(Sampler::AlwaysOn));
    match variables.text("OTEL_TRACES_SAMPLER") {
        None | Some("parentbased_always_on") => on_by_parent(),
        Some("always_on") => Sampler::AlwaysOn,
        Some("always_off") => Sampler::AlwaysOff,
        Some("traceidratio") => Sampler::TraceIdRatioBased(ratio(variables)),
        Some("parentbased_always_off") => Sampler::ParentBased(Box::new(Sampler::AlwaysOff)),
        Some("parentbased_traceidratio") => {
            Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio(variables))))
        }
        Some(other) => {
            variables.wrong("OTEL_TRACES_SAMPLER", other, "parentbased_always_on is used");
            on_by_parent()
        }
    }
}

fn ratio(variables: &mut Variables<'_>) -> f64 {
    let name = "OTEL_TRACES_SAMPLER_ARG";
    let Some(text) = variables.text(name) else { return 1.0 };
    match text.parse::<f64>() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => ratio,
        _ => {
            variables.wrong(name, text, "1.0 is used, a number from 0 to 1 was expected");
            1.0
        }
    }
}

fn span_limits(variables: &mut Variables<'_>) -> SpanLimits {
    let mut limits = SpanLimits::default();
    let set = |limit: &mut u32, number: Option<usize>| {
        if let Some(number) = number {
            *limit = u32::try_from(number).unwrap_or(u32::MAX);
        }
    };
    let common = variables.number("OTEL_ATTRIBUTE_COUNT_LIMIT");
    set(&mut limits.max_attributes_per_span, variables.number("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT").or(common));
    set(&mut limits.max_events_per_span, variables.number("OTEL_SPAN_EVENT_COUNT_LIMIT"));
    set(&mut limits.max_links_per_span, variables.number("OTEL_SPAN_LINK_COUNT_LIMIT"));
    set(&mut limits.max_attributes_per_event, variables.number("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT"));
    set(&mut limits.max_attributes_per_link, variables.number("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT"));
    limits
}

fn batches(variables: &mut Variables<'_>, prefix: &str, delay: Duration) -> Batches {
    let queue_length = variables.positive(&format!("{prefix}_MAX_QUEUE_SIZE")).unwrap_or(2_048);
    let batch_length = variables.positive(&format!("{prefix}_MAX_EXPORT_BATCH_SIZE")).unwrap_or(512);
    Batches {
        queue_length,
        // A batch larger than the queue would never be full.
        batch_length: batch_length.min(queue_length),
        delay: variables.milliseconds(&format!("{prefix}_SCHEDULE_DELAY")).unwrap_or(delay),
    }
}

fn temporality(variables: &mut Variables<'_>) -> Temporality {
    let name = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
    let Some(text) = variables.text(name) else { return Temporality::Cumulative };
    match text.to_ascii_lowercase().as_str() {
        "cumulative" => Temporality::Cumulative,
        "delta" => Temporality::Delta,
        "lowmemory" => Temporality::LowMemory,
        _ => {
            variables.wrong(name, text, "cumulative is used, known are cumulative, delta, lowmemory");
            Temporality::Cumulative
        }
    }
}

fn exemplar_filter(variables: &mut Variables<'_>) -> ExemplarFilter {
    let name = "OTEL_METRICS_EXEMPLAR_FILTER";
    let Some(text) = variables.text(name) else { return ExemplarFilter::TraceBased };
    match text.to_ascii_lowercase().as_str() {
        "trace_based" => ExemplarFilter::TraceBased,
        "always_on" => ExemplarFilter::AlwaysOn,
        "always_off" => ExemplarFilter::AlwaysOff,
        _ => {
            variables.wrong(name, text, "trace_based is used, known are trace_based, always_on, always_off");
            ExemplarFilter::TraceBased
        }
    }
}

fn propagators(variables: &mut Variables<'_>) -> Propagators {
    let name = "OTEL_PROPAGATORS";
    let Some(list) = variables.text(name) else {
        return Propagators { trace_context: true, baggage: true };
    };
    let mut propagators = Propagators { trace_context: false, baggage: false };
    for propagator in list.split(',').map(str::trim) {
        match propagator {
            "tracecontext" => propagators.trace_context = true,
            "baggage" => propagators.baggage = true,
            "none" => {}
            _ => variables.wrong(name, propagator, "it is left out, known are tracecontext, baggage, none"),
        }
    }
    propagators
}

#[cfg(test)]
pub(crate) mod tests {
    use daglight_capture_policy::{Policy, Profile};

    use super::*;

    /// The result for the variables of a test.
    pub(crate) fn read<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Environment {
        Environment::read(
            &variables.into_iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect(),
            &Redactor::default(),
        )
    }

    /// Checks the endpoint for traces.
    #[track_caller]
    pub(crate) fn check_endpoint<const N: usize>(variables: [(&str, &str); N], expected: Option<&str>) {
        let endpoint = read(variables).traces.otlp.map(|target| target.endpoint);
        assert_eq!(endpoint.as_deref(), expected);
    }

    #[test]
    fn no_warning_repeats_a_value_where_literals_are_hidden() {
        let variables = [
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "OTEL_TRACES_SAMPLER",
            "OTEL_SDK_DISABLED",
            "OTEL_BSP_MAX_QUEUE_SIZE",
            "OTEL_PROPAGATORS",
            "OTEL_LOGS_EXPORTER",
            "OTEL_RESOURCE_ATTRIBUTES",
        ];
        let variables = variables.map(|name| (name.to_owned(), "zqmk".to_owned()));
        let policy = Policy::of_profile(Profile::Prod);
        let warnings = Environment::read(&variables.into(), policy.redactor()).warnings;
        assert!(warnings.len() > 5 && !format!("{warnings:?}").contains("zqmk"), "{warnings:?}");
    }

    #[test]
    fn values_are_decoded_and_headers_are_secret() {
        let environment = read([
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:1"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20abc, x-b = 1"),
            ("OTEL_RESOURCE_ATTRIBUTES", "a=b%20c,d=%zz,e=f=g"),
        ]);
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(environment.resource_attributes, [pair("a", "b c"), pair("d", "%zz"), pair("e", "f=g")]);
        assert!(!format!("{environment:?}").contains("abc"));
        let headers = environment.logs.otlp.unwrap().headers;
        assert_eq!(headers[0].1.expose(), "Basic abc");
        assert_eq!(headers[1].0, "x-b");
    }

    #[test]
    fn a_wrong_value_causes_one_warning_and_the_default_is_used() {
        let environment = read([
            ("OTEL_BSP_MAX_QUEUE_SIZE", "many"),
            ("OTEL_TRACES_SAMPLER", "traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "7"),
            ("OTEL_PROPAGATORS", "b3"),
            ("OTEL_METRICS_EXPORTER", "graphite"),
            ("OTEL_CONFIG_FILE", "x.yaml"),
            ("OTEL_BLRP_MAX_QUEUE_SIZE", "0"),
        ]);
        assert_eq!(environment.span_batches.queue_length, 2_048);
        assert_eq!(environment.log_batches.queue_length, 2_048);
        assert_eq!(environment.warnings.len(), 6, "{:?}", environment.warnings);
        assert_eq!(
            environment.warnings[0],
            "OTEL_METRICS_EXPORTER=\"graphite\" is not understood: nothing is exported by it, known are \
             otlp, prometheus, console, none"
        );
    }

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_parent_that_cannot_be_understood_is_named() {
        let warnings = |text: &str| {
            let given = BTreeMap::from([("TRACEPARENT".to_owned(), text.to_owned())]);
            Environment::read(&given, &Redactor::default()).warnings
        };
        assert_eq!(warnings(PARENT), Vec::<String>::new());
        assert_eq!(warnings(" "), Vec::<String>::new());
        let zeros = "00-00000000000000000000000000000000-b7ad6b7169203331-01";
        for wrong in [
            "garbage",
            zeros,
            &PARENT.replacen("00", "ff", 1),
            &PARENT.to_uppercase(),
            &format!("{PARENT}-x"),
        ] {
            let [warning] = &warnings(wrong)[..] else { panic!("{wrong}") };
            assert!(warning.starts_with("TRACEPARENT") && warning.contains("32, 16 and 2"), "{warning}");
        }
        let elsewhere: BTreeMap<_, _> = [("TRACEPARENT", "garbage"), ("OTEL_PROPAGATORS", "none")]
            .map(|(name, text)| (name.to_owned(), text.to_owned()))
            .into();
        assert_eq!(Environment::read(&elsewhere, &Redactor::default()).warnings, Vec::<String>::new());
    }
}
