//! Names of columns for formats in which an object has each name once.

use std::{collections::HashSet, sync::Arc};

use datafusion::arrow::{
    array::{RecordBatch, RecordBatchOptions},
    datatypes::{Field, Schema},
    error::ArrowError,
};

use crate::say::note;

/// The batch with a number at the names of columns that another one in front of them has: who reads `{"a":1,"a":2}` finds only one
/// of the two.
pub(crate) fn with_unique_names(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = batch.schema();
    let Some(names) = unique_names(&schema) else { return Ok(batch.clone()) };
    let fields = schema.fields().iter().zip(names);
    let fields: Vec<Field> = fields.map(|(field, name)| Field::clone(field).with_name(name)).collect();
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let schema = Arc::new(Schema::new(fields));
    RecordBatch::try_new_with_options(schema, batch.columns().to_vec(), &rows)
}

/// Says which columns have other names in the rows that are printed.
pub(crate) fn warn_of_renamed(schema: &Schema) {
    let Some(names) = unique_names(schema) else { return };
    for (field, name) in schema.fields().iter().zip(names).filter(|(field, name)| field.name() != name) {
        note!(
            "warning: another column is called {:?} as well: this one is called {name:?} in JSON",
            field.name()
        );
    }
}

/// `None` where all names are.
fn unique_names(schema: &Schema) -> Option<Vec<String>> {
    let given: HashSet<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    if given.len() == schema.fields().len() {
        return None;
    }
    let mut taken: HashSet<String> = HashSet::new();
    let names = schema.fields().iter().map(|field| {
        let name = field.name();
        let is_free = |name: &String, taken: &HashSet<String>| !taken.contains(name);
        let numbered = || (2_usize..).map(|number| format!("{name}_{number}"));
        let name = match is_free(name, &taken) {
            true => name.clone(),
            // Not one that a column further on has of itself.
            false => numbered()
                .find(|name| !given.contains(name.as_str()) && is_free(name, &taken))
                .unwrap_or_default(),
        };
        taken.insert(name.clone());
        name
    });
    Some(names.collect())
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::DataType;

    use super::*;

    #[test]
    fn a_name_that_is_there_twice_gets_a_number() {
        let unique = |names: &[&str]| {
            unique_names(&Schema::new(
                names.iter().map(|name| Field::new(*name, DataType::Int64, true)).collect::<Vec<_>>(),
            ))
        };
        assert_eq!(unique(&["a", "b"]), None);
        let expected = ["a", "a_3", "b", "a_2", "a_4", "b_2"].map(str::to_owned);
        assert_eq!(unique(&["a", "a", "b", "a_2", "a", "b"]), Some(expected.to_vec()));
    }
}
