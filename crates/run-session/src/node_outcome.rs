//! How the code of a node ended.

use std::time::SystemTime;

use chrono::{DateTime, Utc};
use daglight_otel_bridge::StageSpan;
use daglight_tracker_client::Outcome;

/// How the code of a node ended. Its queries may go on: a stream that it returned is read later.
pub(crate) struct NodeOutcome {
    pub(crate) span: StageSpan,
    pub(crate) ended_at: SystemTime,
    pub(crate) time: DateTime<Utc>,
    pub(crate) outcome: Outcome,
    /// The error and its causes, in lines.
    pub(crate) error: Option<Vec<String>>,
    /// Whether a signal has ended it.
    pub(crate) is_interrupted: bool,
    /// Whether the tracker knows the node.
    pub(crate) tracked: bool,
    /// How often the node has run, with this time.
    pub(crate) attempt: u64,
    /// The names of the attributes that the tracker got before the last query ended.
    pub(crate) sent: Vec<String>,
}
