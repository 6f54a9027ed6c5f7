//! The `OTEL_*` variables of the OpenTelemetry specification, read into types. `docs/opentelemetry.md` has the table.

use std::{collections::BTreeMap, io, path::Path, time::Duration};

use daglight_capture_policy::{Redactor, Secret};
use daglight_guarded_files::read_named;
use daglight_http_transport::{ClientIdentity, MAX_CERTIFICATE_BYTES, shown_url};
use opentelemetry_sdk::{
    metrics::Temporality,
    trace::{Sampler, SpanLimits},
};
use reqwest::Url;

use crate::{
    Signal,
    otlp_target::{OtlpProtocol, OtlpTarget, TlsFiles},
};

/// Bytes from which on the value of a header is a credential, whatever the header is called.
const LONG_HEADER: usize = 16;

/// What the variables say. Where one has a wrong value, the default stands and there is a warning.
#[derive(Debug)]
pub(crate) struct Environment {
    pub(crate) traces: SignalExport,
    pub(crate) metrics: SignalExport,
    pub(crate) logs: SignalExport,
    pub(crate) service_name: Option<String>,
    pub(crate) resource_attributes: Vec<(String, String)>,
    pub(crate) sampler: Sampler,
    pub(crate) span_limits: SpanLimits,
    /// Characters that a text on a span may have.
    pub(crate) span_value_length: Option<usize>,
    /// Characters that a text in a log record's attributes may have.
    pub(crate) log_value_length: Option<usize>,
    pub(crate) span_batches: Batches,
    pub(crate) log_batches: Batches,
    pub(crate) metric_interval: Duration,
    pub(crate) temporality: Temporality,
    pub(crate) propagators: Propagators,
    pub(crate) warnings: Vec<String>,
}

/// Where one signal goes besides the bundle.
#[derive(Debug, Default)]
pub(crate) struct SignalExport {
    pub(crate) otlp: Option<OtlpTarget>,
    pub(crate) console: bool,
}

/// How items of one signal are gathered before they are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Batches {
    pub(crate) queue_length: usize,
    pub(crate) batch_length: usize,
    pub(crate) delay: Duration,
}

/// What is taken from and given to other processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Propagators {
    pub(crate) trace_context: bool,
    pub(crate) baggage: bool,
}

/// Variables of the specification that neither the SDK nor this crate can follow.
const UNSUPPORTED: [&str; 3] = [
    "OTEL_CONFIG_FILE",
    "OTEL_EXPERIMENTAL_CONFIG_FILE",
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
];

impl Environment {
    /// Reads the variables. One that is empty counts as not set.
    pub(crate) fn read(variables: &BTreeMap<String, String>) -> Self {
        let mut reader = Reader { variables, warnings: Vec::new() };
        let disabled = reader.flag("OTEL_SDK_DISABLED");
        let value_length = reader.number("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT");
        let mut environment = Self {
            traces: reader.export(Signal::Traces, disabled),
            metrics: reader.export(Signal::Metrics, disabled),
            logs: reader.export(Signal::Logs, disabled),
            service_name: reader.text("OTEL_SERVICE_NAME").map(str::to_owned),
            resource_attributes: reader.pairs("OTEL_RESOURCE_ATTRIBUTES"),
            sampler: reader.sampler(),
            span_limits: reader.span_limits(),
            span_value_length: reader.number("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT").or(value_length),
            log_value_length: reader.number("OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT").or(value_length),
            span_batches: reader.batches("OTEL_BSP", Duration::from_secs(5)),
            log_batches: reader.batches("OTEL_BLRP", Duration::from_secs(1)),
            metric_interval: reader
                .milliseconds("OTEL_METRIC_EXPORT_INTERVAL")
                .unwrap_or(Duration::from_secs(60)),
            temporality: reader.temporality(),
            propagators: reader.propagators(),
            warnings: Vec::new(),
        };
        for name in UNSUPPORTED {
            if reader.text(name).is_some() {
                reader.warnings.push(format!("{name} is not supported and has no effect"));
            }
        }
        // What holds for all signals is read for each.
        for warning in reader.warnings {
            if !environment.warnings.contains(&warning) {
                environment.warnings.push(warning);
            }
        }
        environment
    }

    /// Has what is sent to endpoints to be known there be hidden in every text. Values of other headers may be words, such as
    /// the name of a tenant: they are hidden in what comes back from the endpoint alone.
    pub(crate) fn hide_credentials(&self, redactor: &Redactor) {
        redactor.hide_proxies();
        for target in
            [&self.traces, &self.metrics, &self.logs].into_iter().filter_map(|export| export.otlp.as_ref())
        {
            redactor.hide_url(&target.endpoint);
            for (name, value) in &target.headers {
                if redactor.hides_option(name) || value.expose().len() >= LONG_HEADER {
                    redactor.hide_header(value.expose());
                }
            }
        }
    }
}

