//! Spans of the operators of a query, made of what they measured when the query has ended.

use std::cmp::Reverse;

use daglight_capture_policy::Policy;
use daglight_otel_bridge::{
    RunSignals,
    names::{self, Key},
};
use daglight_plan_diagnostics::{MeasuredOperator, MeasuredQuery};
use opentelemetry::Context;

use crate::run_context::RunContext;

/// Operators of a query that have spans: those that were busy longest.
const MAX_OPERATORS: usize = 100;

/// Whose operators they are.
pub(crate) struct OperatorsOf<'o> {
    pub(crate) signals: &'o RunSignals,
    pub(crate) policy: &'o Policy,
    pub(crate) node: Option<&'o str>,
    pub(crate) query_id: Option<u64>,
}

/// Shows the operators below the span of their query. They start when they are first executed, and end when all of their
/// rows were taken: that is how long they lived, and `compute_seconds` is how long they were busy.
pub(crate) fn show_operators(run: &RunContext, query: &Context, node: Option<&str>, report: &MeasuredQuery) {
    let of =
        OperatorsOf { signals: &run.signals, policy: &run.policy, node, query_id: Some(report.query.id) };
    show_measured_operators(&of, query, &report.operators);
}

/// As [`show_operators`], of a part of a query.
pub(crate) fn show_measured_operators(
    of: &OperatorsOf<'_>,
    parent: &Context,
    operators: &[MeasuredOperator],
) {
    let OperatorsOf { signals, policy, node, query_id } = *of;
    let mut operators: Vec<&MeasuredOperator> = operators.iter().collect();
    if operators.len() > MAX_OPERATORS {
        // A plan of thousands of operators would be most of the trace: those that took the time are the ones that
        // are looked for.
        operators.sort_by_key(|operator| Reverse(operator.busy));
        operators.truncate(MAX_OPERATORS);
        // Shown in the order of the plan again.
        operators.sort_by_key(|operator| operator.id);
    }
    for operator in operators {
        let span = signals.span(names::span::OPERATOR).parent(parent).stage("execute");
        let span = node.into_iter().fold(span, |span, node| span.node(node));
        let span = query_id.into_iter().fold(span, |span, id| span.attribute(Key::QueryId, id));
        let span = span
            .attribute(Key::Operator, policy.capture(operator.name.as_str()))
            .attribute(Key::OperatorId, operator.id)
            .attribute(Key::ComputeSeconds, operator.busy.as_secs_f64())
            .start_at(operator.started_at)
            .past()
            .start();
        if let Some(tasks) = operator.tasks {
            span.set(Key::ClusterTasks, tasks as u64);
        }
        if let Some(rows) = operator.output_rows {
            // Not as another row count, which the metrics would add to that of the query.
            span.set(Key::RowCount, rows);
        }
        if let Some(rows) = operator.estimate.rows {
            span.set(Key::EstimatedRows, rows);
        }
        if let Some(table) = &operator.table {
            span.set(Key::Table, policy.capture(table.as_str()));
        }
        span.end_at(operator.ended_at);
    }
}
