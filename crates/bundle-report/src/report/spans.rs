//! Stages and spans.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The time of one stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StageReport {
    /// extract, normalize, compile, plan, register, write, or the user's own.
    pub stage: String,
    /// Time in which the stage was active; spans that overlap count once.
    pub wall_ms: f64,
    /// Its longest span.
    pub longest_ms: f64,
    /// Its spans.
    pub spans: u64,
    /// Spans that were slower than their threshold.
    pub slow: u64,
    /// Spans that failed.
    pub errors: u64,
    /// Spans that have not ended. Their time is until the run was last seen.
    #[serde(default)]
    pub open: u64,
}

/// One span.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SpanReport {
    /// Its name.
    pub name: String,
    /// Its id, 16 hexadecimal digits.
    pub span_id: String,
    /// The node that it belongs to.
    pub node: Option<String>,
    /// The stage that it belongs to.
    pub stage: Option<String>,
    /// When it started.
    pub start_ms: f64,
    /// How long it took.
    pub duration_ms: f64,
    /// The part of that in which no span directly below it ran; `None` where so many were below it that they were not kept.
    #[serde(default)]
    pub self_ms: Option<f64>,
    /// Rows read or written.
    pub rows: Option<u64>,
    /// Whether it failed.
    pub failed: bool,
    /// Whether it has not ended. Its time is until the run was last seen.
    #[serde(default)]
    pub open: bool,
}

/// A span on the timeline of the run, as short as it can be said: there are thousands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TimelineSpan {
    /// What it is.
    pub kind: TimelineSpanKind,
    /// The operator, the stage, the task or the query.
    pub name: String,
    /// The node that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(default)]
    pub node: Option<String>,
    /// When it started.
    pub start_ms: f64,
    /// How long it took.
    pub duration_ms: f64,
    /// Whether it failed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[serde(default)]
    pub failed: bool,
    /// Whether it has not ended. It then lasts until the run was last seen.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[serde(default)]
    pub open: bool,
}

/// A stretch of time in which spans ran that the timeline does not show one by one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SpanBand {
    /// What they are.
    pub kind: TimelineSpanKind,
    /// When the first of them started.
    pub start_ms: f64,
    /// From then until the last of them ended. Pauses of less than a 2,048th of the run may be part of it.
    pub duration_ms: f64,
    /// The longest of them.
    pub longest_ms: f64,
    /// How many they are.
    pub spans: u64,
    /// How many of them failed.
    #[serde(skip_serializing_if = "is_zero")]
    #[serde(default)]
    pub failed: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// What a span on the timeline is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimelineSpanKind {
    /// A stage of the run or of a node, or a task in a node.
    Stage,
    /// The execution of a query.
    Query,
    /// An operator of a query.
    Operator,
}