struct Reader<'a> {
    variables: &'a BTreeMap<String, String>,
    warnings: Vec<String>,
}

impl<'a> Reader<'a> {
    fn text(&self, name: &str) -> Option<&'a str> {
        self.variables.get(name).map(|text| text.trim()).filter(|text| !text.is_empty())
    }

    /// The first of the variables that is set, with its name.
    fn first<'n>(&self, names: [&'n str; 2]) -> Option<(&'n str, &'a str)> {
        names.into_iter().find_map(|name| self.text(name).map(|text| (name, text)))
    }

    fn wrong(&mut self, name: &str, text: &str, instead: &str) {
        self.warnings.push(format!("{name}={text:?} is not understood: {instead}"));
    }

    fn flag(&mut self, name: &str) -> bool {
        match self.text(name) {
            Some(text) if text.eq_ignore_ascii_case("true") => true,
            Some(text) if !text.eq_ignore_ascii_case("false") => {
                self.wrong(name, text, "false is used");
                false
            }
            _ => false,
        }
    }

    fn number(&mut self, name: &str) -> Option<usize> {
        let text = self.text(name)?;
        let number = text.parse().ok();
        if number.is_none() {
            self.wrong(name, text, "the default is used, a whole number was expected");
        }
        number
    }

    fn milliseconds(&mut self, name: &str) -> Option<Duration> {
        self.positive(name).map(|number| Duration::from_millis(number as u64))
    }

    fn positive(&mut self, name: &str) -> Option<usize> {
        let number = self.number(name)?;
        if number == 0 {
            self.wrong(name, "0", "the default is used, a number greater than 0 was expected");
        }
        Some(number).filter(|&number| number > 0)
    }

    fn pairs(&mut self, name: &str) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        for pair in self.text(name).unwrap_or_default().split(',').filter(|pair| !pair.trim().is_empty()) {
            match pair.split_once('=') {
                Some((key, value)) if !key.trim().is_empty() => {
                    pairs.push((percent_decoded(key.trim()), percent_decoded(value.trim())));
                }
                // The pair itself is not shown: it may be half of a credential.
                _ => self.warnings.push(format!("{name} has a part without \"=\", which is left out")),
            }
        }
        pairs
    }

    fn export(&mut self, signal: Signal, disabled: bool) -> SignalExport {
        let of_signal = |rest: &str| format!("OTEL_EXPORTER_OTLP_{}_{rest}", signal.name().to_uppercase());
        let name = format!("OTEL_{}_EXPORTER", signal.name().to_uppercase());
        let mut export = SignalExport::default();
        let mut otlp = match self.text(&name) {
            None => self.first([&of_signal("ENDPOINT"), "OTEL_EXPORTER_OTLP_ENDPOINT"]).is_some(),
            Some(list) => {
                let mut otlp = false;
                for exporter in list.split(',').map(str::trim) {
                    match exporter {
                        "otlp" => otlp = true,
                        "console" => export.console = true,
                        "none" => {}
                        _ => self.wrong(
                            &name,
                            exporter,
                            "nothing is exported by it, known are otlp, console, none",
                        ),
                    }
                }
                otlp
            }
        };
        if disabled {
            otlp = false;
            export.console = false;
        }
        if otlp {
            export.otlp = self.otlp_target(signal, &of_signal);
        }
        export
    }

    fn otlp_target(&mut self, signal: Signal, of_signal: &dyn Fn(&str) -> String) -> Option<OtlpTarget> {
        let protocol = self.protocol([&of_signal("PROTOCOL"), "OTEL_EXPORTER_OTLP_PROTOCOL"]);
        let endpoint = self.endpoint(signal, protocol, of_signal)?;
        let headers = [of_signal("HEADERS"), "OTEL_EXPORTER_OTLP_HEADERS".to_owned()]
            .iter()
            .find(|name| self.text(name).is_some())
            .map(|name| self.pairs(name))
            .unwrap_or_default();
        let timeout = self
            .milliseconds(&of_signal("TIMEOUT"))
            .or_else(|| self.milliseconds("OTEL_EXPORTER_OTLP_TIMEOUT"))
            .unwrap_or(Duration::from_secs(10));
        Some(OtlpTarget {
            protocol,
            endpoint,
            headers: headers.into_iter().map(|(key, value)| (key, Secret::new(value))).collect(),
            timeout,
            gzip: self.gzip([&of_signal("COMPRESSION"), "OTEL_EXPORTER_OTLP_COMPRESSION"]),
            tls: self.tls(of_signal),
        })
    }

    fn tls(&mut self, of_signal: &dyn Fn(&str) -> String) -> TlsFiles {
        let mut file = |kind: &str, instead: &str| {
            let (own, common) = (of_signal(kind), format!("OTEL_EXPORTER_OTLP_{kind}"));
            let (name, path) = self.first([&own, &common])?;
            let text = match read_named(Path::new(path), MAX_CERTIFICATE_BYTES) {
                Ok(text) if text.is_empty() => Err(io::Error::other("it is empty")),
                text => text,
            };
            if let Err(error) = &text {
                self.warnings.push(format!("{name}: {path} cannot be read ({error}): {instead}"));
            }
            Some(text.ok())
        };
        let authorities = file("CERTIFICATE", "the certificates of the system are trusted");
        let instead = "no client certificate is shown";
        let (key, certificates) = (file("CLIENT_KEY", instead), file("CLIENT_CERTIFICATE", instead));
        let identity = match (key, certificates) {
            (Some(key), Some(certificates)) => {
                key.zip(certificates).map(|(key, certificates)| ClientIdentity::from_pem(certificates, key))
            }
            (None, None) => None,
            _ => {
                let names = "OTEL_EXPORTER_OTLP_CLIENT_KEY and OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE";
                self.warnings.push(format!("{names} go together, and only one is set: {instead}"));
                None
            }
        };
        TlsFiles { authorities: authorities.flatten(), identity }
    }

    fn protocol(&mut self, names: [&str; 2]) -> OtlpProtocol {
        match self.first(names) {
            Some((_, "grpc")) => OtlpProtocol::Grpc,
            None | Some((_, "http/protobuf")) => OtlpProtocol::HttpProtobuf,
            Some((_, "http/json")) => OtlpProtocol::HttpJson,
            Some((name, other)) => {
                let instead = "http/protobuf is used, known are grpc, http/protobuf, http/json";
                self.wrong(name, other, instead);
                OtlpProtocol::HttpProtobuf
            }
        }
    }

    fn gzip(&mut self, names: [&str; 2]) -> bool {
        match self.first(names) {
            Some((_, "gzip")) => true,
            None | Some((_, "none")) => false,
            Some((name, other)) => {
                self.wrong(name, other, "nothing is compressed, known are gzip and none");
                false
            }
        }
    }

    fn endpoint(
        &mut self,
        signal: Signal,
        protocol: OtlpProtocol,
        of_signal: &dyn Fn(&str) -> String,
    ) -> Option<String> {
        let own_name = of_signal("ENDPOINT");
        let own = self.text(&own_name);
        let common = self.text("OTEL_EXPORTER_OTLP_ENDPOINT");
        let endpoint = match protocol {
            OtlpProtocol::HttpProtobuf | OtlpProtocol::HttpJson => {
                own.map(str::to_owned).unwrap_or_else(|| {
                    let base = common.unwrap_or("http://localhost:4318").trim_end_matches('/');
                    format!("{base}/v1/{signal}")
                })
            }
            OtlpProtocol::Grpc => {
                let endpoint = own.or(common).unwrap_or("http://localhost:4317");
                let insecure = self
                    .first([&of_signal("INSECURE"), "OTEL_EXPORTER_OTLP_INSECURE"])
                    .is_some_and(|(_, text)| text.eq_ignore_ascii_case("true"));
                match endpoint.contains("://") {
                    true => endpoint.to_owned(),
                    false => format!("{}://{endpoint}", if insecure { "http" } else { "https" }),
                }
            }
        };
        let is_web = |url: &Url| ["http", "https"].contains(&url.scheme()) && url.has_host();
        if Url::parse(&endpoint).is_ok_and(|url| is_web(&url)) {
            return Some(endpoint);
        }
        let name = if own.is_some() { &own_name } else { "OTEL_EXPORTER_OTLP_ENDPOINT" };
        let shown = shown_url(own.or(common).unwrap_or_default());
        self.wrong(name, &shown, "nothing is exported to it, a URL with http:// or https:// is expected");
        None
    }

    fn sampler(&mut self) -> Sampler {
        let on_by_parent = || Sampler::ParentBased(Box::new(Sampler::AlwaysOn));
        match self.text("OTEL_TRACES_SAMPLER") {
            None | Some("parentbased_always_on") => on_by_parent(),
            Some("always_on") => Sampler::AlwaysOn,
            Some("always_off") => Sampler::AlwaysOff,
            Some("traceidratio") => Sampler::TraceIdRatioBased(self.ratio()),
            Some("parentbased_always_off") => Sampler::ParentBased(Box::new(Sampler::AlwaysOff)),
            Some("parentbased_traceidratio") => {
                Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(self.ratio())))
            }
            Some(other) => {
                self.wrong("OTEL_TRACES_SAMPLER", other, "parentbased_always_on is used");
                on_by_parent()
            }
        }
    }

    fn ratio(&mut self) -> f64 {
        let name = "OTEL_TRACES_SAMPLER_ARG";
        let Some(text) = self.text(name) else { return 1.0 };
        match text.parse::<f64>() {
            Ok(ratio) if (0.0..=1.0).contains(&ratio) => ratio,
            _ => {
                self.wrong(name, text, "1.0 is used, a number from 0 to 1 was expected");
                1.0
            }
        }
    }

    fn span_limits(&mut self) -> SpanLimits {
        let mut limits = SpanLimits::default();
        let set = |limit: &mut u32, number: Option<usize>| {
            if let Some(number) = number {
                *limit = u32::try_from(number).unwrap_or(u32::MAX);
            }
        };
        let common = self.number("OTEL_ATTRIBUTE_COUNT_LIMIT");
        set(&mut limits.max_attributes_per_span, self.number("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT").or(common));
        set(&mut limits.max_events_per_span, self.number("OTEL_SPAN_EVENT_COUNT_LIMIT"));
        set(&mut limits.max_links_per_span, self.number("OTEL_SPAN_LINK_COUNT_LIMIT"));
        set(&mut limits.max_attributes_per_event, self.number("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT"));
        set(&mut limits.max_attributes_per_link, self.number("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT"));
        limits
    }

    fn batches(&mut self, prefix: &str, delay: Duration) -> Batches {
        let queue_length = self.positive(&format!("{prefix}_MAX_QUEUE_SIZE")).unwrap_or(2_048);
        let batch_length = self.positive(&format!("{prefix}_MAX_EXPORT_BATCH_SIZE")).unwrap_or(512);
        Batches {
            queue_length,
            batch_length: batch_length.min(queue_length),
            delay: self.milliseconds(&format!("{prefix}_SCHEDULE_DELAY")).unwrap_or(delay),
        }
    }

    fn temporality(&mut self) -> Temporality {
        let name = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
        let Some(text) = self.text(name) else { return Temporality::Cumulative };
        match text.to_ascii_lowercase().as_str() {
            "cumulative" => Temporality::Cumulative,
            "delta" => Temporality::Delta,
            "lowmemory" => Temporality::LowMemory,
            _ => {
                self.wrong(name, text, "cumulative is used, known are cumulative, delta, lowmemory");
                Temporality::Cumulative
            }
        }
    }

    fn propagators(&mut self) -> Propagators {
        let name = "OTEL_PROPAGATORS";
        let Some(list) = self.text(name) else {
            return Propagators { trace_context: true, baggage: true };
        };
        let mut propagators = Propagators { trace_context: false, baggage: false };
        for propagator in list.split(',').map(str::trim) {
            match propagator {
                "tracecontext" => propagators.trace_context = true,
                "baggage" => propagators.baggage = true,
                "none" => {}
                _ => self.wrong(name, propagator, "it is left out, known are tracecontext, baggage, none"),
            }
        }
        propagators
    }
}

