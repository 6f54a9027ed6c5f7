//! The report of a run, made from its bundle: JSON, Markdown and one HTML page.
//!
//! [`Report::from_bundle`] reads a bundle and says what happened in its run: what was slow, idle, stalled or lost. What
//! lies in a bundle, and how its files are read, belongs to `daglight-run-bundle`.
//!
//! [`Comparison`] says what changed since another run.
//!
//! `inputs.rs` reads, `assemble.rs` makes the report of what was read, and `write.rs` writes it; the rest is pure.

mod assemble;
mod compare;
mod coverage;
pub mod display;
mod findings;
#[cfg(test)]
mod fixture;
mod headline;
mod html;
mod inputs;
mod largest;
mod markdown;
mod nodes;
mod otlp;
#[cfg(test)]
mod planted;
mod problems;
mod queries;
mod report;
mod section;
mod sections;
mod signals;
mod timeline;
mod waterfall;
mod write;

pub use compare::{
    COMPARISON_VERSION, ComparedRun, Comparison, Criterion, CriterionError, Difference, Measured,
    NodeComparison, OutputComparison, PlanChange, RunOfComparison, TimeComparison,
};
pub use findings::{Evidence, Finding, FindingKind, Unit, UnknownFinding};
pub use inputs::ReportError;
pub use report::{
    ActiveTaskReport, Concurrency, CriticalStep, DeliveryReport, HeadlineSentence, HeartbeatReport, IdleGap,
    Level, NodeReport, OperatorReport, Problem, QueryReport, REPORT_VERSION, Report, ReportStatus, Severity,
    SpanReport, StageReport, StallReport, Timeline, Totals, UnreadableFile,
};
