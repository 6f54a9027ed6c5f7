//! The destinations of each signal other than the bundle, from the `OTEL_*_EXPORTER` variables.

use crate::{ledger::Signal, otlp_target::OtlpTarget, variables::Variables};

/// The destinations of one signal other than the bundle.
#[derive(Debug, Default)]
pub(crate) struct SignalExport {
    pub(crate) otlp: Option<OtlpTarget>,
    pub(crate) console: bool,
    /// Where Prometheus can scrape them. Only for metrics.
    pub(crate) prometheus: Option<ScrapeTarget>,
}

/// The address to listen on, from the variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScrapeTarget {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl SignalExport {
    pub(crate) fn read(variables: &mut Variables<'_>, signal: Signal, disabled: bool) -> Self {
        let name = format!("OTEL_{}_EXPORTER", signal.name().to_uppercase());
        let mut export = Self::default();
        let mut otlp = match variables.text(&name) {
            None => OtlpTarget::is_named(variables, signal),
            Some(list) => {
                let mut otlp = false;
                for exporter in list.split(',').map(str::trim) {
                    match exporter {
                        "otlp" => otlp = true,
                        "console" => export.console = true,
                        "prometheus" if signal == Signal::Metrics => {
                            export.prometheus = Some(scrape_target(variables));
                        }
                        "none" => {}
                        _ => variables.wrong(
                            &name,
                            exporter,
                            match signal {
                                Signal::Metrics => {
                                    "nothing is exported by it, known are otlp, prometheus, console, none"
                                }
                                _ => "nothing is exported by it, known are otlp, console, none",
                            },
                        ),
                    }
                }
                otlp
            }
        };
        if disabled {
            otlp = false;
            export.console = false;
            export.prometheus = None;
        }
        if otlp {
            export.otlp = OtlpTarget::read(variables, signal);
        }
        export
    }
}

/// The address to listen on. Both variables and their defaults are from the specification.
fn scrape_target(variables: &mut Variables<'_>) -> ScrapeTarget {
    let port = "OTEL_EXPORTER_PROMETHEUS_PORT";
    let number = variables.text(port).and_then(|text| {
        let number = text.parse().ok();
        if number.is_none() {
            variables.wrong(port, text, "it is not a port, and 9464 is used");
        }
        number
    });
    let host = variables.text("OTEL_EXPORTER_PROMETHEUS_HOST").unwrap_or("localhost");
    ScrapeTarget { host: host.to_owned(), port: number.unwrap_or(9464) }
}

#[cfg(test)]
mod tests {
    use daglight_capture_policy::Redactor;

    use crate::environment::{Environment, tests::check_endpoint};

    #[test]
    fn export_can_be_switched_off() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:1");
        check_endpoint([endpoint, ("OTEL_TRACES_EXPORTER", "none")], None);
        check_endpoint([endpoint, ("OTEL_SDK_DISABLED", "TRUE")], None);
        check_endpoint([endpoint, ("OTEL_TRACES_EXPORTER", " ")], Some("http://c:1/v1/traces"));
    }

    #[test]
    fn prometheus_is_for_metrics_and_listens_where_the_variables_say() {
        let target = |more: &[(&str, &str)]| {
            let mut values = vec![("OTEL_METRICS_EXPORTER", "prometheus")];
            values.extend(more);
            let values = values.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
            let environment = Environment::read(&values.collect(), &Redactor::default());
            let target = environment.metrics.prometheus.map(|target| (target.host, target.port));
            (target, environment.warnings.len())
        };
        let at = |host: &str, port| Some((host.to_owned(), port));
        assert_eq!(target(&[]), (at("localhost", 9464), 0));
        let variables = [("OTEL_EXPORTER_PROMETHEUS_HOST", "::1"), ("OTEL_EXPORTER_PROMETHEUS_PORT", "0")];
        assert_eq!(target(&variables), (at("::1", 0), 0));
        assert_eq!(target(&[("OTEL_EXPORTER_PROMETHEUS_PORT", "many")]), (at("localhost", 9464), 1));
        assert_eq!(target(&[("OTEL_SDK_DISABLED", "true")]), (None, 0));
        assert_eq!(target(&[("OTEL_LOGS_EXPORTER", "prometheus")]), (at("localhost", 9464), 1));
    }
}
