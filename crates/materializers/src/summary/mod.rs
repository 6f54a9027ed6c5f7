//! Data summaries: what a table or stream holds, in one pass and bounded memory.
//!
//! [`Summarizer`] cuts each column of a batch into chunks without nulls ([`chunks`]) and hands them to the accumulator of
//! the column's kind. Ordered kinds share two sketches ([`order`]): one of ranks for quantiles and histogram, one of
//! hashes for the number of different values. Nothing here knows DataFusion.

mod model;
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
    Bin, Category, ColumnSummary, DataSummary, Details, Distribution, FieldShape, Lengths, Point, Quantile,
    Shape, Text, ValueCount, VariantShape,
};
pub use summarizer::{Summarizer, SummaryOptions};
