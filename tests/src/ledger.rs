//! The numbers of a delivery, added up independently of the program.

use serde_json::Value;

/// Nothing that was recorded is missing from the counts: produced = delivered + waiting + dropped.
#[track_caller]
pub fn check_balanced(counts: &Value) {
    let number = |key: &str| counts[key].as_u64().unwrap_or_else(|| panic!("no {key}: {counts:#}"));
    let reasons = counts["dropped"].as_object().unwrap_or_else(|| panic!("no reasons: {counts:#}"));
    let dropped: u64 = reasons.values().filter_map(Value::as_u64).sum();
    assert_eq!(number("produced"), number("delivered") + number("waiting") + dropped, "{counts:#}");
}
