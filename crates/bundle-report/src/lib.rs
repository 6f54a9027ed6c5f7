//! The run bundle on disk: layout, manifest, versions, and the report made from its signals.
//!
//! ```text
//! <output_dir>/run_bundle/<run_id>/
//!   manifest.json                     what ran, how it ended, what was delivered      Manifest
//!   otel_traces.json                  OTLP/JSON, one object per line
//!   otel_metrics.json
//!   otel_logs.json
//!   plans/<nnn>-<node>-<plan_hash>.json
//!   artifacts.json                    what was written                                ArtifactCatalog
//!   tracker/                          outbox and delivery cursor
//!   heartbeat.json                    the process, while it lives and after
//!   run_diagnostics_report.json / .md / .html                                         Report
//! ```
//!
//! The signal files are written by `daglight-otel-bridge`, plans by `daglight-plan-diagnostics`, the outbox by
//! `daglight-tracker-client`, and `heartbeat.json` by `daglight-heartbeat`; this crate knows where they are, and reads
//! them.

mod artifact;
mod assemble;
mod bundle;
mod coverage;
mod display;
#[cfg(test)]
mod fixture;
mod headline;
mod html;
mod layout;
mod ledger;
mod lines;
mod manifest;
mod manifest_lock;
mod markdown;
mod markup;
mod nodes;
mod otlp;
mod own_time;
mod plan_bundle;
#[cfg(test)]
mod planted;
mod problems;
mod queries;
mod replace;
mod report;
mod signals;
mod timeline;
mod top;
mod versioned;
mod warning;
mod waterfall;

pub use artifact::{ARTIFACTS_VERSION, Artifact, ArtifactCatalog, ArtifactColumn};
pub use assemble::ReportError;
pub use bundle::{Bundle, BundleError, RUN_BUNDLE};
pub use display::duration as shown_duration;
pub use layout::{DeleteError, Deleted};
pub use ledger::{Delivery, Ledger, LedgerDestination, LedgerSignal, SignalLedger};
pub use lines::FileReading;
pub use manifest::{
    AttemptRecord, FileEntry, Identity, Links, MANIFEST_FORMAT, MANIFEST_VERSION, Manifest, NodeRecord,
    NodeStatus, RunStatus, Tracking, UpdateError,
};
pub use own_time::OwnTime;
pub use replace::WriteError;
pub use report::{
    ActiveTaskReport, DeliveryReport, Finding, HeartbeatReport, IdleGap, Level, NodeReport, OperatorReport,
    Problem, ProcessState, QueryReport, REPORT_VERSION, Report, ReportStatus, Severity, SpanReport,
    StageReport, StallReport, Timeline, Totals, UnreadableFile,
};
pub use versioned::ReadError;
pub use warning::{Warning, WarningCode};
