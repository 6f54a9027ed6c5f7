//! Expecting something of a node's rows, and deciding over it.

use std::sync::Arc;

use daglight_capture_policy::Policy;
use daglight_materializers::{CheckOutcome, CheckResult, ChecksFailed, DataCheck, Measured, check_table};
use daglight_otel_bridge::{
    AttributeKey, AttributeValue, StageSpan,
    names::{Key, event},
};
use daglight_run_bundle::{CheckRecord, WarningCode, clock};
use datafusion::{common::TableReference, prelude::SessionContext};
use opentelemetry::context::FutureExt as _;

use super::{CheckReads, Expected, NO_ROWS, NodeChecks, record};
use crate::{node::Node, node_scope::NodeScope};

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
    /// Warns of the checks that did not pass, without those that the node fails by: these are its error.
    fn warn_of_checks(&self, results: &[CheckResult]) {
        let is_warning =
            |result: &&CheckResult| result.outcome != CheckOutcome::Passed && !result.fails_the_node();
        for result in results.iter().filter(is_warning) {
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
