//! Where the columns of a query come from, as the file of a plan has it.

use serde::{Deserialize, Serialize};

/// The source columns of a plan's result. The terms are those of OpenLineage's facet for column lineage.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlanLineage {
    /// The columns of the result, or of what a write takes in, in their order.
    pub columns: Vec<ColumnSources>,
    /// Source columns that decide which rows there are, or their order.
    pub indirect: Vec<IndirectSource>,
    /// What could not be followed, a sentence each: then the rest is the least that is true.
    pub unresolved: Vec<String>,
}

/// A column of a result with the source columns that its values are made of, or chosen by; none for a constant and for a count of
/// rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ColumnSources {
    /// Its name.
    pub name: String,
    /// The source columns, sorted.
    pub sources: Vec<DirectSource>,
}

/// A source column that values are made of, or chosen by.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DirectSource {
    /// The table, as the query names it.
    pub table: String,
    /// The column.
    pub column: String,
    /// `identity`, `transformation` or `aggregation`; `conditional` where it is only in a condition, as of a `CASE`, that chooses the value.
    pub derivation: String,
}

/// A source column that decides about rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IndirectSource {
    /// The table, as the query names it.
    pub table: String,
    /// The column.
    pub column: String,
    /// How it decides: `join`, `group_by`, `filter`, `sort` or `window`. In files of earlier versions also `conditional`, for
    /// what is now in the columns.
    pub influences: Vec<String>,
}

impl PlanLineage {
    /// The same with other names: what `shown` makes of each.
    #[must_use]
    pub fn with_names(mut self, shown: impl Fn(&str) -> String) -> Self {
        for column in &mut self.columns {
            column.name = shown(&column.name);
            for source in &mut column.sources {
                (source.table, source.column) = (shown(&source.table), shown(&source.column));
            }
        }
        for source in &mut self.indirect {
            (source.table, source.column) = (shown(&source.table), shown(&source.column));
        }
        self.unresolved.iter_mut().for_each(|text| *text = shown(text));
        self
    }
}
