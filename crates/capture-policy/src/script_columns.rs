//! What is known of the columns of a script: which of a table's are credentials by their position, and which other names
//! queries have given to such a column.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use crate::joined_columns::{Column, ColumnName};

/// Tables and names that are remembered. What a script has more of is found by its own names alone.
const MOST: usize = 1_000;
/// Columns of all tables whose names are remembered.
const MOST_COLUMN_NAMES: usize = 200_000;

/// What is known of the columns of a script. It is never taken back: a table that is made anew may be filled by an
/// earlier statement, too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ScriptColumns {
    /// Which columns of a table are credentials, by the last part of the table's name in small letters.
    tables: HashMap<String, Vec<bool>>,
    /// The columns of the tables of which all are known, so that what stands behind theirs is found: `SELECT a.*, b.*`.
    columns: HashMap<String, Arc<[ColumnName]>>,
    /// How many these are.
    column_names: usize,
    /// Names of columns that are credentials because a query has named one so.
    names: HashSet<String>,
    /// Those of the statement that is read.
    names_here: HashSet<String>,
    /// The columns of tables that columns with the names of credentials take their values from.
    origins: HashMap<String, HashSet<ColumnName>>,
}

impl ScriptColumns {
    /// Whether a name is that of a column that holds credentials.
    pub(crate) fn has_name(&self, name: &str) -> bool {
        if self.names.is_empty() && self.names_here.is_empty() {
            return false;
        }
        let name = name.to_lowercase();
        self.names.contains(&name) || self.names_here.contains(&name)
    }

    /// Adds a name that counts in its own statement alone.
    pub(crate) fn add_name_here(&mut self, name: String) {
        if self.names_here.len() < MOST {
            self.names_here.insert(name);
        }
    }

    /// What is known of all statements.
    pub(crate) fn without_names_here(mut self) -> Self {
        self.names_here.clear();
        self
    }

    /// Adds a column that one with the name of a credential takes its values from.
    pub(crate) fn add_origin(&mut self, table: String, column: ColumnName) {
        if self.origins.len() < MOST || self.origins.contains_key(&table) {
            let columns = self.origins.entry(table).or_default();
            if columns.len() < MOST {
                columns.insert(column);
            }
        }
    }

    /// Whether a column of a table is such.
    pub(crate) fn is_origin(&self, table: &str, column: ColumnName) -> bool {
        self.origins.get(table).is_some_and(|columns| columns.contains(&column))
    }

    /// Whether a table has such columns.
    pub(crate) fn has_origins(&self, table: &str) -> bool {
        !self.origins.is_empty() && self.origins.contains_key(&table.to_lowercase())
    }

    /// How many such columns are known.
    pub(crate) fn count_of_origins(&self) -> usize {
        self.origins.values().map(HashSet::len).sum()
    }

    /// Takes over such columns from others.
    pub(crate) fn add_origins(&mut self, others: &Self) {
        for (table, columns) in &others.origins {
            columns.iter().for_each(|column| self.add_origin(table.clone(), *column));
        }
    }

    /// Which columns of a table are credentials, where any is.
    pub(crate) fn of_table(&self, name: &str) -> Option<&[bool]> {
        if self.tables.is_empty() {
            return None;
        }
        self.tables.get(&name.to_lowercase()).map(Vec::as_slice)
    }

    /// Whether others know of other tables.
    pub(crate) fn tables_differ(&self, others: &Self) -> bool {
        self.tables != others.tables
    }

    /// How many names are known.
    pub(crate) fn count_of_names(&self) -> usize {
        self.names.len()
    }

    /// Takes over what others say.
    pub(crate) fn add(&mut self, others: &Self) {
        others.tables.iter().for_each(|(table, columns)| self.add_table(table.clone(), columns.clone()));
        others.columns.iter().for_each(|(table, names)| self.add_columns(table.clone(), Arc::clone(names)));
        others.names.iter().for_each(|name| self.add_name(name.clone()));
        self.add_origins(others);
    }

    /// All columns of a table, where they are known.
    pub(crate) fn columns_of(&self, table: &str) -> Option<Vec<Column>> {
        let table = table.to_lowercase();
        let (hidden, names) = (self.tables.get(&table), self.columns.get(&table));
        let width = hidden.map(Vec::len).or(names.map(|names| names.len()))?;
        // One that was made twice has had other columns.
        let names = names.filter(|names| names.len() == width);
        let column = |place: usize| Column {
            is_hidden: hidden.is_some_and(|hidden| hidden[place]),
            name: names.map_or(ColumnName::UNKNOWN, |names| names[place]),
        };
        Some((0..width).map(column).collect())
    }

    /// Whether a statement that makes a table says nothing new.
    pub(crate) fn knows(&self, made: &Made) -> bool {
        let is_known = || {
            let names = self.columns.get(&made.table);
            names.is_some_and(|names| made.names().eq(names.iter().copied()))
        };
        !made.has_credential() && (!made.is_whole || is_known())
    }

    /// Takes over the columns of a table that a statement makes.
    pub(crate) fn add_made(&mut self, made: Made) {
        if made.is_whole {
            self.add_columns(made.table.clone(), made.names().collect());
        }
        if made.has_credential() {
            let hidden = made.columns.iter().map(|column| column.is_hidden).collect();
            self.add_table(made.table, hidden);
        }
    }

    fn add_columns(&mut self, table: String, names: Arc<[ColumnName]>) {
        let before = self.columns.get(&table).map(|names| names.len());
        let all = self.column_names - before.unwrap_or_default() + names.len();
        if all <= MOST_COLUMN_NAMES && (self.columns.len() < MOST || before.is_some()) {
            self.column_names = all;
            self.columns.insert(table, names);
        }
    }

    fn add_table(&mut self, table: String, columns: Vec<bool>) {
        // A table without a secret column needs no place, and a script of many thousand tables must not grow this
        // without end.
        if !columns.contains(&true) || (self.tables.len() >= MOST && !self.tables.contains_key(&table)) {
            return;
        }
        let known = self.tables.entry(table).or_default();
        known.resize(known.len().max(columns.len()), false);
        // A table that is made twice: what either has named a secret is one.
        known.iter_mut().zip(columns).for_each(|(known, hidden)| *known |= hidden);
    }

    pub(crate) fn add_name(&mut self, name: String) {
        if self.names.len() < MOST {
            self.names.insert(name);
        }
    }
}

/// A table or view that a statement makes.
pub(crate) struct Made {
    /// The last part of its name, in small letters.
    pub(crate) table: String,
    /// Its columns.
    pub(crate) columns: Vec<Column>,
    /// Whether all columns are known.
    pub(crate) is_whole: bool,
}

impl Made {
    fn names(&self) -> impl Iterator<Item = ColumnName> {
        self.columns.iter().map(|column| column.name)
    }

    fn has_credential(&self) -> bool {
        self.columns.iter().any(|column| column.is_hidden)
    }
}
