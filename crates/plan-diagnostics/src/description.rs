//! What an operator of a physical plan does, without literals.
//!
//! One description serves two ends: it is what the fingerprint of a plan is made of, and what may be shown of an operator
//! where literals may not. It is made of expressions and not of the texts of a plan: there a literal stands without its type,
//! so that nothing distinguishes the `1` of `x@1 > 1` from a column's number.

use std::sync::Arc;

use daglight_capture_policy::{Types, without_typed_literals};
use datafusion::{
    common::{
        JoinType,
        tree_node::{Transformed, TreeNode as _, TreeNodeRecursion},
    },
    datasource::{physical_plan::FileScanConfig, source::DataSourceExec},
    physical_expr::{
        PhysicalExpr,
        expressions::{Column, DynamicFilterPhysicalExpr, Literal},
        split_conjunction,
    },
    physical_plan::{
        ExecutionPlan,
        aggregates::AggregateExec,
        joins::{HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec, SymmetricHashJoinExec},
        sorts::sort::SortExec,
        windows::{BoundedWindowAggExec, WindowAggExec},
    },
};

/// What an operator does, on one line.
pub(crate) fn description(plan: &dyn ExecutionPlan) -> String {
    let mut parts = Vec::new();
    parts.extend(join_type(plan).map(|join| format!("join_type={join}")));
    parts.extend(functions(plan).map(|functions| format!("functions=[{}]", functions.join(", "))));
    if plan.children().is_empty() {
        parts.push(format!("columns=[{}]", columns(plan).join(", ")));
    }
    if let Some(sort) = plan.downcast_ref::<SortExec>() {
        let directions = sort.expr().iter().map(|by| by.options.to_string());
        parts.push(format!("order=[{}]", directions.collect::<Vec<_>>().join(", ")));
    }
    let expressions = expressions(plan);
    if !expressions.is_empty() {
        parts.push(format!("expressions=[{}]", expressions.join(", ")));
    }
    let name = plan.name();
    if parts.is_empty() { name.to_owned() } else { format!("{name}: {}", parts.join(", ")) }
}

fn join_type(plan: &dyn ExecutionPlan) -> Option<JoinType> {
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        return Some(*join.join_type());
    }
    if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>() {
        return Some(*join.join_type());
    }
    if let Some(join) = plan.downcast_ref::<SymmetricHashJoinExec>() {
        return Some(*join.join_type());
    }
    plan.downcast_ref::<SortMergeJoinExec>().map(SortMergeJoinExec::join_type)
}

/// The names of the functions that an aggregation or a window computes.
fn functions(plan: &dyn ExecutionPlan) -> Option<Vec<String>> {
    if let Some(aggregation) = plan.downcast_ref::<AggregateExec>() {
        let name = |function: &datafusion::physical_expr::aggregate::AggregateFunctionExpr| {
            let distinct = if function.is_distinct() { " distinct" } else { "" };
            format!("{}{distinct}", function.fun().name())
        };
        return Some(aggregation.aggr_expr().iter().map(|function| name(function)).collect());
    }
    let windows = match plan.downcast_ref::<WindowAggExec>() {
        Some(window) => window.window_expr(),
        None => plan.downcast_ref::<BoundedWindowAggExec>()?.window_expr(),
    };
    // The name of a window is its text up to the arguments.
    let name = |name: &str| name.split('(').next().unwrap_or_default().to_owned();
    Some(windows.iter().map(|window| name(window.name())).collect())
}

fn columns(plan: &dyn ExecutionPlan) -> Vec<String> {
    let schema = plan.schema();
    schema
        .fields()
        .iter()
        .map(|field| without_typed_literals(field.name(), Types::Shown).into_owned())
        .collect()
}

/// The expressions of an operator, each condition of a conjunction by itself. Filters that take up values while the plan
/// runs are left out.
fn expressions(plan: &dyn ExecutionPlan) -> Vec<String> {
    let mut texts = Vec::new();
    let mut add = |root: &Arc<dyn PhysicalExpr>| {
        // A dynamic filter is filled while the query runs: before it is empty, afterwards it holds values of the
        // data.
        let conditions = split_conjunction(root).into_iter().filter(|condition| !is_dynamic(condition));
        texts.extend(conditions.map(without_literals));
    };
    // A scan has the columns that it returns as well, which are named by themselves.
    if let Some(source) = plan.downcast_ref::<DataSourceExec>() {
        let files: Option<&FileScanConfig> = source.data_source().downcast_ref();
        files.and_then(|files| files.file_source().filter()).iter().for_each(&mut add);
        return texts;
    }
    let visited = plan.apply_expressions(&mut |root| {
        add(root);
        Ok(TreeNodeRecursion::Continue)
    });
    debug_assert!(visited.is_ok(), "the visitor returns no error");
    texts
}

fn is_dynamic(expression: &Arc<dyn PhysicalExpr>) -> bool {
    expression.exists(|part| Ok(part.is::<DynamicFilterPhysicalExpr>())).unwrap_or(true)
}

/// An expression with `?` for every literal, and without the numbers of columns.
fn without_literals(expression: &Arc<dyn PhysicalExpr>) -> String {
    // A column is written as `name@index`. With the index 0 everywhere the text below takes it away, and one `@0` in
    // a name of the user's costs no more than a less exact text.
    let named = |name: &str| Arc::new(Column::new(name, 0)) as Arc<dyn PhysicalExpr>;
    // Most are a column alone, and are written as one without taking the expression apart.
    if let Some(column) = expression.downcast_ref::<Column>() {
        return without_typed_literals(column.name(), Types::Shown).replace("@0", "");
    }
    let stripped = Arc::clone(expression).transform_down(|part| {
        if part.is::<Literal>() {
            return Ok(Transformed::yes(named("?")));
        }
        Ok(match part.downcast_ref::<Column>() {
            Some(column) => Transformed::yes(named(&without_typed_literals(column.name(), Types::Shown))),
            None => Transformed::no(part),
        })
    });
    // An expression that takes no other parts is not shown at all.
    stripped.map_or_else(
        |_| "?".to_owned(),
        |stripped| without_lengths(&stripped.data.to_string().replace("@0", "")),
    )
}

/// `[?, ?, ?]` as `[?]`: how many values a column is compared with is as much a value as they are.
fn without_lengths(text: &str) -> String {
    let mut parts = text.split("[?");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str("[?");
        out.push_str(part.trim_start_matches(", ?"));
    }
    out
}
