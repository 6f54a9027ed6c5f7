//! OpenTelemetry for runs: providers, OTLP export, attribute names, stage spans, log correlation and OTLP/JSON signal files.
//!
//! A [`Bridge`] represents the process. It exports over OTLP if the `OTEL_*` variables request it, and takes part in a program's
//! `tracing` subscriber through [`Bridge::layer`]. Each run that it opens has its [`RunSignals`]: spans, metrics, and three files
//! with everything that was recorded in the run's contexts. Every item is counted, for each destination, from its creation to its
//! arrival ([`SignalLedgers`]).
//!
//! The identity of a run belongs to `daglight-run-identity`, what may be captured to `daglight-capture-policy`, and the paths of
//! the files to `daglight-run-bundle`.

// The bridge, and what a run records with it.
mod value;
mod vocabulary;
mod ledger;
mod slow_after;
mod span_status;
mod beat_metrics;
mod exemplars;
mod metrics;
mod run_scope;
mod origin;
mod own_record;
mod run_state;
mod bridge_inner;
mod run_spans;
mod stage_span;
mod run_signals;
mod bridge;

// Signals on their way: their origins, and the door that all of them pass.
mod door;
mod layer;
mod metric_changes;
mod metric_door;
mod metric_reader;
mod processors;
mod resource;
mod sampler;
mod scrub;
mod scrub_metrics;
mod span_map;

// The files of a run.
mod last_sign;
mod lines;
mod recover;
mod signal_files;

// Export over OTLP and to the console.
mod console;
mod export_queues;
mod exporter_client;
mod exporter_events;
mod exporters;
mod exports;
mod prometheus_families;
mod prometheus_text;
mod queue;
mod scrape_server;

// Endpoints, and sending existing requests to them.
mod grpc_endpoint;
mod http_endpoint;
mod messages;
mod probe;
mod replay;
mod send_error;
mod sender;
mod transport;

// The `OTEL_*` variables.
mod environment;
mod misspelled;
mod traceparent;
mod otlp_target;
mod signal_export;
mod variables;

// Integration with the program's own spans.
mod attach;
mod program_processors;
mod propagation;
mod trace_ids;

pub use daglight_semantic_conventions as names;

pub use attach::{BridgeTracer, BridgeTracerProvider, ProgramProviders};
pub use beat_metrics::BeatMeasures;
pub use bridge::{Bridge, BridgeConfig};
/// The files to which the signals of a run are written.
pub use daglight_run_bundle::SignalFiles;
pub use last_sign::last_sign_of_life;
pub use ledger::{DestinationCounts, Signal, SignalLedgers};
pub use lines::{DamagedLines, ReadError};
pub use metrics::RunMetrics;
pub use probe::{EndpointCheck, OtlpCheck, check_endpoints};
pub use program_processors::{RunLogProcessor, RunSpanProcessor};
pub use recover::{KnownEnd, KnownNode, KnownRun, RecoverError, complete_spans};
pub use replay::{ReplayError, Replayed, ReplayedItems, replay};
pub use run_scope::RunScope;
pub use run_signals::RunSignals;
pub use send_error::SendError;
pub use slow_after::SlowAfter;
pub use span_status::SpanStatus;
pub use stage_span::{StageSpan, StageSpanBuilder};
pub use trace_ids::WithTraceIds;
pub use value::{AttributeKey, AttributeValue};
