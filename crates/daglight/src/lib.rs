//! Run telemetry for Apache DataFusion pipelines: Hamilton UI, OpenTelemetry and a run bundle from one instrumented run.
