//! The source columns of a query's result, as in a plan file.

use serde::{Deserialize, Serialize};

/// The source columns of a plan's result. The terms are those of OpenLineage's facet for column lineage.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlanLineage {
    /// The columns of the result, or of the input of a write, in order.
    pub columns: Vec<ColumnSources>,
    /// Source columns that affect which rows there are, or their order.
    pub indirect: Vec<IndirectSource>,
    /// What could not be traced, one sentence each. The rest is then incomplete but correct.
    pub unresolved: Vec<String>,
}

/// A column of a result, with the source columns from which its values are computed or selected; no sources for a constant and for
/// a count of rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ColumnSources {
    /// Its name.
    pub name: String,
    /// The source columns, sorted.
    pub sources: Vec<DirectSource>,
}

/// A source column from which values are computed or selected.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DirectSource {
    /// The table, as the query names it.
    pub table: String,
    /// The column.
    pub column: String,
    /// `identity`, `transformation` or `aggregation`; `conditional` if it occurs only in a condition, such as of a `CASE`, that
    /// selects the value.
    pub derivation: String,
}

/// A source column that affects the rows of the result.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IndirectSource {
    /// The table, as the query names it.
    pub table: String,
    /// The column.
    pub column: String,
    /// How it affects them: `join`, `group_by`, `filter`, `sort` or `window`. In files of earlier versions also `conditional`, for
    /// what is now in the columns.
    pub influences: Vec<String>,
}

impl PlanLineage {
    /// The same lineage with all names passed through `shown`.
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
