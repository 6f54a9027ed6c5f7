//! Repeated work: how often, how long it took, and where.

use daglight_finding_thresholds::FindingThresholds;

use super::plan_view::PlanView;
use crate::{display, report::Report};

/// The maximum number of nodes named.
const MAX_NAMED: usize = 3;

/// The same work, counted each time that it was done.
#[derive(Debug, Default)]
pub(crate) struct Again {
    pub(crate) count: u64,
    pub(crate) sum_ms: f64,
    longest_ms: f64,
    /// The first nodes that did it.
    nodes: Vec<String>,
}

impl Again {
    /// Adds an occurrence in a plan, with its duration.
    pub(crate) fn add(&mut self, plan: &PlanView<'_>, ms: f64) {
        self.count += 1;
        self.sum_ms += ms;
        self.longest_ms = self.longest_ms.max(ms);
        if let Some(node) = &plan.bundle.node
            && self.nodes.len() < MAX_NAMED
            && !self.nodes.contains(node)
        {
            self.nodes.push(node.clone());
        }
    }

    /// The duration of all occurrences except the longest, which was necessary.
    pub(crate) fn spare_ms(&self) -> f64 {
        self.sum_ms - self.longest_ms
    }

    /// Whether it is listed, given this share of the run.
    pub(crate) fn matters(&self, report: &Report, thresholds: &FindingThresholds, share: f64) -> bool {
        let run_ms = report.duration_ms.unwrap_or(0.0);
        self.spare_ms() >= thresholds.min_ms && self.spare_ms() >= share * run_ms
    }

    pub(crate) fn first_node(&self) -> Option<&str> {
        self.nodes.first().map(String::as_str)
    }

    /// Where it was done, as `, by a, b`; empty if no node is known.
    pub(crate) fn in_nodes(&self, word: &str) -> String {
        if self.nodes.is_empty() {
            return String::new();
        }
        format!(", {word} {}", display::first_of(&self.nodes, self.nodes.len()))
    }
}
