//! The facet of data quality assertions, made of the checks of a node.

use daglight_run_bundle::{CheckRecord, RecordedOutcome, RecordedSeverity};

use crate::facets::{Assertion, DataQualityAssertionsDatasetFacet};

/// What the facet says of checks. `None` where none was decided: it has no word for what is not known.
pub(crate) fn assertions_of(checks: &[CheckRecord]) -> Option<DataQualityAssertionsDatasetFacet> {
    let decided = checks.iter().filter(|check| check.outcome != RecordedOutcome::Undecided);
    let assertions: Vec<Assertion> = decided.map(assertion).collect();
    (!assertions.is_empty()).then_some(DataQualityAssertionsDatasetFacet { assertions })
}

fn assertion(check: &CheckRecord) -> Assertion {
    let kind = kind_of(&check.kind);
    let counted = if kind == ROW_COUNT { check.rows } else { check.failing };
    Assertion {
        assertion: kind,
        success: check.outcome == RecordedOutcome::Passed,
        column: match &check.columns[..] {
            [only] => Some(only.clone()),
            _ => None,
        },
        severity: match check.severity {
            RecordedSeverity::Fail => "error",
            RecordedSeverity::Warn => "warn",
        },
        name: check.check.clone(),
        description: check.message.clone(),
        actual: counted.map(|count| count.to_string()),
    }
}

const ROW_COUNT: &str = "row_count";

/// The specification's word for a kind of check.
fn kind_of(kind: &str) -> &'static str {
    match kind {
        "rows" => ROW_COUNT,
        "unique" => "unique",
        "not_null" => "not_null",
        "freshness" => "freshness",
        _ => "custom_sql",
    }
}
