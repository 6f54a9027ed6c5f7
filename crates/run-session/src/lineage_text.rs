//! Where the columns of a node come from, as Hamilton's page shows it: a table of two columns.

use std::collections::BTreeMap;

use daglight_capture_policy::{Captured, Policy};
use daglight_plan_diagnostics::{Derivation, Influence, Lineage, Origins};
use serde_json::{Map, Value};

const OF_NO_COLUMN: &str = "no column: a count of rows, or a constant";

/// The lineage as one object: what decides about rows, by kind, then each column with its sources.
pub(crate) fn shown_lineage(lineage: &Lineage, policy: &Policy) -> Captured {
    let mut by_influence: BTreeMap<Influence, Vec<String>> = BTreeMap::new();
    for (source, influences) in &lineage.indirect {
        for influence in influences {
            by_influence.entry(*influence).or_default().push(source.to_string());
        }
    }
    let decides = by_influence
        .into_iter()
        .map(|(by, sources)| (format!("(rows, by {})", by.name()), sources.join(", ")));
    let unresolved: Vec<String> = lineage.unresolved.iter().map(ToString::to_string).collect();
    let unresolved = (!unresolved.is_empty()).then(|| ("(incomplete)".to_owned(), unresolved.join("; ")));
    let columns = lineage.columns.iter().map(|column| (column.name.clone(), sources(&column.sources)));
    let rows = decides.chain(unresolved).chain(columns);
    let shown = |text: String| Value::from(policy.redactor().name_text(&text));
    let rows: Map<String, Value> = rows.map(|(name, sources)| (name, shown(sources))).collect();
    // The name of a column is not one of its values, whatever it is called.
    policy.capture_columns(rows, |_, sources| match sources {
        Value::Null => "in the file of the plan".into(),
        sources => sources.clone(),
    })
}

/// `orders.id`, `from orders.price, orders.tax`, `of many rows of orders.price`, each with `chosen by orders.status` where a condition
/// decides which value it is, or that it is of no column, as `count(*)` is.
fn sources(origins: &Origins) -> String {
    let names = |is_wanted: &dyn Fn(Derivation) -> bool| {
        let wanted = origins.iter().filter(|(_, derivation)| is_wanted(**derivation));
        wanted.map(|(source, _)| source.to_string()).collect::<Vec<_>>().join(", ")
    };
    let values = names(&|derivation| derivation != Derivation::Conditional);
    let made_of = match origins.values().max() {
        None => return OF_NO_COLUMN.to_owned(),
        Some(Derivation::Conditional) => String::new(),
        Some(Derivation::Identity) => values,
        Some(Derivation::Transformation) => format!("from {values}"),
        Some(Derivation::Aggregation) => format!("of many rows of {values}"),
    };
    let conditions = names(&|derivation| derivation == Derivation::Conditional);
    match (made_of.is_empty(), conditions.is_empty()) {
        (_, true) => made_of,
        (true, false) => format!("chosen by {conditions}"),
        (false, false) => format!("{made_of}, chosen by {conditions}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use daglight_capture_policy::Profile;
    use daglight_plan_diagnostics::{ColumnLineage, SourceColumn};
    use serde_json::json;

    use super::*;

    #[test]
    fn what_decides_about_rows_stands_above_the_columns() {
        let column = |column: &str| SourceColumn { table: "orders".into(), column: column.into() };
        let of = |name: &str, sources: &[(&str, Derivation)]| ColumnLineage {
            name: name.into(),
            sources: sources.iter().map(|(source, derivation)| (column(source), *derivation)).collect(),
        };
        let lineage = Lineage {
            columns: vec![
                of("id", &[("id", Derivation::Identity)]),
                of("net", &[("price", Derivation::Identity), ("tax", Derivation::Transformation)]),
                of("total", &[("price", Derivation::Aggregation)]),
                of("class", &[("price", Derivation::Conditional)]),
                of("share", &[("price", Derivation::Aggregation), ("class", Derivation::Conditional)]),
                of("one", &[]),
            ],
            indirect: BTreeMap::from([
                (column("day"), BTreeSet::from([Influence::Filter, Influence::Sort])),
                (column("id"), BTreeSet::from([Influence::Filter])),
            ]),
            unresolved: BTreeSet::new(),
        };
        let shown = shown_lineage(&lineage, &Policy::of_profile(Profile::Dev));
        assert_eq!(
            *shown.as_value(),
            json!({
                "(rows, by filter)": "orders.day, orders.id",
                "(rows, by sort)": "orders.day",
                "id": "orders.id",
                "net": "from orders.price, orders.tax",
                "total": "of many rows of orders.price",
                "class": "chosen by orders.price",
                "share": "of many rows of orders.price, chosen by orders.class",
                "one": "no column: a count of rows, or a constant",
            })
        );
    }
}
