//! The report of a run, made from its bundle: JSON, Markdown and one HTML page.
//!
//! [`Report::from_bundle`] reads a bundle and says what happened in its run: what was slow, idle, stalled or lost. What
//! lies in a bundle, and how its files are read, belongs to `daglight-run-bundle`.
//!
//! [`Comparison`] says what changed since another run, and [`export`] writes the spans of a run in the formats of other viewers.
//!
//! `inputs.rs` reads, `assemble.rs` makes the report of what was read, and `write.rs` writes it; the rest is pure.

mod assemble;
mod charts;
mod compare;
mod coverage;
mod dag;
pub mod display;
mod export;
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
mod page_script;
mod plan_tree;
mod plans;
#[cfg(test)]
mod planted;
mod problems;
mod queries;
mod report;
mod samples;
mod section;
mod sections;
mod self_time;
mod shown_spans;
mod signals;
mod timeline;
mod unreadable;
mod waterfall;
mod write;

pub use compare::{
    COMPARISON_VERSION, ColumnDrift, ComparedRun, Comparison, Criterion, CriterionError, Difference,
    Measured, NodeComparison, OutputComparison, PlanChange, RunOfComparison, TimeComparison,
};
/// From where on what is found is worth a word.
pub use daglight_finding_thresholds::FindingThresholds;
pub use export::{ExportError, ExportFormat, ExportSignal, Exported, export};
pub use findings::{Evidence, Finding, FindingKind, Unit, UnknownFinding};
pub use html::STYLE as PAGE_STYLE;
pub use inputs::{ReportError, ReportOptions};
pub use page_script::policy as page_policy;
pub use report::{
    ActiveTaskReport, Concurrency, CriticalStep, DeliveryReport, HeadlineSentence, HeartbeatReport, IdleGap,
    Level, NodeReport, OperatorReport, PlanReport, PlannedOperator, Problem, QueryReport, REPORT_VERSION,
    Report, ReportStatus, ResourceSample, Severity, SpanReport, StageReport, StallReport, Timeline,
    TimelineSpan, TimelineSpanKind, Totals, UnreadableFile,
};
