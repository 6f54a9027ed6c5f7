//! Writes and registers the outputs of a pipeline, and summarises the data in the same pass.
//!
//! An [`Output`] takes a `DataFrame`, writes it with DataFusion's own sinks, registers it under a stable external name, and returns
//! what was [`Written`]. A [`ParamTable`] registers a named set of parameters. The [`Registry`] declares the expected outputs, and
//! compares. A [`SummaryTap`] inspects the data in passing, so that a [`DataSummary`](daglight_data_summary::DataSummary) needs no
//! second read, and a [`CheckTap`] checks whether they are as expected.
//!
//! Summarising columns belongs to `daglight-data-summary`, observing queries to `daglight-plan-diagnostics`, and sending artifacts
//! and summaries to `daglight-run-session`.

// Outputs, and what was written.
mod file_output;
mod output;
mod stored_files;
mod summary_tap;
mod written;

// Checks of the rows.
mod check_keys;
mod check_query;
mod check_result;
mod check_syntax;
mod check_tap;
mod data_check;
mod planned_check;

// Facts about data without reading its rows.
mod location;
mod column_facts;
mod parquet_facts;
mod schema;
mod source;

// The inputs of a pipeline, and what is expected of it.
mod column_type;
mod param_table;
mod registry;

/// Needed for implementing a custom [`Output`].
pub use async_trait::async_trait;
pub use check_keys::MAX_KEY_BYTES;
pub use check_query::check_table;
pub use check_result::{CheckOutcome, CheckResult, ChecksFailed, Found, Measured};
pub use check_syntax::{CheckProblem, CheckSyntaxError, parse as parse_check};
pub use check_tap::CheckTap;
pub use column_facts::{ColumnFacts, Unread};
pub use column_type::{ColumnType, UnknownType};
/// How an output is kept.
pub use daglight_run_bundle::Materialization;
pub use data_check::{CheckSeverity, DataCheck, UnknownSeverity};
pub use file_output::{Arrow, Csv, FileOutput, Ndjson, Parquet};
pub use location::{folder_of_pattern, name_of_files, naming_part, place_of_copy, without_query};
pub use output::{Output, Table, View, register};
pub use param_table::{ParamTable, ParamTableError};
pub use planned_check::CheckPlanError;
pub use registry::{ColumnDrift, Entry, Finding, MATERIALIZATION_TAG, Produced, Registry, RegistryError};
pub use schema::schema_hash;
pub use source::{SourceFacts, source_facts};
pub use stored_files::StoredFiles;
pub use summary_tap::SummaryTap;
pub use written::{Written, memory_bytes};
