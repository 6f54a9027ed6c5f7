//! The configuration of outputs and parameter tables.

use std::{collections::BTreeMap, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What is said of an output, and expected of it. The tables `[outputs."name"]`, by external name, are the semantic
/// registry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OutputSettings {
    /// Who is responsible for it.
    pub owner: Option<String>,
    /// What it is.
    pub description: Option<String>,
    /// Labels of its node, besides those that the node has.
    pub tags: BTreeMap<String, String>,
    /// Its columns and their types, as SQL (`BIGINT`) or Arrow (`Int64`) calls them. Without them, any columns are accepted.
    pub columns: BTreeMap<String, String>,
    /// The DAG that produces it. Without it, every run is expected to.
    pub dag: Option<String>,
}

/// A named set of parameters, registered as a table. It has either a file or rows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ParamTableSettings {
    /// A CSV, JSON or Parquet file, relative to the working directory.
    pub file: Option<PathBuf>,
    /// The rows themselves.
    pub rows: Vec<Map<String, Value>>,
    /// The columns in the order in which the rows of a file first name them. What is not among them follows by name.
    #[serde(skip)]
    pub columns: Vec<String>,
    /// What the parameters are for.
    pub description: Option<String>,
}
