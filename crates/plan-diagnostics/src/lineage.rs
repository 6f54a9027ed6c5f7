//! Where the columns of a query come from.

mod model;

mod scope;
mod expressions;
mod relations;

pub use model::{ColumnLineage, Derivation, Influence, Lineage, Origins, SourceColumn, Unresolved};
