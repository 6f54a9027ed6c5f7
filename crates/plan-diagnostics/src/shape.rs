//! What a physical plan does, without what depends on the machine or on the size of the data: what its fingerprint is made of.

use std::{fmt::Write as _, sync::Arc};

use datafusion::physical_plan::{
    ExecutionPlan,
    aggregates::{AggregateExec, AggregateInputMode},
    analyze::AnalyzeExec,
    coalesce_partitions::CoalescePartitionsExec,
    coop::CooperativeExec,
    limit::{GlobalLimitExec, LocalLimitExec},
    repartition::RepartitionExec,
    sorts::sort_preserving_merge::SortPreservingMergeExec,
    union::InterleaveExec,
};

use crate::{planned_operators::PlannedOperator, sources::Leaf};

/// The operators of a plan in pre-order, a line each. What only spreads rows over partitions is left out, and so are the
/// two halves of an aggregation. `operators` are those of the plan, in pre-order.
pub(crate) fn shape(plan: &Arc<dyn ExecutionPlan>, operators: &[PlannedOperator]) -> String {
    let mut out = String::new();
    write_shape(plan, 0, &mut operators.iter(), &mut out);
    if is_limited(plan) {
        out.push_str("limited\n");
    }
    out
}

/// Whether something in the plan ends it early. At which of its operators depends on the number of partitions.
fn is_limited(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let is_limit = plan.is::<GlobalLimitExec>() || plan.is::<LocalLimitExec>();
    is_limit || plan.fetch().is_some() || plan.children().into_iter().any(is_limited)
}

fn write_shape(
    plan: &Arc<dyn ExecutionPlan>,
    depth: usize,
    operators: &mut std::slice::Iter<'_, PlannedOperator>,
    out: &mut String,
) {
    let operator = operators.next();
    let children = plan.children();
    // How often rows are handed from thread to thread depends on the cores of the machine and the size of the data.
    if let ([child], true) = (&children[..], only_moves_rows(plan.as_ref())) {
        return write_shape(child, depth, operators, out);
    }
    let table = operator.and_then(|operator| operator.leaf.as_ref()).and_then(Leaf::table);
    // Whether a union keeps the partitions of its inputs depends on how many they have.
    let description = match plan.is::<InterleaveExec>() {
        true => "UnionExec",
        false => operator.map_or(plan.name(), |operator| operator.description.as_str()),
    };
    writeln!(out, "{depth} {description} {}", table.unwrap_or_default())
        .expect("writing to a String cannot fail");
    children.into_iter().for_each(|child| write_shape(child, depth + 1, operators, out));
}

/// Whether the operator is there for the number of partitions, for a limit, or for an `EXPLAIN ANALYZE`, and does nothing else
/// to the rows.
fn only_moves_rows(plan: &dyn ExecutionPlan) -> bool {
    let is_second_half = || {
        let aggregation = plan.downcast_ref::<AggregateExec>();
        aggregation.is_some_and(|aggregation| aggregation.mode().input_mode() == AggregateInputMode::Partial)
    };
    plan.is::<AnalyzeExec>()
        || plan.is::<RepartitionExec>()
        || plan.is::<CoalescePartitionsExec>()
        || plan.is::<SortPreservingMergeExec>()
        || plan.is::<CooperativeExec>()
        || plan.is::<LocalLimitExec>()
        || plan.is::<GlobalLimitExec>()
        || is_second_half()
}
