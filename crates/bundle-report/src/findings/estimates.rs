//! What the planner knew of the rows: estimates that were wrong, and scans without any.

use daglight_run_bundle::PlanOperator;

use super::Thresholds;

/// Whether many times as many rows came as were estimated, or as few.
pub(crate) fn is_wrong(operator: &PlanOperator, thresholds: &Thresholds) -> bool {
    let Some((estimated, rows)) = operator.estimated_rows.zip(operator.output_rows) else { return false };
    let (more, less) = (estimated.max(rows), estimated.min(rows).max(1));
    more >= thresholds.estimated_rows && more as f64 >= thresholds.wrong_estimate * less as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_is_wrong_where_it_matters() {
        let is_wrong = |estimated_rows, rows| {
            let operator =
                PlanOperator { estimated_rows, output_rows: Some(rows), ..PlanOperator::default() };
            is_wrong(&operator, &Thresholds::default())
        };
        assert!(is_wrong(Some(100), 1_000) && is_wrong(Some(1_000), 0) && is_wrong(Some(u64::MAX), 5));
        assert!(!is_wrong(Some(101), 1_000) && !is_wrong(Some(1), 999) && !is_wrong(None, 5_000));
    }
}
