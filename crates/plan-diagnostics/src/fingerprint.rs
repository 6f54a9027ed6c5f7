//! What makes two queries the same, and their plans as texts.

use std::{collections::BTreeSet, fmt::Write as _, sync::Arc};

use datafusion::{
    DATAFUSION_VERSION,
    common::{
        ScalarValue,
        tree_node::{Transformed, TreeNode as _, TreeNodeRecursion},
    },
    logical_expr::{Expr, LogicalPlan},
    physical_plan::{ExecutionPlan, displayable},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Hashes of a query's plans: SHA-256, the first 16 hexadecimal characters.
///
/// The major version of DataFusion goes into each, because the texts they are made from are no stable format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprints {
    /// Of the unoptimised logical plan with literals left out: the same for other parameters, partitions, data and
    /// directories.
    pub plan_hash: String,
    /// As `plan_hash`, with the literals.
    pub literal_hash: String,
    /// Of the names of the physical operators in pre-order: differs when the optimiser chose another plan.
    pub physical_hash: String,
}

impl Fingerprints {
    pub(crate) fn new(logical: &LogicalPlan, physical: &Arc<dyn ExecutionPlan>) -> Self {
        let mut operators = String::new();
        write_operator_names(physical, 0, &mut operators);
        Self {
            plan_hash: hash(&without_literals(logical)),
            literal_hash: hash(&logical.display_indent().to_string()),
            physical_hash: hash(&operators),
        }
    }
}

/// The plans of a query as texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanTexts {
    /// The unoptimised logical plan, indented.
    pub logical: String,
    /// The same with every literal replaced by a `NULL` of its type or by `?`.
    pub logical_without_literals: String,
    /// The physical plan, indented. It names files and literals.
    pub physical: String,
}

impl PlanTexts {
    pub(crate) fn new(logical: &LogicalPlan, physical: &Arc<dyn ExecutionPlan>) -> Self {
        Self {
            logical: logical.display_indent().to_string(),
            logical_without_literals: without_literals(logical),
            physical: displayable(physical.as_ref()).indent(false).to_string(),
        }
    }
}

fn hash(text: &str) -> String {
    let major = DATAFUSION_VERSION.split('.').next().unwrap_or_default();
    let digest = Sha256::new().chain_update(format!("datafusion {major}\n")).chain_update(text).finalize();
    digest.iter().take(8).fold(String::with_capacity(16), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("writing to a String cannot fail");
        hex
    })
}

fn write_operator_names(plan: &Arc<dyn ExecutionPlan>, depth: usize, out: &mut String) {
    writeln!(out, "{depth} {}", plan.name()).expect("writing to a String cannot fail");
    for child in plan.children() {
        write_operator_names(child, depth + 1, out);
    }
}

/// The indented plan without its literals. Literals also stand in the names of derived columns, as text: there they
/// are cut out by their typed form, and by their value where that is long enough to be told from other text.
fn without_literals(plan: &LogicalPlan) -> String {
    let mut values = BTreeSet::new();
    let stripped = plan.clone().transform_down_with_subqueries(|node| {
        node.map_expressions(|expression| {
            expression.transform(|expression| {
                let Expr::Literal(value, metadata) = &expression else {
                    return Ok(Transformed::no(expression));
                };
                let Ok(null) = ScalarValue::try_new_null(&value.data_type()) else {
                    return Ok(Transformed::no(expression));
                };
                values.insert(value.to_string());
                let metadata = metadata.clone();
                Ok(Transformed::yes(Expr::Literal(null, metadata)))
            })
        })
        .map(|mapped| Transformed::new(mapped.data, mapped.transformed, TreeNodeRecursion::Continue))
    });
    let text =
        stripped.map_or_else(|_| "plan".to_owned(), |stripped| stripped.data.display_indent().to_string());
    let text = cut_typed_literals(&text);
    values
        .iter()
        .filter(|value| value.chars().count() > 3)
        .fold(text, |text, value| text.replace(value.as_str(), "?"))
}

const LITERAL_TYPES: [&str; 30] = [
    "Binary",
    "Boolean",
    "Date32",
    "Date64",
    "Decimal128",
    "Decimal256",
    "Decimal32",
    "Decimal64",
    "DurationMicrosecond",
    "DurationMillisecond",
    "DurationNanosecond",
    "DurationSecond",
    "Float32",
    "Float64",
    "Int16",
    "Int32",
    "Int64",
    "Int8",
    "IntervalDayTime",
    "IntervalMonthDayNano",
    "IntervalYearMonth",
    "LargeUtf8",
    "TimestampMicrosecond",
    "TimestampMillisecond",
    "TimestampNanosecond",
    "TimestampSecond",
    "UInt32",
    "UInt64",
    "Utf8",
    "Utf8View",
];

/// `Int64(5)` becomes `Int64(?)`, `Utf8("a)")` becomes `Utf8(?)`.
fn cut_typed_literals(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('(') {
        let (head, tail) = rest.split_at(open + 1);
        out.push_str(head);
        rest = tail;
        let word = head[..open].rsplit(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
        if LITERAL_TYPES.contains(&word)
            && let Some(length) = literal_length(tail)
        {
            out.push('?');
            rest = &tail[length..];
        }
    }
    out.push_str(rest);
    out
}

/// The length of a literal up to its closing parenthesis.
fn literal_length(text: &str) -> Option<usize> {
    if let Some(quoted) = text.strip_prefix('"') {
        return quoted.find("\")").map(|end| end + 2);
    }
    let mut depth = 0_usize;
    text.char_indices().find_map(|(at, c)| match c {
        '(' => {
            depth += 1;
            None
        }
        ')' if depth == 0 => Some(at),
        ')' => {
            depth -= 1;
            None
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(cut_typed_literals(text), expected);
    }

    #[test]
    fn typed_literals_are_cut_out_of_names() {
        check("sum(a * Int64(1))", "sum(a * Int64(?))");
        check("x = Utf8(\"a)b\") AND y", "x = Utf8(?) AND y");
        check("Decimal128(Some(1),15,2) + f(b)", "Decimal128(?) + f(b)");
        check("count(Int64(1)", "count(Int64(?)");
    }
}
