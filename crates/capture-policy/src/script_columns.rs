//! What is known about the columns of a script: which columns of a table are credentials by position, and which aliases queries
//! have given to such columns.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use crate::joined_columns::{Column, ColumnName};

/// The maximum number of tables and names that are remembered. Beyond that, columns are found only by their own names.
const MOST: usize = 1_000;
/// The maximum number of remembered column names over all tables.
const MOST_COLUMN_NAMES: usize = 200_000;

/// What is known about the columns of a script. It is never reset: an earlier statement may also fill a table that is created
/// again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ScriptColumns {
    /// Which columns of a table are credentials, by the last part of the table's name in lower case.
    tables: HashMap<String, Vec<bool>>,
    /// The columns of the tables that are completely known, so that columns after theirs can be located: `SELECT a.*, b.*`.
    columns: HashMap<String, Arc<[ColumnName]>>,
    /// The total number of these columns.
    column_names: usize,
    /// Names of columns that are credentials because a query used them as an alias for one.
    names: HashSet<String>,
    /// The same for the current statement only.
    names_here: HashSet<String>,
    /// The columns of tables from which columns with the names of credentials take their values.
    origins: HashMap<String, HashSet<ColumnName>>,
}

impl ScriptColumns {
    /// Whether a name is that of a column with credentials.
    pub(crate) fn has_name(&self, name: &str) -> bool {
        if self.names.is_empty() && self.names_here.is_empty() {
            return false;
        }
        let name = name.to_lowercase();
        self.names.contains(&name) || self.names_here.contains(&name)
    }

    /// Adds a name that applies only to its own statement.
    pub(crate) fn add_name_here(&mut self, name: String) {
        if self.names_here.len() < MOST {
            self.names_here.insert(name);
        }
    }

    /// The part that applies to all statements.
    pub(crate) fn without_names_here(mut self) -> Self {
        self.names_here.clear();
        self
    }

    /// Adds a column from which one with the name of a credential takes its values.
    pub(crate) fn add_origin(&mut self, table: String, column: ColumnName) {
        if self.origins.len() < MOST || self.origins.contains_key(&table) {
            let columns = self.origins.entry(table).or_default();
            if columns.len() < MOST {
                columns.insert(column);
            }
        }
    }

    /// Whether a column of a table is such an origin.
    pub(crate) fn is_origin(&self, table: &str, column: ColumnName) -> bool {
        self.origins.get(table).is_some_and(|columns| columns.contains(&column))
    }

    /// Whether a table has such origins.
    pub(crate) fn has_origins(&self, table: &str) -> bool {
        !self.origins.is_empty() && self.origins.contains_key(&table.to_lowercase())
    }

    /// The number of known origins.
    pub(crate) fn count_of_origins(&self) -> usize {
        self.origins.values().map(HashSet::len).sum()
    }

    /// Adds the origins that others know.
    pub(crate) fn add_origins(&mut self, others: &Self) {
        for (table, columns) in &others.origins {
            columns.iter().for_each(|column| self.add_origin(table.clone(), *column));
        }
    }

    /// Which columns of a table are credentials, if any is.
    pub(crate) fn of_table(&self, name: &str) -> Option<&[bool]> {
        if self.tables.is_empty() {
            return None;
        }
        self.tables.get(&name.to_lowercase()).map(Vec::as_slice)
    }

    /// Whether the tables of others differ.
    pub(crate) fn tables_differ(&self, others: &Self) -> bool {
        self.tables != others.tables
    }

    /// The number of known names.
    pub(crate) fn count_of_names(&self) -> usize {
        self.names.len()
    }

    /// Adds what others know.
    pub(crate) fn add(&mut self, others: &Self) {
        others.tables.iter().for_each(|(table, columns)| self.add_table(table.clone(), columns.clone()));
        others.columns.iter().for_each(|(table, names)| self.add_columns(table.clone(), Arc::clone(names)));
        others.names.iter().for_each(|name| self.add_name(name.clone()));
        self.add_origins(others);
    }

    /// All columns of a table, if known.
    pub(crate) fn columns_of(&self, table: &str) -> Option<Vec<Column>> {
        let table = table.to_lowercase();
        let (hidden, names) = (self.tables.get(&table), self.columns.get(&table));
        let width = hidden.map(Vec::len).or(names.map(|names| names.len()))?;
        // A table that was created twice may have had other columns.
        let names = names.filter(|names| names.len() == width);
        let column = |place: usize| Column {
            is_hidden: hidden.is_some_and(|hidden| hidden[place]),
            name: names.map_or(ColumnName::UNKNOWN, |names| names[place]),
        };
        Some((0..width).map(column).collect())
    }

    /// Whether a statement that creates a table adds nothing new.
    pub(crate) fn knows(&self, made: &Made) -> bool {
        let is_known = || {
            let names = self.columns.get(&made.table);
            names.is_some_and(|names| made.names().eq(names.iter().copied()))
        };
        !made.has_credential() && (!made.is_whole || is_known())
    }

    /// Adds the columns of a table that a statement creates.
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
        // A table without a secret column is not stored, and a script with many thousand tables must not make this grow without
        // bound.
        if !columns.contains(&true) || (self.tables.len() >= MOST && !self.tables.contains_key(&table)) {
            return;
        }
        let known = self.tables.entry(table).or_default();
        known.resize(known.len().max(columns.len()), false);
        // For a table that is created twice: columns that either definition marks as secret are secret.
        known.iter_mut().zip(columns).for_each(|(known, hidden)| *known |= hidden);
    }

    pub(crate) fn add_name(&mut self, name: String) {
        if self.names.len() < MOST {
            self.names.insert(name);
        }
    }
}

/// A table or view that a statement creates.
pub(crate) struct Made {
    /// The last part of its name, in lower case.
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
