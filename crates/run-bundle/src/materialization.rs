//! How an artifact is kept, as a bundle records it.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How an artifact is kept. In JSON it is its name, such as `parquet`, `table` or `param_table`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Materialization {
    /// Rows in memory, or in a table that keeps them its own way.
    Table,
    /// A definition that is evaluated where it is used.
    View,
    /// A named set of parameters.
    ParamTable,
    /// Parquet files.
    Parquet,
    /// CSV files.
    Csv,
    /// Files with a JSON object in each line.
    Ndjson,
    /// Arrow IPC files.
    Arrow,
    /// Files of another format, or as a custom output keeps it.
    #[serde(untagged)]
    Other(String),
}

impl Materialization {
    /// The format of files, by its name in SQL or by a file extension. JSON files have one object per line, so they are `ndjson`.
    pub fn files(format: &str) -> Self {
        match format.to_lowercase().as_str() {
            "json" | "jsonl" => Self::Ndjson,
            other => Self::from_name(other),
        }
    }

    /// Parses a name.
    pub fn from_name(name: &str) -> Self {
        match name {
            "table" => Self::Table,
            "view" => Self::View,
            "param_table" => Self::ParamTable,
            "parquet" => Self::Parquet,
            "csv" => Self::Csv,
            "ndjson" => Self::Ndjson,
            "arrow" => Self::Arrow,
            other => Self::Other(other.to_owned()),
        }
    }

    /// The name, as in JSON.
    pub fn name(&self) -> &str {
        match self {
            Self::Table => "table",
            Self::View => "view",
            Self::ParamTable => "param_table",
            Self::Parquet => "parquet",
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
            Self::Arrow => "arrow",
            Self::Other(name) => name,
        }
    }
}

impl fmt::Display for Materialization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_its_name_and_what_is_not_known_is_kept() {
        for name in ["table", "view", "param_table", "parquet", "csv", "ndjson", "arrow", "count", "", "View"]
        {
            let json = format!("{name:?}");
            let kept: Materialization = serde_json::from_str(&json).unwrap();
            assert_eq!((kept.name(), &kept), (name, &Materialization::from_name(name)));
            assert_eq!(serde_json::to_string(&kept).unwrap(), json);
            let is_known = !matches!(kept, Materialization::Other(_));
            assert_eq!(is_known, !["count", "", "View"].contains(&name), "{name:?}");
        }
    }
}
