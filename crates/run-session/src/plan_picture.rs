//! The plan of a node's slowest query as a picture for Hamilton's page: a tree of operators, each with what was planned and
//! what it did.

use std::time::Duration;

use daglight_bundle_report::display::{bytes, elapsed, exact};
use daglight_capture_policy::{Captured, Policy};
use daglight_plan_diagnostics::{MeasuredOperator, MeasuredQuery};

/// Operators of a picture, the first ones in pre-order.
const MAX_OPERATORS: usize = 200;

/// A plan with what its operators have measured. It holds no plan of the engine.
#[derive(Debug, Clone)]
pub(crate) struct PlanPicture {
    pub(crate) wall_time: Duration,
    operators: Vec<Operator>,
    left_out: usize,
}

#[derive(Debug, Clone)]
struct Operator {
    depth: usize,
    name: String,
    estimated_rows: Option<u64>,
    rows: Option<u64>,
    busy: Duration,
    partitions: usize,
    memory_bytes: Option<u64>,
    spilled_bytes: Option<u64>,
}

impl PlanPicture {
    pub(crate) fn of(report: &MeasuredQuery) -> Self {
        let mut depths: Vec<usize> = Vec::with_capacity(report.operators.len());
        for operator in &report.operators {
            // A parent stands before its inputs.
            let depth = operator.parent.and_then(|parent| depths.get(parent)).map_or(0, |depth| depth + 1);
            depths.push(depth);
        }
        let operators = report.operators.iter().zip(depths).take(MAX_OPERATORS);
        Self {
            wall_time: report.wall_time,
            operators: operators.map(|(operator, depth)| Operator::of(operator, depth)).collect(),
            left_out: report.operators.len().saturating_sub(MAX_OPERATORS),
        }
    }

    /// The picture. `None` for a plan without operators, and where there is no room for it.
    pub(crate) fn table(&self, policy: &Policy) -> Option<Captured> {
        if self.operators.is_empty() {
            return None;
        }
        let headings = ["operator", "rows", "estimated", "busy", "memory", "spilled"];
        let headings = headings.map(|heading| policy.capture(heading));
        let row = |texts: [String; 6]| -> Vec<Captured> {
            let [name, facts @ ..] = texts;
            let name = policy.capture_name(&name);
            std::iter::once(name).chain(facts.into_iter().map(|text| policy.capture(text))).collect()
        };
        let mut rows: Vec<Vec<Captured>> =
            self.operators.iter().map(|operator| row(operator.cells())).collect();
        if self.left_out > 0 {
            let more = format!("… {} more operators", self.left_out);
            rows.push(vec![policy.capture(more)]);
        }
        policy.table(&headings, &rows)
    }
}

impl Operator {
    fn of(operator: &MeasuredOperator, depth: usize) -> Self {
        Self {
            depth,
            name: operator.shown_name(),
            estimated_rows: operator.estimate.rows,
            rows: operator.output_rows,
            busy: operator.busy,
            partitions: operator.partitions,
            memory_bytes: operator.memory_bytes(),
            spilled_bytes: operator.metric("spilled_bytes").filter(|spilled| *spilled > 0),
        }
    }

    fn cells(&self) -> [String; 6] {
        /// A plan may be thousands of operators deep.
        const MAX_DEPTH: usize = 40;
        let branch = match self.depth {
            0 => String::new(),
            // Deeper ones would push the name out of the page.
            depth => "   ".repeat((depth - 1).min(MAX_DEPTH)) + "└─ ",
        };
        let known = |count: Option<u64>, shown: fn(u64) -> String| count.map(shown).unwrap_or_default();
        let partitions = match self.partitions {
            1 => String::new(),
            partitions => format!(" in {partitions} partitions"),
        };
        [
            format!("{branch}{}", self.name),
            known(self.rows, exact),
            known(self.estimated_rows, exact),
            elapsed(self.busy) + &partitions,
            known(self.memory_bytes, bytes),
            known(self.spilled_bytes, bytes),
        ]
    }
}

#[cfg(test)]
mod tests {
    use daglight_capture_policy::Profile;

    use super::*;

    #[test]
    fn a_picture_has_a_row_for_each_operator_below_its_parent() {
        let operator = |depth, name: &str| Operator {
            depth,
            name: name.to_owned(),
            estimated_rows: Some(1_000),
            rows: Some(25_000),
            busy: Duration::from_millis(12),
            partitions: 2,
            memory_bytes: Some(4_200),
            spilled_bytes: None,
        };
        let operators = vec![operator(0, "SortExec"), operator(1, "DataSourceExec <b>orders</b>")];
        let picture = PlanPicture { wall_time: Duration::ZERO, operators, left_out: 3 };
        let table = picture.table(&Policy::of_profile(Profile::Dev)).unwrap().to_text();
        for part in [
            ">SortExec</td>",
            ">└─ DataSourceExec &lt;b&gt;orders&lt;/b&gt;</td>",
            ">25,000</td>",
            ">1,000</td>",
            ">12 ms in 2 partitions</td>",
            ">4.2 kB</td>",
            ">… 3 more operators</td>",
        ] {
            assert!(table.contains(part), "no {part} in {table}");
        }
    }
}
