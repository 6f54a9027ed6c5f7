//! What is known of the columns of a script: which of a table's are credentials by their position, and which other names
//! queries have given to such a column.

use std::collections::{HashMap, HashSet};

/// Tables and names that are remembered. What a script has more of is found by its own names alone.
const MOST: usize = 1_000;

/// What is known of the columns of a script. It is never taken back: a table that is made anew may be filled by an
/// earlier statement, too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ScriptColumns {
    /// Which columns of a table are credentials, by the last part of the table's name in small letters.
    tables: HashMap<String, Vec<bool>>,
    /// How many columns the tables have that hold none, so that what stands behind theirs is found: `SELECT a.*, b.*`.
    widths: HashMap<String, usize>,
    /// Names of columns that are credentials because a query has named one so.
    names: HashSet<String>,
}

impl ScriptColumns {
    /// Whether a name is that of a column that holds credentials.
    pub(crate) fn has_name(&self, name: &str) -> bool {
        !self.names.is_empty() && self.names.contains(&name.to_lowercase())
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
        others.widths.iter().for_each(|(table, width)| self.add_width(table.clone(), *width));
        others.names.iter().for_each(|name| self.add_name(name.clone()));
    }

    /// All columns of a table, where they are known.
    pub(crate) fn columns_of(&self, table: &str) -> Option<Vec<bool>> {
        let table = table.to_lowercase();
        let harmless = || self.widths.get(&table).map(|width| vec![false; *width]);
        self.tables.get(&table).cloned().or_else(harmless)
    }

    /// Whether a statement that makes a table says nothing new.
    pub(crate) fn knows(&self, made: &Made) -> bool {
        let has_credential = made.columns.contains(&true);
        !has_credential && (!made.is_whole || self.widths.get(&made.table) == Some(&made.columns.len()))
    }

    /// Takes over the columns of a table that a statement makes.
    pub(crate) fn add_made(&mut self, made: Made) {
        if made.is_whole && !made.columns.contains(&true) {
            self.add_width(made.table, made.columns.len());
        } else {
            self.add_table(made.table, made.columns);
        }
    }

    fn add_width(&mut self, table: String, width: usize) {
        if self.widths.len() < MOST || self.widths.contains_key(&table) {
            self.widths.insert(table, width);
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
    /// Which of its columns are credentials.
    pub(crate) columns: Vec<bool>,
    /// Whether all columns are known.
    pub(crate) is_whole: bool,
}
