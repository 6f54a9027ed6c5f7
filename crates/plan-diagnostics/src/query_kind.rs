//! What a query does.

use datafusion::logical_expr::{LogicalPlan, WriteOp};

/// What a query does.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueryKind {
    /// Returns rows.
    Select,
    /// Writes files.
    Copy {
        /// Where to, as it was written.
        target: String,
        /// The file format, in lower case.
        format: String,
    },
    /// Changes a table.
    Dml {
        /// The table, as it was written.
        table: String,
        /// `insert`, `update`, ...
        operation: String,
    },
    /// Explains a plan, which is not executed.
    Explain,
}

impl QueryKind {
    pub(crate) fn of(plan: &LogicalPlan) -> Self {
        match plan {
            LogicalPlan::Copy(copy) => Self::Copy {
                target: copy.output_url.clone(),
                format: copy.file_type.get_ext().to_lowercase(),
            },
            LogicalPlan::Dml(dml) => Self::Dml {
                table: dml.table_name.to_string(),
                operation: match dml.op {
                    WriteOp::Insert(_) => "insert".to_owned(),
                    _ => dml.op.name().to_lowercase(),
                },
            },
            LogicalPlan::Explain(_) => Self::Explain,
            LogicalPlan::Analyze(analyze) => Self::of(&analyze.input),
            _ => Self::Select,
        }
    }

    /// `select`, `copy`, `insert`, ...
    pub fn operation(&self) -> &str {
        match self {
            Self::Select => "select",
            Self::Copy { .. } => "copy",
            Self::Dml { operation, .. } => operation,
            Self::Explain => "explain",
        }
    }

    /// The table that it changes, as it was written.
    pub fn target_table(&self) -> Option<&str> {
        match self {
            Self::Dml { table, .. } => Some(table),
            _ => None,
        }
    }

    /// What it writes to: a table, as it was written, or the place of files.
    pub fn target(&self) -> Option<&str> {
        match self {
            Self::Copy { target, .. } => Some(target),
            Self::Dml { table, .. } => Some(table),
            Self::Select | Self::Explain => None,
        }
    }

    /// Whether the query writes data and returns only their count.
    pub fn is_write(&self) -> bool {
        matches!(self, Self::Copy { .. } | Self::Dml { .. })
    }
}
