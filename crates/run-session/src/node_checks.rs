//! The data checks of a node: what is expected of its rows, and what became of it.

mod of_node;

use std::{sync::Arc, time::SystemTime};

use arrow::datatypes::SchemaRef;
use daglight_capture_policy::{Captured, Policy};
use daglight_materializers::{
    CheckOutcome, CheckResult, CheckSeverity, CheckTap, DataCheck, Found, Measured,
};
use daglight_run_bundle::{CheckRecord, RecordedOutcome, RecordedSeverity};
use datafusion::prelude::SessionContext;

/// Marks the context in which a table is read for checks alone: these rows are not the result of a node.
pub(crate) struct CheckReads;

/// Why a check of a node is undecided that has no result.
const NO_ROWS: &str = "no query of the node has shown its rows";
const NOT_REACHED: &str = "the node ended before its rows were checked";

/// The checks of a node.
#[derive(Clone, Default)]
pub(crate) struct NodeChecks {
    expected: Option<Expected>,
    /// What the rows of its result have shown.
    pub(crate) measured: Option<Measured>,
    /// What became of each, once that was decided.
    results: Vec<CheckResult>,
}

#[derive(Clone)]
struct Expected {
    checks: Arc<[DataCheck]>,
    session: SessionContext,
}

impl NodeChecks {
    /// A tap for a query of the node.
    pub(crate) fn tap(&self, schema: &SchemaRef) -> Option<CheckTap> {
        let Expected { checks, session } = self.expected.as_ref()?;
        Some(CheckTap::new(Arc::clone(checks), &session.state(), schema))
    }

    /// Decides what nobody has asked for until the end of the node.
    fn judge_at_the_end(&mut self, now: SystemTime) {
        let Some(Expected { checks, .. }) = self.expected.as_ref().filter(|_| self.results.is_empty()) else {
            return;
        };
        let measured = self.measured.take().unwrap_or_else(|| Measured::not_seen(checks, NOT_REACHED));
        self.results = measured.judged(now);
    }

    /// As the bundle has them.
    pub(crate) fn records(&self, policy: &Policy) -> Vec<CheckRecord> {
        self.results.iter().map(|result| record(result, policy)).collect()
    }

    /// As a table for Hamilton's page.
    pub(crate) fn table(&self, policy: &Policy) -> Option<Captured> {
        if self.results.is_empty() {
            return None;
        }
        let headings = ["check", "severity", "outcome", "found"].map(|heading| policy.capture(heading));
        let row = |record: CheckRecord| {
            let cells =
                [record.check, record.severity.to_string(), record.outcome.to_string(), record.message];
            cells.map(|cell| policy.capture(cell)).to_vec()
        };
        let rows: Vec<Vec<Captured>> = self.records(policy).into_iter().map(row).collect();
        policy.table(&headings, &rows)
    }
}

fn record(result: &CheckResult, policy: &Policy) -> CheckRecord {
    CheckRecord {
        check: shown_check(&result.check, policy),
        kind: result.check.kind().to_owned(),
        columns: result
            .check
            .columns()
            .iter()
            .map(|column| policy.capture(column.as_str()).to_text())
            .collect(),
        severity: match result.check.severity() {
            CheckSeverity::Warn => RecordedSeverity::Warn,
            CheckSeverity::Fail => RecordedSeverity::Fail,
        },
        outcome: match result.outcome {
            CheckOutcome::Passed => RecordedOutcome::Passed,
            CheckOutcome::Failed => RecordedOutcome::Failed,
            CheckOutcome::Undecided => RecordedOutcome::Undecided,
        },
        rows: result.rows,
        failing: result.failing,
        message: shown_message(result, policy),
    }
}

/// The text of a check, which is SQL, as far as the policy shows it; otherwise what kind of check it is.
pub fn shown_check(check: &DataCheck, policy: &Policy) -> String {
    policy.capture_sql(check.text()).map_or_else(|| check.kind().to_owned(), |text| text.to_text())
}

/// What was found, with as much of the values as the policy shows.
fn shown_message(result: &CheckResult, policy: &Policy) -> String {
    match &result.found {
        // How old the newest value is, says which it is.
        Found::Age(_) if policy.data_statistics() => policy.capture(result.in_full()).to_text(),
        Found::Error(problem) => {
            format!("{}: {}", result.in_words(), policy.capture_error(problem).to_text())
        }
        _ => result.in_words(),
    }
}
