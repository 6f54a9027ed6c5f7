//! A finding with its evidence.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FindingKind, plan_view::PlanView};
use crate::{display, level::Level};

/// Something that made the run slow or wasteful, or that it lost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// What it is about.
    pub kind: FindingKind,
    /// How much it matters.
    pub level: Level,
    /// What was found, in one sentence.
    pub summary: String,
    /// The node.
    pub node: Option<String>,
    /// The query.
    pub query_id: Option<String>,
    /// The operator, with the table that it scans.
    pub operator: Option<String>,
    /// The plan's file in the bundle.
    pub plan_file: Option<String>,
    /// The numbers behind it.
    pub evidence: Vec<Evidence>,
    /// The most of the run's time that can be gained, where that can be estimated.
    pub at_stake_ms: Option<f64>,
    /// The part of the run's time that this is, from 0 to 1.
    pub share: Option<f64>,
    /// Others of the kind that are not listed, because they matter less.
    pub more: u64,
    /// What to do about it.
    pub remedy: String,
    /// The page that explains it, in the repository.
    pub page: String,
}

/// A number behind a finding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// What was measured.
    pub what: String,
    /// The number.
    pub value: f64,
    /// Its unit.
    pub unit: Unit,
}

/// The unit of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Unit {
    /// A count.
    Count,
    /// Bytes.
    Bytes,
    /// Milliseconds.
    Milliseconds,
    /// A part of a whole, from 0 to 1.
    Part,
    /// A number that is not a count, such as a mean.
    Number,
}

impl Finding {
    pub(crate) fn new(kind: FindingKind, level: Level, summary: impl Into<String>) -> Self {
        Self {
            kind,
            level,
            summary: summary.into(),
            node: None,
            query_id: None,
            operator: None,
            plan_file: None,
            evidence: Vec::new(),
            at_stake_ms: None,
            share: None,
            more: 0,
            remedy: kind.remedy().to_owned(),
            page: kind.page(),
        }
    }

    /// A finding about a query and, if applicable, one of its operators.
    pub(crate) fn of_plan(
        kind: FindingKind,
        plan: &PlanView<'_>,
        operator: Option<usize>,
        summary: String,
    ) -> Self {
        Self {
            node: plan.bundle.node.clone(),
            query_id: Some(plan.bundle.query_id.clone()),
            operator: operator.map(|position| plan.name(position)),
            plan_file: Some(plan.file.to_owned()),
            ..Self::new(kind, Level::Note, summary)
        }
    }

    pub(crate) fn node(mut self, node: Option<&str>) -> Self {
        self.node = node.map(str::to_owned);
        self
    }

    pub(crate) fn evidence(mut self, what: &str, value: f64, unit: Unit) -> Self {
        self.evidence.push(Evidence { what: what.to_owned(), value, unit });
        self
    }

    pub(crate) fn count(self, what: &str, count: u64) -> Self {
        self.evidence(what, count as f64, Unit::Count)
    }

    pub(crate) fn bytes(self, what: &str, bytes: u64) -> Self {
        self.evidence(what, bytes as f64, Unit::Bytes)
    }

    pub(crate) fn milliseconds(self, what: &str, milliseconds: f64) -> Self {
        self.evidence(what, milliseconds, Unit::Milliseconds)
    }

    pub(crate) fn at_stake(mut self, milliseconds: f64) -> Self {
        self.at_stake_ms = Some(milliseconds.max(0.0)).filter(|ms| ms.is_finite());
        self
    }

    /// The first few findings of one kind, the last of which has the number of others: those after it, and the `beyond` ones that
    /// were not kept.
    pub(crate) fn listed(mut findings: Vec<Self>, limit: usize, beyond: u64) -> Vec<Self> {
        let more = (findings.len().saturating_sub(limit) as u64).saturating_add(beyond);
        findings.truncate(limit);
        if let Some(last) = findings.last_mut() {
            last.more = more;
        }
        findings
    }

    /// The summary, what is at stake, and the remedy.
    pub(crate) fn in_words(&self) -> String {
        let mut text = self.summary.clone();
        if let Some((ms, share)) = self.at_stake_ms.zip(self.share) {
            text.push_str(&format!(
                " At stake: {} ({} of the run).",
                display::duration(ms),
                display::percent(share)
            ));
        }
        if self.more > 0 {
            text.push_str(&format!(" {} more of this kind.", display::count(self.more)));
        }
        text
    }

    /// Where it was found: the plan file and the query.
    pub(crate) fn evidence_in_words(&self) -> String {
        let numbers = self.evidence.iter().map(|evidence| {
            let value = match evidence.unit {
                Unit::Count => display::count(evidence.value.max(0.0) as u64),
                Unit::Bytes => display::bytes(evidence.value.max(0.0) as u64),
                Unit::Milliseconds => display::duration(evidence.value),
                Unit::Part => display::percent(evidence.value),
                Unit::Number => format!("{:.1}", evidence.value),
            };
            format!("{} {value}", evidence.what)
        });
        numbers.collect::<Vec<_>>().join(", ")
    }
}
