//! Names that an object of JSON would have twice.

use std::collections::BTreeSet;

use datafusion::arrow::datatypes::{DataType, Field, Fields};

/// The columns and fields that have the name of an earlier one beside them, as paths such as `address.city`. Both are written, but most
/// readers of JSON keep only the last.
pub(crate) fn double_names(fields: &Fields) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    look_into(fields, "", &mut found);
    found
}

fn look_into(fields: &Fields, above: &str, found: &mut BTreeSet<String>) {
    let mut names = BTreeSet::new();
    for field in fields {
        let path = format!("{above}{}", field.name());
        look_below(field, &path, found);
        if !names.insert(field.name()) {
            found.insert(path);
        }
    }
}

fn look_below(field: &Field, path: &str, found: &mut BTreeSet<String>) {
    match field.data_type() {
        DataType::Struct(fields) => look_into(fields, &format!("{path}."), found),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => look_below(item, path, found),
        DataType::Map(entries, _) => {
            // The names of the entries themselves, key and value, are not written.
            if let DataType::Struct(fields) = entries.data_type() {
                fields.iter().for_each(|field| look_below(field, path, found));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn names_are_double_beside_each_other_at_any_depth() {
        let number = |name: &str| Field::new(name, DataType::Int64, true);
        let of = |name: &str, fields: Vec<Field>| Field::new(name, DataType::Struct(fields.into()), true);
        let twice = || of("item", vec![number("a"), of("b", vec![number("a")]), number("a")]);
        let list = Field::new("l", DataType::List(Arc::new(twice())), true);
        let entries = of("entries", vec![number("key"), twice()]);
        let map = Field::new("m", DataType::Map(Arc::new(entries), false), true);
        let fields = Fields::from(vec![number("x"), list, map, of("s", vec![number("x")]), number("x")]);
        assert_eq!(double_names(&fields), ["l.a", "m.a", "x"].map(str::to_owned).into());
        assert_eq!(double_names(&Fields::from(vec![number("a"), number("A")])), BTreeSet::new());
    }
}
