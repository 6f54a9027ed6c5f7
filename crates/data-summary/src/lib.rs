//! Data summaries: the content of a table or stream, in one pass and bounded memory.
//!
//! A [`Summarizer`] takes record batches, one for each partition, and their results are merged into one [`DataSummary`]. Nothing
//! here depends on DataFusion: observing a query's data belongs to `daglight-materializers`, and what of a summary may be shown to
//! `daglight-capture-policy`.
//!
//! Internally, each column of a batch is split into chunks without nulls (`chunks.rs`), which the accumulator for the column's type
//! processes. Ordered types share two sketches (`order.rs`): one of ranks for quantiles and histogram, one of hashes for the number
//! of distinct values.

mod model;
mod options;
mod summarizer;

mod column;
mod update;

mod bytes;
mod decimals;
mod floats;
mod integers;
mod shapes;
mod wide;

mod chunks;
mod distinct;
mod domain;
mod kept;
mod moments;
mod order;
mod quantiles;
mod ranks;
mod scale;
#[cfg(test)]
mod tests;

pub use model::{
    Bin, Category, ColumnSummary, DataSummary, Details, Distribution, FieldShape, FiniteValues, Lengths,
    Point, Quantile, Shape, Text, ValueCount, VariantShape,
};
pub use options::SummaryOptions;
pub use summarizer::Summarizer;
