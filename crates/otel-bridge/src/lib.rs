//! OpenTelemetry for runs: providers, OTLP export, attribute names, stage spans, log correlation and OTLP/JSON signal files.
//!
//! A [`Bridge`] stands for the process. It exports over OTLP where the `OTEL_*` variables ask for it, and takes part in a
//! program's `tracing` subscriber through [`Bridge::layer`]. Each run that it opens has its [`RunSignals`]: spans,
//! metrics, and three files with everything that was recorded in the run's contexts. Every item is counted, for each
//! destination, from where it is made to where it arrives ([`SignalLedgers`]).
//!
//! What a run is called belongs to `daglight-run-identity`, what may be captured to `daglight-capture-policy`, where the
//! files are to `daglight-run-bundle`.

mod attach;
mod bridge;
mod console;
mod door;
mod environment;
mod export_queues;
mod exporter_client;
mod exporter_events;
mod exporters;
mod exports;
mod grpc_endpoint;
mod http_endpoint;
mod last_sign;
mod layer;
mod ledger;
mod lines;
mod messages;
mod metric_changes;
mod metric_reader;
mod metrics;
mod origin;
mod otlp_target;
mod own_record;
mod probe;
mod processors;
mod program_processors;
mod propagation;
mod queue;
mod recover;
mod replay;
mod resource;
mod run_signals;
mod run_state;
mod sampler;
mod scrub;
mod scrub_metrics;
mod send_error;
mod sender;
mod signal_export;
mod signal_files;
mod span_map;
mod stage_span;
mod trace_ids;
mod transport;
mod value;
mod variables;
mod vocabulary;

pub use daglight_semantic_conventions as names;

pub use attach::{BridgeTracer, BridgeTracerProvider, ProgramProviders};
pub use bridge::{Bridge, BridgeConfig};
/// Where the signals of a run are written.
pub use daglight_run_bundle::SignalFiles;
pub use last_sign::last_sign_of_life;
pub use ledger::{Signal, SignalLedger, SignalLedgers};
pub use lines::{DamagedLines, ReadError};
pub use metrics::RunMetrics;
pub use probe::{EndpointCheck, OtlpCheck, check_endpoints};
pub use program_processors::{RunLogProcessor, RunSpanProcessor};
pub use recover::{KnownEnd, KnownNode, KnownRun, RecoverError, complete_spans};
pub use replay::{ReplayError, Replayed, ReplayedItems, replay};
pub use run_signals::RunSignals;
pub use run_state::RunScope;
pub use send_error::SendError;
pub use stage_span::{SlowAfter, SpanStatus, StageSpan, StageSpanBuilder};
pub use trace_ids::WithTraceIds;
pub use value::{AttributeKey, AttributeValue};
