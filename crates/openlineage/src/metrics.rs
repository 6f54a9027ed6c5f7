//! The facets of data quality, made of a data summary.

use daglight_capture_policy::Captured;
use serde_json::{Map, Value};

/// What a facet takes of a summary, by column. `None` where that has no column.
pub(crate) fn metrics_of(summary: &Captured) -> Option<Map<String, Value>> {
    let columns = summary.as_value().as_object()?;
    let mut column_metrics = Map::new();
    for (name, column) in columns {
        let mut metrics = Map::new();
        // The facet cannot say that a count is an estimate, and one below that of the rows reads as if a key had duplicates.
        let is_estimate = column.get("distinct_is_estimate").and_then(Value::as_bool).unwrap_or(false);
        let distinct = (!is_estimate).then_some(("distinct", "distinctCount"));
        for (from, to) in [("missing", "nullCount")].into_iter().chain(distinct) {
            let count = column.get(from).filter(|count| count.is_u64());
            metrics.extend(count.map(|count| (to.to_owned(), count.clone())));
        }
        // Of texts and times the summary has a least value as well, for which the facet has no place.
        for key in ["count", "min", "max"] {
            let number = column.get(key).filter(|number| number.is_number());
            metrics.extend(number.map(|number| (key.to_owned(), number.clone())));
        }
        let quantiles: Map<String, Value> = column
            .get("quantiles")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .filter(|(_, value)| value.is_number())
            .map(|(quantile, value)| (quantile.clone(), value.clone()))
            .collect();
        if !quantiles.is_empty() {
            metrics.insert("quantiles".to_owned(), quantiles.into());
        }
        // A column that the policy withholds says nothing.
        if !metrics.is_empty() {
            column_metrics.insert(name.clone(), metrics.into());
        }
    }
    (!column_metrics.is_empty()).then_some(column_metrics)
}

#[cfg(test)]
mod tests {
    use daglight_capture_policy::{Policy, Profile};
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_taken_and_texts_are_not() {
        let summary = Policy::of_profile(Profile::Dev).capture(json!({
            "id": { "count": 3, "missing": 1, "distinct": 2, "distinct_is_estimate": false, "min": 1, "max": 7.5, "quantiles": { "0.5": 2, "x": "y" } },
            "name": { "count": 3, "missing": 0, "min": "ann", "top_value": { "ann": 2 }, "distinct": 3,
                "distinct_is_estimate": true },
            "hidden": "[redacted]",
        }));
        let metrics = metrics_of(&summary).unwrap();
        assert_eq!(
            Value::Object(metrics),
            json!({
                "id": { "nullCount": 1, "distinctCount": 2, "count": 3, "min": 1, "max": 7.5, "quantiles": { "0.5": 2 } },
                "name": { "nullCount": 0, "count": 3 },
            })
        );
    }
}
