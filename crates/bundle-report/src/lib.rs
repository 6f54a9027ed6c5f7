//! The report of a run, made from its bundle: JSON, Markdown and one HTML page.
//!
//! [`Report::from_bundle`] reads a bundle and reports what happened in its run: what was slow, idle, stalled or lost. The files of
//! a bundle, and how they are read, belong to `daglight-run-bundle`.
//!
//! [`Comparison`] contains what changed since another run, and [`export`] writes the spans of a run in the formats of other
//! viewers.
//!
//! `inputs.rs` reads, `judged_plans.rs` processes each plan as it is read, `assemble.rs` makes the report from both, and `write.rs`
//! writes it; the rest is pure. `from_bundle.rs` calls them in that order.

// The content of a report, and how it is made from a bundle.
mod report;
mod left_jobs;
mod level;
mod inputs;
mod judged_plans;
mod assemble;
mod from_bundle;
mod write;
mod unreadable;

// Data from the files of a bundle.
mod otlp;
mod otlp_metrics;
mod trace_lines;
mod signals;
mod open_spans;
mod seen_statement;
mod operator_time;
mod queries;
mod plans;
mod plan_sums;
mod cluster_sums;
mod column_values;
mod data;
mod nodes;
mod ended_nodes;
mod problems;
mod samples;
mod hidden;

// Derived data.
mod timeline;
mod coverage;
mod self_time;
mod shown_spans;
mod slow_span;
mod largest;
mod findings;
mod headline;

// Comparisons, and exports for other viewers.
mod compare;
mod export;

// How it is displayed.
pub mod display;
mod section;
mod section_parts;
mod sections;
mod node_sections;
mod process_sections;
mod plan_sections;
mod cluster_section;
mod data_section;
mod since_section;
mod charts;
mod waterfall;
mod drawn_nodes;
mod dag;
mod plan_tree;
mod markdown;
mod explanations;
mod html;
mod page_script;
mod timeline_lanes;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod planted;

pub use compare::{
    COMPARISON_VERSION, ComparedPart, ComparedRun, Comparison, ComparisonPage, Criterion, CriterionError,
    Difference, Measured, NodeComparison, NotCompared, OutputComparison, PlanChange, RunOfComparison,
    SourceFiles, SourceMoved, TimeComparison, ValueDrift,
};
/// The thresholds from which a finding is listed.
pub use daglight_finding_thresholds::FindingThresholds;
pub use ended_nodes::{EndedCounts, EndedNodes};
pub use export::{ExportError, ExportFormat, ExportSignal, Exported, export};
pub use findings::{Evidence, Finding, FindingKind, Unit, UnknownFinding};
pub use html::STYLE as PAGE_STYLE;
pub use inputs::{ReportError, ReportOptions};
pub use left_jobs::job_left;
pub use level::Level;
pub use page_script::{SCRIPT as PAGE_SCRIPT, policy as page_policy};
pub use report::{
    ActiveTaskReport, ClusterReport, ColumnLineageReport, ColumnReport, ColumnsMoved, Concurrency,
    CriticalStep, DataReport, DeliveryReport, HeadlineSentence, HeartbeatReport, HiddenCount, IdleGap,
    LineageReport, LongestSetup, NodeReport, OnClientReport, OperatorReport, OperatorTotal,
    PlanOperatorReport, PlanReport, Problem, QueryReport, REPORT_VERSION, Report, ReportStatus,
    ResourceSample, RowsLost, RowsMoved, Severity, SinceLastRun, SpanBand, SpanReport, StageReport,
    StallReport, TableReport, Timeline, TimelineSpan, TimelineSpanKind, Totals, UnreadableFile, ValueReport,
    WorkerReport,
};
