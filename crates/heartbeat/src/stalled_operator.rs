//! Finds the operator for which a plan without progress is waiting.

use crate::progress::{OperatorProgress, QueryProgress};

/// The operator for which a plan without progress is most likely waiting.
///
/// The search goes from the root into the input that has not finished. It stops at an operator that returns as many rows as it
/// takes and whose input has returned more: it holds the difference. Otherwise it ends at the deepest operator. Of several open
/// inputs the first is chosen, which for a hash join is the side that is built first.
///
/// A leaf that is not polled looks like one that hangs, and an operator that consumes rows without output (a filter, an aggregate,
/// a sort) looks like its input: the result is then the lower of the two.
pub fn stalled_operator(query: &QueryProgress) -> Option<&OperatorProgress> {
    query.operators.get(stalled_position(query)?)
}

/// Like [`stalled_operator`], but returns the position.
pub(crate) fn stalled_position(query: &QueryProgress) -> Option<usize> {
    let operators = &query.operators;
    let finished = finished(operators);
    let mut at = operators.iter().position(|operator| operator.parent.is_none())?;
    loop {
        let open = || {
            let inputs = operators.iter().enumerate().skip(at + 1);
            inputs.filter(|(position, input)| input.parent == Some(at) && !finished[*position])
        };
        // An input with measurements is known to be open; one without may be.
        let measured = open().find(|(_, input)| input.finished.is_some());
        let Some((position, input)) = measured.or_else(|| open().next()) else { return Some(at) };
        // It returns one row for each input row, and its input has returned more: the missing rows are inside it, for example in a
        // function that does not return.
        if keeps_rows(&operators[at].name) && input.rows > operators[at].rows {
            return Some(at);
        }
        at = position;
    }
}

/// Which operators have ended together with all of their inputs. Without a measurement, an operator counts as ended if its inputs
/// have, and a leaf if it holds its rows in memory, because such a leaf never waits.
fn finished(operators: &[OperatorProgress]) -> Vec<bool> {
    let mut inputs_finished: Vec<Option<bool>> = vec![None; operators.len()];
    let mut finished = vec![false; operators.len()];
    for (position, operator) in operators.iter().enumerate().rev() {
        let is_finished = match (operator.finished, inputs_finished[position]) {
            (Some(own), inputs) => own && inputs.unwrap_or(true),
            (None, Some(inputs)) => inputs,
            // A scan of memory never reports its end. If it counted as open, it would be the suspect of every stall.
            (None, None) => holds_rows(&operator.name),
        };
        finished[position] = is_finished;
        if let Some(parent) = operator.parent.filter(|parent| *parent < position) {
            inputs_finished[parent] = Some(inputs_finished[parent].unwrap_or(true) && is_finished);
        }
    }
    finished
}

fn keeps_rows(name: &str) -> bool {
    matches!(name, "ProjectionExec" | "WindowAggExec" | "BoundedWindowAggExec" | "CoalescePartitionsExec")
}

/// Sources without measurements are tables in memory.
fn holds_rows(name: &str) -> bool {
    matches!(name, "DataSourceExec" | "EmptyExec" | "PlaceholderRowExec" | "WorkTableExec")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted::{operator, query};

    #[track_caller]
    fn check_cause(operators: Vec<OperatorProgress>, expected: Option<&str>) {
        let query = query(operators);
        assert_eq!(stalled_operator(&query).map(|operator| operator.name.as_str()), expected);
    }

    #[test]
    fn a_source_that_hangs_is_named() {
        check_cause(
            vec![
                operator("SortExec", None, Some(0), false),
                operator("FilterExec", Some(0), Some(10), false),
                operator("StreamingTableExec", Some(1), None, false),
            ],
            Some("StreamingTableExec"),
        );
    }

    #[test]
    fn a_projection_that_holds_rows_is_named() {
        check_cause(
            vec![
                operator("CoalescePartitionsExec", None, Some(8), false),
                operator("ProjectionExec", Some(0), Some(8), false),
                operator("DataSourceExec", Some(1), Some(16), false),
            ],
            Some("ProjectionExec"),
        );
    }

    #[test]
    fn the_walk_follows_the_side_of_a_join_that_has_not_finished() {
        let join = |build_finished| {
            vec![
                operator("HashJoinExec", None, Some(0), false),
                operator("ProjectionExec", Some(0), Some(8), build_finished),
                operator("DataSourceExec", Some(1), Some(16), build_finished),
                operator("DataSourceExec", Some(0), Some(0), false),
            ]
        };
        check_cause(join(false), Some("ProjectionExec"));
        check_cause(join(true), Some("DataSourceExec"));
    }

    #[test]
    fn a_table_in_memory_is_never_the_cause() {
        check_cause(
            vec![
                operator("FilterExec", None, Some(0), false),
                operator("DataSourceExec", Some(0), None, false),
            ],
            Some("FilterExec"),
        );
    }

    #[test]
    fn a_plan_that_is_not_a_tree_ends_the_walk() {
        check_cause(Vec::new(), None);
        check_cause(vec![operator("A", Some(0), None, false)], None);
        check_cause(vec![operator("A", None, None, false), operator("B", Some(9), None, false)], Some("A"));
    }
}
