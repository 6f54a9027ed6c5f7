//! OpenTelemetry for runs: providers, OTLP export, attribute names, stage spans, log correlation and OTLP/JSON signal files.

pub mod names;
