//! Run bundles as Arrow tables, for SQL over one run or thousands of them, and for notebooks.
//!
//! [`BundleTable`] is a table: its columns, and the batches of rows that a bundle has for it. Any query engine can be used with it.
//! Times are UTC in microseconds; durations and sums of times are milliseconds; values that a bundle does not contain are null.

mod columns;
mod damage;
mod otlp_values;
mod rows;
mod sink;
mod table;

#[cfg(test)]
mod tests;

pub use damage::Damage;
pub use sink::TableError;
pub use table::BundleTable;
