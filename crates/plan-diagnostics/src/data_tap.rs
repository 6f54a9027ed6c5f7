//! Seeing the data of a query.

use arrow::{array::RecordBatch, datatypes::SchemaRef};

/// Sees the data of a query while they pass: the rows that a query returns, or that a write takes in.
pub trait DataTap: Send + Sync {
    /// A partition begins. Partitions run at the same time.
    fn open(&self, schema: &SchemaRef, partition: usize) -> Box<dyn PartitionTap>;
}

/// Sees the batches of one partition, in order. Dropped at the partition's end.
pub trait PartitionTap: Send {
    /// A batch passes.
    fn batch(&mut self, batch: &RecordBatch);
}
