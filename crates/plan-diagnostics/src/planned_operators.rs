//! The operators of a physical plan as they were planned.

use std::{fmt::Write as _, sync::Arc};

use datafusion::{
    common::stats::Precision,
    config::ConfigOptions,
    physical_plan::{
        ExecutionPlan, displayable,
        statistics::{StatisticsArgs, StatisticsContext},
    },
};

use crate::{description::description, scan_facts::ScanFacts, shield::shielded, sources::Leaf};

/// Operators with longer descriptions are not estimated: the engine takes seconds for a filter of thousands of conditions, and
/// every query waits for that.
const MAX_ESTIMATED_BYTES: usize = 4 << 10;

/// An operator as it was planned: its text is taken before execution, which adds data values to it.
#[derive(Debug, Clone)]
pub(crate) struct PlannedOperator {
    pub(crate) parent: Option<usize>,
    pub(crate) name: String,
    pub(crate) detail: String,
    /// What it does, without literals.
    pub(crate) description: String,
    pub(crate) leaf: Option<Leaf>,
    /// What it reads, for a scan.
    pub(crate) scan: Option<ScanFacts>,
    pub(crate) estimate: Estimate,
}

/// What the statistics of a plan say that an operator returns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Rows.
    pub rows: Option<u64>,
    /// Whether they are exact.
    pub is_exact: bool,
    /// Bytes.
    pub bytes: Option<u64>,
}

/// The operators below `plan` in pre-order, with their texts. `leaves` says what those without an input are.
pub(crate) fn describe(
    plan: &Arc<dyn ExecutionPlan>,
    leaves: &[Leaf],
    options: &ConfigOptions,
) -> Vec<PlannedOperator> {
    let mut operators = Vec::new();
    let mut leaves = leaves.iter();
    // Grown once and not for each operator.
    let mut line = String::new();
    visit(plan, None, &mut |plan, parent| {
        line.clear();
        // What an operator of the program does not finish writing is shown as far as it goes.
        let _ = write!(line, "{}", displayable(plan.as_ref()).one_line());
        let leaf = if plan.children().is_empty() { leaves.next().cloned() } else { None };
        let scan = matches!(leaf, Some(Leaf::Scan(_))).then(|| ScanFacts::of(plan.as_ref(), options));
        operators.push(PlannedOperator {
            parent,
            name: plan.name().to_owned(),
            // At plan time: the text of a plan changes as it executes, because dynamic filters write the values of
            // the data into their predicates.
            detail: line.trim_end().to_owned(),
            description: description(plan.as_ref()),
            leaf,
            scan,
            estimate: Estimate::default(),
        });
    });
    if operators.iter().any(|operator| operator.description.len() > MAX_ESTIMATED_BYTES) {
        return operators;
    }
    let estimates = shielded("the statistics of a plan", || estimates(plan)).unwrap_or_default();
    for (operator, estimate) in operators.iter_mut().zip(estimates) {
        operator.estimate = estimate;
    }
    operators
}

/// The plan as text: a line for each operator, indented.
pub(crate) fn plan_text<'o>(
    operators: &'o [PlannedOperator],
    line: impl Fn(&'o PlannedOperator) -> &'o str,
) -> String {
    let mut depths: Vec<usize> = Vec::with_capacity(operators.len());
    let mut text = String::new();
    for operator in operators {
        let depth = operator.parent.and_then(|parent| depths.get(parent)).map_or(0, |depth| depth + 1);
        depths.push(depth);
        text.extend(std::iter::repeat_n("  ", depth));
        text.push_str(line(operator));
        text.push('\n');
    }
    text
}

/// Calls `see` with each operator and the position of the one that reads its output.
pub(crate) fn visit<'a>(
    plan: &'a Arc<dyn ExecutionPlan>,
    parent: Option<usize>,
    see: &mut impl FnMut(&'a Arc<dyn ExecutionPlan>, Option<usize>),
) {
    fn walk<'a>(
        plan: &'a Arc<dyn ExecutionPlan>,
        parent: Option<usize>,
        next: &mut usize,
        see: &mut impl FnMut(&'a Arc<dyn ExecutionPlan>, Option<usize>),
    ) {
        let id = *next;
        *next += 1;
        see(plan, parent);
        for child in plan.children() {
            walk(child, Some(id), next, see);
        }
    }
    walk(plan, parent, &mut 0, see);
}

fn estimates(plan: &Arc<dyn ExecutionPlan>) -> Vec<Estimate> {
    let known = |precision: Precision<usize>| precision.get_value().map(|value| *value as u64);
    let (context, args) = (StatisticsContext::new(), StatisticsArgs::new());
    let mut estimates = Vec::new();
    visit(plan, None, &mut |plan, _| {
        estimates.push(context.compute(plan.as_ref(), &args).map_or_else(
            |_| Estimate::default(),
            |statistics| Estimate {
                rows: known(statistics.num_rows),
                is_exact: matches!(statistics.num_rows, Precision::Exact(_)),
                bytes: known(statistics.total_byte_size),
            },
        ));
    });
    estimates
}
