//! Data summaries: what a table or stream holds, in one pass and bounded memory.
//!
//! A [`Summarizer`] takes record batches, one of each partition, and their results are merged into one [`DataSummary`].
//! Nothing here knows DataFusion: watching a query's data belongs to `daglight-materializers`, what of a summary may be shown to
//! `daglight-capture-policy`.
//!
//! Inside, each column of a batch is cut into chunks without nulls (`chunks.rs`), which the accumulator of the column's kind
//! takes. Ordered kinds share two sketches (`order.rs`): one of ranks for quantiles and histogram, one of
//! hashes for the number of different values.

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