/// The text with every `%XX` replaced by its byte; unchanged where that is not UTF-8.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = (*first == b'%')
            .then(|| tail.get(..2))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Environment {
        Environment::read(
            &variables.into_iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect(),
        )
    }

    #[track_caller]
    fn check_endpoint<const N: usize>(variables: [(&str, &str); N], expected: Option<&str>) {
        let endpoint = read(variables).traces.otlp.map(|target| target.endpoint);
        assert_eq!(endpoint.as_deref(), expected);
    }

    #[test]
    fn endpoints_are_those_of_the_specification() {
        let endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT";
        let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
        check_endpoint([], None);
        check_endpoint([("OTEL_TRACES_EXPORTER", "otlp")], Some("http://localhost:4318/v1/traces"));
        check_endpoint([("OTEL_TRACES_EXPORTER", "otlp"), grpc], Some("http://localhost:4317"));
        check_endpoint([(endpoint, "http://c:1/")], Some("http://c:1/v1/traces"));
        check_endpoint([("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c:1/x")], Some("http://c:1/x"));
        check_endpoint([(endpoint, "c:1"), grpc], Some("https://c:1"));
        check_endpoint(
            [(endpoint, "c:1"), grpc, ("OTEL_EXPORTER_OTLP_INSECURE", "true")],
            Some("http://c:1"),
        );
    }

    #[test]
    fn an_endpoint_that_is_none_is_one_warning() {
        for text in ["foo", "localhost:4318", "ftp://c:1"] {
            let environment = read([("OTEL_EXPORTER_OTLP_ENDPOINT", text)]);
            assert_eq!(
                environment.warnings,
                [format!(
                    "OTEL_EXPORTER_OTLP_ENDPOINT={text:?} is not understood: nothing is exported to it, a URL with \
                     http:// or https:// is expected"
                )]
            );
            assert!(environment.traces.otlp.is_none() && environment.metrics.otlp.is_none());
        }
    }

    #[test]
    fn export_can_be_switched_off() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:1");
        check_endpoint([endpoint, ("OTEL_TRACES_EXPORTER", "none")], None);
        check_endpoint([endpoint, ("OTEL_SDK_DISABLED", "TRUE")], None);
        check_endpoint([endpoint, ("OTEL_TRACES_EXPORTER", " ")], Some("http://c:1/v1/traces"));
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

    #[track_caller]
    fn check_tls<const N: usize>(variables: [(&str, &str); N], expected: &[&str]) -> TlsFiles {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c:1");
        let environment = read([endpoint].into_iter().chain(variables).collect::<Vec<_>>());
        assert_eq!(environment.warnings, expected);
        environment.metrics.otlp.unwrap().tls
    }

    #[test]
    fn certificates_are_read_and_what_cannot_be_is_said_once() {
        let folder = tempfile::tempdir().unwrap();
        let [file, other] = ["a.pem", "b.pem"].map(|name| folder.path().join(name));
        fs::write(&file, "first").unwrap();
        fs::write(&other, "second").unwrap();
        let [file, other] = [&file, &other].map(|path| path.to_str().unwrap());
        let (all, own) = ("OTEL_EXPORTER_OTLP_CERTIFICATE", "OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE");
        assert_eq!(check_tls([(all, file)], &[]).authorities.unwrap(), b"first");
        assert_eq!(check_tls([(all, file), (own, other)], &[]).authorities.unwrap(), b"second");
        let warning = "OTEL_EXPORTER_OTLP_CERTIFICATE: /nowhere cannot be read (No such file or directory \
                       (os error 2)): the certificates of the system are trusted";
        assert_eq!(check_tls([(all, "/nowhere")], &[warning]).authorities, None);

        let empty = folder.path().join("empty.pem");
        fs::write(&empty, "").unwrap();
        let empty = empty.to_str().unwrap();
        let warning = format!(
            "OTEL_EXPORTER_OTLP_CERTIFICATE: {empty} cannot be read (it is empty): the certificates of the system are \
             trusted"
        );
        assert_eq!(check_tls([(all, empty)], &[&warning]).authorities, None);

        let key = ("OTEL_EXPORTER_OTLP_CLIENT_KEY", file);
        let certificate = ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", other);
        let tls = check_tls([key, certificate], &[]);
        assert!(!format!("{tls:?}").contains("first"), "{tls:?}");
        assert_eq!(tls.identity.unwrap().certificates_pem(), b"second");
        let warning = "OTEL_EXPORTER_OTLP_CLIENT_KEY and OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE go together, and \
                       only one is set: no client certificate is shown";
        assert!(check_tls([key], &[warning]).identity.is_none());
    }

    #[test]
    fn a_wrong_value_gives_one_warning_and_the_default() {
        let environment = read([
            ("OTEL_BSP_MAX_QUEUE_SIZE", "many"),
            ("OTEL_TRACES_SAMPLER", "traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "7"),
            ("OTEL_PROPAGATORS", "b3"),
            ("OTEL_METRICS_EXPORTER", "prometheus"),
            ("OTEL_CONFIG_FILE", "x.yaml"),
            ("OTEL_BLRP_MAX_QUEUE_SIZE", "0"),
        ]);
        assert_eq!(environment.span_batches.queue_length, 2_048);
        assert_eq!(environment.log_batches.queue_length, 2_048);
        assert_eq!(environment.warnings.len(), 6, "{:?}", environment.warnings);
        assert_eq!(
            environment.warnings[0],
            "OTEL_METRICS_EXPORTER=\"prometheus\" is not understood: nothing is exported by it, known are \
             otlp, console, none"
        );
    }
}
