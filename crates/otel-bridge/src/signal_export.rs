//! Where each signal goes besides the bundle, as the `OTEL_*_EXPORTER` variables say.

use crate::{ledger::Signal, otlp_target::OtlpTarget, variables::Variables};

/// Where one signal goes besides the bundle.
#[derive(Debug, Default)]
pub(crate) struct SignalExport {
    pub(crate) otlp: Option<OtlpTarget>,
    pub(crate) console: bool,
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
                        "none" => {}
                        _ => variables.wrong(
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
            export.otlp = OtlpTarget::read(variables, signal);
        }
        export
    }
}

#[cfg(test)]
mod tests {
    use crate::environment::tests::check_endpoint;

    #[test]
    fn export_can_be_switched_off() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:1");
        check_endpoint([endpoint, ("OTEL_TRACES_EXPORTER", "none")], None);
        check_endpoint([endpoint, ("OTEL_SDK_DISABLED", "TRUE")], None);
        check_endpoint([endpoint, ("OTEL_TRACES_EXPORTER", " ")], Some("http://c:1/v1/traces"));
    }
}
