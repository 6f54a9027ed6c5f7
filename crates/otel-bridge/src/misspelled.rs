//! Variables whose names are nearly those of the OpenTelemetry specification: they have no effect, and whoever set them does not expect
//! that.

use std::collections::BTreeMap;

use daglight_capture_policy::{MAX_EDITS, nearest_name};

/// The prefix of the names.
const PREFIX: &str = "OTEL_";
/// The prefix of the names of the OTLP exporter, of which each signal may have its own.
const OTLP: &str = "OTEL_EXPORTER_OTLP_";

/// The names of the specification that do not belong to the OTLP exporter, including those that have no effect here: they are not
/// misspelled.
const NAMES: &[&str] = &[
    "OTEL_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_BLRP_EXPORT_TIMEOUT",
    "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_BLRP_MAX_QUEUE_SIZE",
    "OTEL_BLRP_SCHEDULE_DELAY",
    "OTEL_BSP_EXPORT_TIMEOUT",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_CONFIG_FILE",
    "OTEL_ENTITIES",
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_EXPERIMENTAL_CONFIG_FILE",
    "OTEL_EXPORTER_JAEGER_AGENT_HOST",
    "OTEL_EXPORTER_JAEGER_AGENT_PORT",
    "OTEL_EXPORTER_JAEGER_ENDPOINT",
    "OTEL_EXPORTER_JAEGER_PASSWORD",
    "OTEL_EXPORTER_JAEGER_PROTOCOL",
    "OTEL_EXPORTER_JAEGER_TIMEOUT",
    "OTEL_EXPORTER_JAEGER_USER",
    "OTEL_EXPORTER_PROMETHEUS_HOST",
    "OTEL_EXPORTER_PROMETHEUS_PORT",
    "OTEL_EXPORTER_ZIPKIN_ENDPOINT",
    "OTEL_EXPORTER_ZIPKIN_PROTOCOL",
    "OTEL_EXPORTER_ZIPKIN_TIMEOUT",
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_LOGS_EXPORTER",
    "OTEL_LOG_LEVEL",
    "OTEL_METRICS_EXEMPLAR_FILTER",
    "OTEL_METRICS_EXPORTER",
    "OTEL_METRIC_EXPORT_INTERVAL",
    "OTEL_METRIC_EXPORT_TIMEOUT",
    "OTEL_PROFILES_EXPORTER",
    "OTEL_PROPAGATORS",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_SDK_DISABLED",
    "OTEL_SEMCONV_STABILITY_OPT_IN",
    "OTEL_SERVICE_NAME",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_SPAN_EVENT_COUNT_LIMIT",
    "OTEL_SPAN_LINK_COUNT_LIMIT",
    "OTEL_TRACES_EXPORTER",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
];

/// What the specification puts behind `OTEL_EXPORTER_OTLP_`, alone or after the name of a signal.
const OF_OTLP: [&str; 9] = [
    "CERTIFICATE",
    "CLIENT_CERTIFICATE",
    "CLIENT_KEY",
    "COMPRESSION",
    "ENDPOINT",
    "HEADERS",
    "INSECURE",
    "PROTOCOL",
    "TIMEOUT",
];
const SIGNALS: [&str; 5] = ["", "TRACES_", "METRICS_", "LOGS_", "PROFILES_"];
/// Further names of the OTLP exporter; the last two are obsolete.
const OTHERS_OF_OTLP: [&str; 4] = [
    "METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
    "METRICS_TEMPORALITY_PREFERENCE",
    "METRIC_INSECURE",
    "SPAN_INSECURE",
];

/// The misspelled ones of these variables, each with the name that was probably meant. Names that are not near any of the specification
/// belong to SDKs of other languages. A variable that is empty counts as not set.
pub(crate) fn misspelled(variables: &BTreeMap<String, String>) -> Vec<(&str, String)> {
    let set = variables.iter().filter(|(name, text)| name.starts_with(PREFIX) && !text.trim().is_empty());
    let names: Vec<&str> = set.map(|(name, _)| &**name).collect();
    if names.is_empty() {
        return Vec::new();
    }
    let known: Vec<String> = known().collect();
    names.into_iter().filter_map(|name| Some((name, meant(name, &known)?))).collect()
}

fn known() -> impl Iterator<Item = String> {
    let of_otlp =
        SIGNALS.iter().flat_map(|signal| OF_OTLP.iter().map(move |name| format!("{OTLP}{signal}{name}")));
    let others = OTHERS_OF_OTLP.iter().map(|name| format!("{OTLP}{name}"));
    NAMES.iter().map(|name| (*name).to_owned()).chain(of_otlp).chain(others)
}

/// The known name that is nearest to one that is not known.
fn meant(name: &str, known: &[String]) -> Option<String> {
    let nearest = nearest_name(name, known.iter().map(String::as_str), MAX_EDITS)?;
    (nearest != name).then(|| nearest.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expected: Option<&str>) {
        let variables = BTreeMap::from([(name.to_owned(), "x".to_owned())]);
        let found = misspelled(&variables);
        assert_eq!(found.first().map(|(_, meant)| &**meant), expected, "{name}");
    }

    #[test]
    fn names_that_are_nearly_those_of_the_specification_are_misspelled() {
        check("OTEL_EXPORTER_OTLP_ENDPONT", Some("OTEL_EXPORTER_OTLP_ENDPOINT"));
        check("OTEL_EXPORTER_OTLP_TRACE_ENDPOINT", Some("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"));
        check("OTEL_EXPORTER_OTPL_HEADERS", Some("OTEL_EXPORTER_OTLP_HEADERS"));
        check("OTEL_TRACE_SAMPLER", Some("OTEL_TRACES_SAMPLER"));
        check("OTEL_RESOURCE_ATTRIBUTE", Some("OTEL_RESOURCE_ATTRIBUTES"));
    }

    #[test]
    fn names_of_the_specification_and_of_others_are_not() {
        for name in known() {
            check(&name, None);
        }
        for name in [
            "OTEL_PYTHON_LOG_CORRELATION",
            "OTEL_JAVAAGENT_ENABLED",
            "OTEL_GO_X_EXEMPLAR",
            "HOTEL_SERVICE_NAM",
        ] {
            check(name, None);
        }
        let empty = BTreeMap::from([("OTEL_SERVICE_NAM".to_owned(), " ".to_owned())]);
        assert_eq!(misspelled(&empty), []);
    }
}
