//! Writes and registers the outputs of a pipeline, and summarises the data in the same pass.
//!
//! An [`Output`] takes a `DataFrame`, writes it through DataFusion's own sinks, registers it under a stable external
//! name, and says what it [`Written`]. A [`SummaryTap`] looks at the data while they pass, so that a
//! [`DataSummary`] costs no second read.
//!
//! How queries are observed belongs to `daglight-plan-diagnostics`; where artifacts and summaries are sent, to
//! `daglight-run-session`.

mod files;
mod output;
mod schema;
mod source;
mod summary;
mod summary_tap;
mod written;

pub use files::{Files, files_at};
pub use output::{Arrow, Csv, FileOutput, Json, Output, Parquet, Table, View};
pub use schema::schema_hash;
pub use source::{ColumnFacts, SourceFacts, source_facts};
pub use summary::{
    Bin, Category, ColumnSummary, DataSummary, Details, Distribution, FieldShape, Lengths, Point, Quantile,
    Shape, Summarizer, SummaryOptions, Text, ValueCount, VariantShape,
};
pub use summary_tap::SummaryTap;
pub use written::{Materialization, Written};
