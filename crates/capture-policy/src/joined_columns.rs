//! The columns of `*` for the tables of a FROM clause, including joins by column names.
//!
//! A column in `JOIN ... USING (id)` occurs only once. DataFusion keeps the one of the table whose name sorts first, in the
//! position of that table, so that all columns after the other one move. If names are unknown, a column is assumed in every
//! possible position.

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hasher as _},
};

use crate::sql_tokens::unquoted;

/// A column of a table or a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) is_hidden: bool,
    pub(crate) name: ColumnName,
}

/// The hash of a lower-case name, to save memory, since many tables may have many columns. Expressions without a name and unknown
/// columns never compare equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ColumnName(u32);

impl ColumnName {
    pub(crate) const UNKNOWN: Self = Self(0);

    pub(crate) fn of(name: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(unquoted(name).to_lowercase().as_bytes());
        let [a, b, c, d, ..] = hasher.finish().to_le_bytes();
        Self(u32::from_le_bytes([a, b, c, d]).max(1))
    }

    fn is_known(self) -> bool {
        self != Self::UNKNOWN
    }
}

/// The tables of a FROM.
#[derive(Default)]
pub(crate) struct Sources<'a> {
    pub(crate) tables: Vec<Source<'a>>,
    /// Whether the list is complete.
    pub(crate) is_whole: bool,
}

/// A table of a FROM.
pub(crate) struct Source<'a> {
    /// Its name or alias, possibly quoted.
    pub(crate) name: &'a str,
    /// Whether the name is qualified with a schema, which affects the sort order.
    pub(crate) is_qualified: bool,
    /// `None` if unknown.
    pub(crate) columns: Option<Vec<Column>>,
    pub(crate) joined: JoinedBy,
}

/// The columns with which a table is joined to those before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum JoinedBy {
    /// No columns by name alone.
    Condition,
    Using(Vec<ColumnName>),
    /// All columns that are on both sides.
    Natural,
}

impl Sources<'_> {
    /// Adds the columns of all tables, or of the one with that name. Returns false if not all of them are known.
    pub(crate) fn add_all(&self, name: Option<&str>, columns: &mut Vec<Column>) -> bool {
        if let Some(name) = name {
            let is_meant = |source: &&Source<'_>| unquoted(name).eq_ignore_ascii_case(unquoted(source.name));
            let meant = self.tables.iter().find(is_meant).and_then(|source| source.columns.as_ref());
            columns.extend(meant.into_iter().flatten());
            return meant.is_some();
        }
        let known: Vec<(&Source<'_>, &[Column])> = self
            .tables
            .iter()
            .map_while(|source| source.columns.as_deref().map(|columns| (source, columns)))
            .collect();
        match left_out(&known) {
            Some(left_out) => {
                let all = known.iter().enumerate().flat_map(|(table, (_, columns))| {
                    columns.iter().enumerate().map(move |(column, of_table)| ((table, column), *of_table))
                });
                columns.extend(all.filter(|(place, _)| !left_out.contains(place)).map(|(_, column)| column));
                self.is_whole && !known.is_empty() && known.len() == self.tables.len()
            }
            None => {
                columns.extend(at_each_place(&known));
                false
            }
        }
    }
}

/// The position of a column: its table, and its position in the table.
type Place = (usize, usize);

/// The columns that `*` leaves out. `None` if unknown.
fn left_out(tables: &[(&Source<'_>, &[Column])]) -> Option<HashSet<Place>> {
    let mut left_out = HashSet::new();
    // A hash lookup instead of a search: a table may have thousands of columns, and be joined by all of them.
    let mut before: HashMap<ColumnName, Place> = HashMap::new();
    let mut all_are_known = true;
    for (right, (source, columns)) in tables.iter().enumerate() {
        let mut of_right: HashMap<ColumnName, Place> = HashMap::new();
        for (place, column) in columns.iter().enumerate() {
            all_are_known &= column.name.is_known();
            of_right.entry(column.name).or_insert((right, place));
        }
        of_right.remove(&ColumnName::UNKNOWN);
        let names: Vec<ColumnName> = match &source.joined {
            JoinedBy::Condition => Vec::new(),
            JoinedBy::Using(names) => names.clone(),
            JoinedBy::Natural if !all_are_known => return None,
            JoinedBy::Natural => of_right.keys().filter(|name| before.contains_key(name)).copied().collect(),
        };
        for name in names {
            let (of_left, of_right) = (*before.get(&name)?, *of_right.get(&name)?);
            let (left_source, _) = tables[of_left.0];
            if left_source.is_qualified || source.is_qualified {
                return None;
            }
            left_out.insert(match sorted_name(left_source).cmp(&sorted_name(source)) {
                std::cmp::Ordering::Less => of_right,
                std::cmp::Ordering::Greater => of_left,
                std::cmp::Ordering::Equal => return None,
            });
        }
        of_right.into_iter().for_each(|(name, place)| _ = before.entry(name).or_insert(place));
    }
    Some(left_out)
}

/// The name as DataFusion normalises it: in lower case unless quoted.
fn sorted_name(source: &Source<'_>) -> String {
    let name = unquoted(source.name);
    if name.len() == source.name.len() { name.to_lowercase() } else { name.to_owned() }
}

/// All columns, with each credential in every position to which omitted duplicates may have moved it.
fn at_each_place(tables: &[(&Source<'_>, &[Column])]) -> Vec<Column> {
    let once = tables.iter().skip(1).map(|(source, columns)| match &source.joined {
        JoinedBy::Condition => 0,
        JoinedBy::Using(names) => names.len(),
        JoinedBy::Natural => columns.len(),
    });
    let moved_by: usize = once.sum();
    let all = tables.iter().flat_map(|(_, columns)| *columns);
    let mut places: Vec<Column> = all.map(|column| Column { name: ColumnName::UNKNOWN, ..*column }).collect();
    // Backwards, with the distance to the next credential after it.
    let mut behind = None;
    for column in places.iter_mut().rev() {
        behind = if column.is_hidden { Some(0) } else { behind.map(|distance: usize| distance + 1) };
        column.is_hidden = behind.is_some_and(|distance| distance <= moved_by);
    }
    places
}
