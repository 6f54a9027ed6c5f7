//! The columns that an expression can name, with their origins.

use datafusion::common::{Column, DFSchema};

use super::model::{Derivation, Origins, SourceColumn};

/// The output of a relation: the origins of each column, in the order of its schema.
pub(super) type Columns = Vec<Origins>;

/// What the expressions of a plan node see.
pub(super) struct Scope<'a> {
    pub(super) schema: &'a DFSchema,
    pub(super) columns: &'a [Origins],
    /// The node around a correlated subquery.
    pub(super) outer: Option<&'a Scope<'a>>,
}

impl Scope<'_> {
    /// The origins of a column of this node. `None` where no column has that name.
    pub(super) fn find(&self, column: &Column) -> Option<&Origins> {
        self.columns.get(self.schema.maybe_index_of_column(column)?)
    }

    /// The origins of a column of a node around this one, the nearest first.
    pub(super) fn find_outside(&self, column: &Column) -> Option<&Origins> {
        let outer = self.outer?;
        outer.find(column).or_else(|| outer.find_outside(column))
    }
}

/// Adds `more`, whose values are at least derived as `least`. What only chooses among values goes on doing so, whatever is computed
/// from the chosen one.
pub(super) fn merge(origins: &mut Origins, more: &Origins, least: Derivation) {
    for (source, derivation) in more {
        let derivation = match derivation {
            Derivation::Conditional => Derivation::Conditional,
            value => (*value).max(least),
        };
        add(origins, source, derivation);
    }
}

/// Adds the sources of a condition that chooses among values.
pub(super) fn choose(origins: &mut Origins, condition: &Origins) {
    condition.keys().for_each(|source| add(origins, source, Derivation::Conditional));
}

fn add(origins: &mut Origins, source: &SourceColumn, derivation: Derivation) {
    origins.entry(source.clone()).and_modify(|known| *known = (*known).max(derivation)).or_insert(derivation);
}
