//! The data checks of a node: what is expected of its rows, and what became of it.

use std::{sync::Arc, time::SystemTime};

use arrow::datatypes::SchemaRef;
use daglight_capture_policy::{Captured, Policy};
use daglight_materializers::{
    CheckOutcome, CheckResult, CheckSeverity, CheckTap, ChecksFailed, DataCheck, Found, Measured, check_table,
};
use daglight_otel_bridge::{
    AttributeKey, AttributeValue, StageSpan,
    names::{Key, event},
};
use daglight_run_bundle::{CheckRecord, RecordedOutcome, RecordedSeverity, WarningCode, clock};
use datafusion::{common::TableReference, prelude::SessionContext};
use opentelemetry::context::FutureExt as _;

use crate::{node::Node, node_scope::NodeScope};

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

/// The text of a check, which is SQL.
fn shown_check(check: &DataCheck, policy: &Policy) -> String {
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

impl Node {
    /// Says what must hold of the node's rows: those that it writes, or else those of its last query. It is computed while
    /// they pass. [`Node::materialize`] fails where a check fails; other code asks by [`Node::verify`].
    ///
    /// ```
    /// # use daglight_run_session::Node;
    /// # use datafusion::prelude::SessionContext;
    /// async fn orders(node: Node, ctx: &SessionContext) -> Result<u64, Box<dyn std::error::Error>> {
    ///     node.expect(ctx, "unique(order_id)".parse()?);
    ///     node.expect(ctx, "amount >= 0".parse()?);
    ///     let orders = ctx.sql("SELECT * FROM orders").await?.collect().await?;
    ///     node.verify(ctx, None).await?;
    ///     Ok(orders.len() as u64)
    /// }
    /// ```
    pub fn expect(&self, session: &SessionContext, check: DataCheck) {
        let mut facts = self.scope.facts();
        let expected = facts.checks.expected.take();
        let earlier = expected.iter().flat_map(|expected| expected.checks.iter().cloned());
        let checks = earlier.chain([check]).collect();
        facts.checks.expected = Some(Expected { checks, session: session.clone() });
    }

    /// Decides over the checks of the node, whose rows have passed by now. `output` is the table or view that it has made, where
    /// it has made one: it is read where no query has shown its rows, and for more keys than are kept in memory.
    ///
    /// What only warns is a warning of the run, and so is what cannot be decided.
    ///
    /// # Errors
    /// When a check fails that the node fails by.
    pub async fn verify(
        &self,
        session: &SessionContext,
        output: Option<TableReference>,
    ) -> Result<(), ChecksFailed> {
        let (expected, measured) = {
            let mut facts = self.scope.facts();
            (facts.checks.expected.clone(), facts.checks.measured.take())
        };
        let Some(Expected { checks, .. }) = expected else { return Ok(()) };
        let here = self.context().with_value(CheckReads);
        let measured = measure(&checks, session, measured, output).with_context(here).await;
        #[expect(
            clippy::disallowed_methods,
            reason = "what is fresh is so at the time at which it is checked"
        )]
        let results = measured.judged(clock::now());
        let failed = ChecksFailed::of(&results);
        self.scope.warn_of_checks(&results);
        self.scope.facts().checks.results = results;
        failed.map_or(Ok(()), Err)
    }
}

async fn measure(
    checks: &Arc<[DataCheck]>,
    session: &SessionContext,
    measured: Option<Measured>,
    output: Option<TableReference>,
) -> Measured {
    match (measured, output) {
        (Some(mut measured), Some(output)) => {
            // What cannot be read stays undecided, which is a warning.
            let _undecided = measured.decide_by_queries(session, output).await;
            measured
        }
        (Some(measured), None) => measured,
        (None, Some(output)) => check_table(checks, session, output).await,
        (None, None) => Measured::not_seen(checks, NO_ROWS),
    }
}

impl NodeScope {
    /// Warns of the checks that did not pass, without the first one that the node fails by: that is its error.
    fn warn_of_checks(&self, results: &[CheckResult]) {
        let mut has_failed = false;
        for result in results.iter().filter(|result| result.outcome != CheckOutcome::Passed) {
            if result.fails_the_node() && !std::mem::replace(&mut has_failed, true) {
                continue;
            }
            let record = record(result, &self.run.context.policy);
            let warning = format!(
                "node {}: data check {}: {}: {}",
                self.name, record.outcome, record.check, record.message
            );
            self.run.log.warn(WarningCode::CheckNotPassed, warning);
        }
    }

    /// Records what became of the checks: on the span of the node, and for the manifest.
    pub(crate) fn record_checks(&self, checks: &mut NodeChecks, span: &StageSpan) -> Vec<CheckRecord> {
        #[expect(clippy::disallowed_methods, reason = "what is fresh is so at the end of the node")]
        checks.judge_at_the_end(clock::now());
        let policy = &self.run.context.policy;
        let records = checks.records(policy);
        for record in &records {
            span.event(event::DATA_CHECK, attributes(record, policy));
        }
        records
    }
}

fn attributes(record: &CheckRecord, policy: &Policy) -> Vec<(AttributeKey, AttributeValue)> {
    let shown = |text: &str| Some(AttributeValue::from(policy.capture(text)));
    let facts = [
        (Key::CheckText, shown(&record.check)),
        (Key::CheckKind, shown(&record.kind)),
        (Key::CheckSeverity, shown(&record.severity.to_string())),
        (Key::CheckOutcome, shown(&record.outcome.to_string())),
        (Key::CheckRows, record.rows.map(Into::into)),
        (Key::CheckFailing, record.failing.map(Into::into)),
        (Key::CheckMessage, shown(&record.message)),
    ];
    facts.into_iter().filter_map(|(key, value)| Some((key.into(), value?))).collect()
}
