//! A node of a run.

use std::collections::HashMap;

use daglight_run_bundle::{AttemptRecord, CheckRecord, NodeStatus, RecordedKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::display;

/// A node as it ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodeReport {
    /// Its name.
    pub name: String,
    /// transform, data_loader, data_saver or input.
    #[schemars(with = "Option<String>")]
    pub kind: Option<RecordedKind>,
    /// The nodes that it reads.
    pub dependencies: Vec<String>,
    /// How it ended.
    pub status: NodeStatus,
    /// When it started.
    pub start_ms: Option<f64>,
    /// How long it took.
    pub duration_ms: Option<f64>,
    /// Rows that its queries got from the tables that they scan; `None` where a scan does not count them. Of a node
    /// that did not end by itself, as one of a run that was killed, those up to the last beat, where the plans of all of its queries
    /// were kept.
    pub rows_in: Option<u64>,
    /// Rows that it gave out.
    pub rows_out: Option<u64>,
    /// Bytes that it gave out.
    pub bytes: Option<u64>,
    /// Queries that it executed.
    pub queries: u64,
    /// Those of them of which no plan is kept, because there were so many.
    #[serde(default)]
    pub queries_summed: u64,
    /// Why it failed.
    pub error: Option<String>,
    /// Whether the process ended before the node did, and its span was closed later.
    #[serde(default)]
    pub process_ended: bool,
    /// How often it ran; 0 when it did not, and in runs of older versions.
    #[serde(default)]
    pub attempts: u64,
    /// The attempts before the last.
    #[serde(default)]
    pub earlier_attempts: Vec<AttemptRecord>,
    /// Whether the program has dealt with its failure, which so is not one of the run.
    #[serde(default)]
    pub recovered: bool,
    /// What became of the checks of its rows.
    #[serde(default)]
    pub checks: Vec<CheckRecord>,
    /// Whether the longest chain of dependencies goes through it.
    pub on_critical_path: bool,
}

impl NodeReport {
    /// A node of which only the name is known.
    #[cfg(test)]
    pub(crate) fn of_name(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind: None,
            dependencies: Vec::new(),
            status: NodeStatus::Success,
            start_ms: None,
            duration_ms: None,
            rows_in: None,
            rows_out: None,
            bytes: None,
            queries: 0,
            queries_summed: 0,
            error: None,
            process_ended: false,
            attempts: 1,
            earlier_attempts: Vec::new(),
            recovered: false,
            checks: Vec::new(),
            on_critical_path: false,
        }
    }

    /// Whether it ended by itself, as opposed to with its run or its process.
    pub(crate) fn has_ended_by_itself(&self) -> bool {
        matches!(self.status, NodeStatus::Success | NodeStatus::Failure) && !self.process_ended
    }

    /// Remarks in addition to its status: how often it ran, and that its failure was handled.
    pub(crate) fn attempts_in_words(&self) -> Option<String> {
        let attempts = (self.attempts > 1).then(|| format!("attempt {}", display::count(self.attempts)));
        let recovered = self.recovered.then(|| "recovered".to_owned());
        let words: Vec<String> = attempts.into_iter().chain(recovered).collect();
        (!words.is_empty()).then(|| words.join(", "))
    }

    /// How its earlier attempts ended, one line each; only the last ones.
    pub(crate) fn earlier_attempts_in_words(&self) -> impl Iterator<Item = String> {
        const MAX_SHOWN: usize = 5;
        let skipped = self.earlier_attempts.len().saturating_sub(MAX_SHOWN);
        self.earlier_attempts.iter().skip(skipped).map(|attempt| {
            let ended = match attempt.status {
                NodeStatus::Success => "succeeded",
                NodeStatus::Failure => "failed",
                NodeStatus::Interrupted => "was interrupted",
                NodeStatus::Running | NodeStatus::Unfinished | NodeStatus::NotRun => "did not end",
            };
            let after = attempt.duration_ms.map(|ms| format!(" after {}", display::duration(ms)));
            let error = attempt.error.as_ref().map(|error| format!(": {error}"));
            format!(
                "attempt {} {ended}{}{}",
                attempt.attempt,
                after.unwrap_or_default(),
                error.unwrap_or_default()
            )
        })
    }

    /// How many queries it executed, and how many of them have no plan.
    pub(crate) fn queries_in_words(&self) -> String {
        format!(
            "{} queries, of which {} are in the sums only: the plans of the first and the slowest are kept.",
            display::count(self.queries),
            display::count(self.queries_summed)
        )
    }
}

/// The nodes by their names.
pub(crate) fn by_name(nodes: &[NodeReport]) -> HashMap<&str, &NodeReport> {
    nodes.iter().map(|node| (node.name.as_str(), node)).collect()
}
