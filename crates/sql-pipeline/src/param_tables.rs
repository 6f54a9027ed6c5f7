//! The parameter tables that a script reads.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use daglight_capture_policy::in_one_line;
use daglight_materializers::{ParamTable, ParamTableError};
use datafusion::common::{ResolvedTableReference, TableReference};

use crate::{effect::Effect, locate::SourceError, script::Script};

/// A parameter table and the statements that read it, by their indices.
#[derive(Debug, Clone)]
pub(crate) struct UsedParamTable {
    pub(crate) table: ParamTable,
    pub(crate) relation: ResolvedTableReference,
    pub(crate) readers: BTreeSet<usize>,
}

/// The tables that some statement reads before the script itself defines one with that name, sorted by name.
pub(crate) fn used(script: &Script, tables: &[ParamTable]) -> Vec<UsedParamTable> {
    let mut given: BTreeMap<ResolvedTableReference, UsedParamTable> = tables
        .iter()
        .map(|table| {
            let name = script.initial.resolve(TableReference::from(table.name()));
            (name.clone(), UsedParamTable { table: table.clone(), relation: name, readers: BTreeSet::new() })
        })
        .collect();
    // In script order, so that a statement before the definition still reads the parameter.
    let mut defined = BTreeSet::new();
    for (index, statement) in script.statements().iter().enumerate() {
        for mention in &statement.relations.reads {
            if let Some(used) =
                given.get_mut(&mention.relation).filter(|_| !defined.contains(&mention.relation))
            {
                used.readers.insert(index);
            }
        }
        if let Effect::Define { relation, .. } = &statement.relations.effect {
            defined.insert(relation);
        }
    }
    given.into_values().filter(|used| !used.readers.is_empty()).collect()
}

impl UsedParamTable {
    /// The error for a table that could not be registered, at the first statement that reads it.
    pub(crate) fn failed(&self, script: &Script, error: ParamTableError) -> SourceError {
        // The table itself has no place in the script. The first reader is where its user looks.
        let reader = self.readers.first().copied().unwrap_or_default();
        let statement = &script.statements()[reader];
        SourceError {
            place: Box::new(script.start_of(statement)),
            node: Some(self.table.name().to_owned()),
            message: in_one_line(&error),
            cause: Some(Arc::new(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tables_that_are_read_and_not_defined_are_used() {
        let tables =
            ["weights", "limits", "s.zones", "other"].map(|name| ParamTable::of_file(name, "x.csv").unwrap());
        let sql = "SELECT * FROM Weights; CREATE TABLE limits AS SELECT 1 AS x; SELECT * FROM limits;
                   CREATE VIEW v AS SELECT * FROM s.zones JOIN weights USING (x); SELECT * FROM v";
        let script = Script::parse("a.sql", sql).unwrap();
        let found: Vec<(String, Vec<usize>)> = used(&script, &tables)
            .into_iter()
            .map(|used| (used.table.name().to_owned(), used.readers.into_iter().collect()))
            .collect();
        assert_eq!(found, [("weights".to_owned(), vec![0, 3]), ("s.zones".to_owned(), vec![3])]);
    }
}
