//! Which columns of a query hold values of columns that are named like secrets, under whatever name they have now.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use daglight_capture_policy::Redactor;
use daglight_plan_diagnostics::{Lineage, SourceColumn};

/// Tables that are remembered, and columns of each. A program that makes more tables than that out of secrets has those beyond
/// known by the names of their columns alone.
const MOST_TABLES: usize = 10_000;
const MOST_COLUMNS: usize = 1_000;

/// The columns of a query's data whose values are made of those of secret columns, or chosen by them: a `CASE` may spell out what
/// it compares with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SecretColumns {
    /// For each column of the result, whether it is one.
    positions: Vec<bool>,
    names: HashSet<String>,
}

/// The tables and files that such columns were written to.
#[derive(Debug, Default)]
pub(crate) struct SecretTables(Mutex<HashMap<String, HashSet<String>>>);

impl SecretColumns {
    /// Those of a query; `None` where there are none, as in most queries.
    pub(crate) fn of(lineage: &Lineage, tables: &SecretTables, redactor: &Redactor) -> Option<Arc<Self>> {
        let is_secret = |source: &SourceColumn| redactor.hides_column(&source.column) || tables.have(source);
        let positions: Vec<bool> =
            lineage.columns.iter().map(|column| column.sources.keys().any(is_secret)).collect();
        let columns = lineage.columns.iter().zip(&positions).filter(|(_, is_secret)| **is_secret);
        let names: HashSet<String> = columns.map(|(column, _)| column.name.clone()).collect();
        (!names.is_empty()).then(|| Arc::new(Self { positions, names }))
    }

    /// Whether the column at this place, of so many, is one.
    pub(crate) fn have(&self, position: usize, of: usize, name: &str) -> bool {
        // A table that rows are inserted into has its own names.
        let is_at = || of == self.positions.len() && self.positions.get(position) == Some(&true);
        self.names.contains(name) || is_at()
    }
}

impl SecretTables {
    /// Remembers what was written to a table or file.
    pub(crate) fn add(&self, table: &str, columns: &SecretColumns) {
        let mut tables = self.tables();
        let key = key_of(table);
        if tables.len() >= MOST_TABLES && !tables.contains_key(&key) {
            return;
        }
        let known = tables.entry(key).or_default();
        let room = MOST_COLUMNS.saturating_sub(known.len());
        known.extend(columns.names.iter().take(room).map(|name| name.to_lowercase()));
    }

    fn have(&self, source: &SourceColumn) -> bool {
        let tables = self.tables();
        // Asked of every column of every query.
        !tables.is_empty()
            && tables
                .get(&key_of(&source.table))
                .is_some_and(|columns| columns.contains(&source.column.to_lowercase()))
    }

    fn tables(&self) -> MutexGuard<'_, HashMap<String, HashSet<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A table by the last part of its name, as it may be named with its schema or without; a file by its path.
fn key_of(table: &str) -> String {
    let table = table.strip_prefix("file://").unwrap_or(table).trim_end_matches('/');
    if table.contains('/') {
        return table.trim_start_matches("./").to_owned();
    }
    table.rsplit('.').next().unwrap_or(table).trim_matches('"').to_lowercase()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use daglight_plan_diagnostics::{ColumnLineage, Derivation};

    use super::*;

    fn lineage(columns: &[(&str, &str)]) -> Lineage {
        let column = |(name, source): &(&str, &str)| {
            let source = source.split_once('.').map(|(table, column)| {
                (SourceColumn { table: table.into(), column: column.into() }, Derivation::Transformation)
            });
            ColumnLineage { name: (*name).to_owned(), sources: BTreeMap::from_iter(source) }
        };
        Lineage { columns: columns.iter().map(column).collect(), ..Lineage::default() }
    }

    #[test]
    fn secrets_are_followed_from_table_to_table() {
        let (tables, redactor) = (SecretTables::default(), Redactor::default());
        let of = |columns: &[(&str, &str)]| SecretColumns::of(&lineage(columns), &tables, &redactor);
        assert_eq!(of(&[("id", "users.id"), ("one", "")]), None);
        let first = of(&[("id", "users.id"), ("P", "users.password")]).unwrap();
        assert!(first.have(1, 2, "P") && first.have(1, 2, "renamed") && !first.have(0, 2, "id"));
        assert!(!first.have(1, 3, "renamed"));
        // One of the values that a condition chooses tells what it was chosen by.
        let chosen = |derivation| ColumnLineage {
            name: "class".into(),
            sources: BTreeMap::from([(
                SourceColumn { table: "users".into(), column: "password".into() },
                derivation,
            )]),
        };
        let by_condition = Lineage { columns: vec![chosen(Derivation::Conditional)], ..Lineage::default() };
        assert!(SecretColumns::of(&by_condition, &tables, &redactor).is_some());
        tables.add("public.Copies", &first);
        let second = of(&[("x", "copies.p"), ("id", "copies.id")]).unwrap();
        assert!(second.have(0, 2, "x") && !second.have(1, 2, "id"));
        tables.add("./out/a.parquet", &second);
        assert!(of(&[("y", "out/a.parquet.x")]).is_none(), "the test splits at the first dot");
        assert!(tables.have(&SourceColumn { table: "file://out/a.parquet".into(), column: "X".into() }));
    }
}
