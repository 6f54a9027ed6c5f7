//! What the lineage of a query says.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// The source columns of a query's result, by the terms of [OpenLineage's facet for column lineage][facet]: *direct* where
/// a value is made of a source's value, *indirect* where a source only decides which of several values it is, which rows there
/// are, or their order.
///
/// It is read from the plan as the front end made it, in which views stand as what they are defined by: the sources are
/// tables, and never views.
///
/// [facet]: https://openlineage.io/docs/spec/facets/dataset-facets/column_lineage_facet
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lineage {
    /// The columns of the result, or of what a write takes in, in their order.
    pub columns: Vec<ColumnLineage>,
    /// Source columns that decide about rows.
    pub indirect: BTreeMap<SourceColumn, BTreeSet<Influence>>,
    /// What could not be followed, each once: for a reader the rest is then the least that is true.
    pub unresolved: BTreeSet<Unresolved>,
}

/// One column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnLineage {
    /// Its name in the result.
    pub name: String,
    /// The source columns that its values are made of, or chosen by. A constant has none.
    pub sources: Origins,
}

/// Source columns, each with the strongest thing that happens to its values.
pub type Origins = BTreeMap<SourceColumn, Derivation>;

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceColumn {
    /// The table, as the query names it.
    pub table: String,
    /// The column.
    pub column: String,
}

/// How a value depends on a source's value, the weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Derivation {
    /// It is not made of that value: a condition on it, as in a `CASE`, only decides which value it is.
    Conditional,
    /// It is that value.
    Identity,
    /// It is computed from it.
    Transformation,
    /// It is computed from that of many rows.
    Aggregation,
}

/// How a column decides about rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Influence {
    /// By the condition of a join.
    Join,
    /// By a `GROUP BY` or `DISTINCT`.
    GroupBy,
    /// By a condition such as that of a `WHERE`, `HAVING` or `EXISTS`.
    Filter,
    /// By an `ORDER BY`.
    Sort,
    /// By the `PARTITION BY` or `ORDER BY` of a window.
    Window,
}

/// A part of a plan whose columns cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unresolved {
    /// A node of a program's own: each of its columns is taken to be made of all that goes in.
    Extension(String),
    /// A column that none of the inputs has.
    Column(String),
    /// The plan has more nodes than are followed.
    Size,
}

impl Lineage {
    /// Whether any source column is known.
    pub fn has_sources(&self) -> bool {
        !self.indirect.is_empty() || self.columns.iter().any(|column| !column.sources.is_empty())
    }
}

impl Derivation {
    /// As it stands in bundles: `conditional`, `identity`, `transformation` or `aggregation`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Conditional => "conditional",
            Self::Identity => "identity",
            Self::Transformation => "transformation",
            Self::Aggregation => "aggregation",
        }
    }
}

impl Influence {
    /// As it stands in bundles: `join`, `group_by`, `filter`, `sort` or `window`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::GroupBy => "group_by",
            Self::Filter => "filter",
            Self::Sort => "sort",
            Self::Window => "window",
        }
    }
}

impl fmt::Display for SourceColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.table, self.column)
    }
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Extension(name) => {
                write!(f, "the plan node {name} does not say what it does with its columns")
            }
            Self::Column(name) => write!(f, "the column {name} is not found in the plan"),
            Self::Size => f.write_str("the plan is too large to be followed"),
        }
    }
}
