//! The tap that summarises the data of a query while they pass.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use daglight_plan_diagnostics::{DataTap, PartitionTap};

use crate::{DataSummary, Summarizer, SummaryOptions};

/// Summarises each partition on the thread that runs it, and merges the results when partitions end.
#[derive(Clone)]
pub struct SummaryTap {
    options: SummaryOptions,
    merged: Arc<Mutex<Option<Summarizer>>>,
}

impl SummaryTap {
    /// A tap that has seen nothing.
    pub fn new(options: SummaryOptions) -> Self {
        Self { options, merged: Arc::default() }
    }

    /// The summary of all partitions that have ended, and nothing once it was taken. `None` where no partition was
    /// opened.
    pub fn take(&self) -> Option<DataSummary> {
        self.merged
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
            .map(|summarizer| summarizer.finish())
    }
}

impl DataTap for SummaryTap {
    fn open(&self, schema: &SchemaRef, _partition: usize) -> Box<dyn PartitionTap> {
        let summarizer = Summarizer::new(schema, self.options.clone());
        Box::new(Partition { summarizer: Some(summarizer), merged: Arc::clone(&self.merged) })
    }
}

struct Partition {
    summarizer: Option<Summarizer>,
    merged: Arc<Mutex<Option<Summarizer>>>,
}

impl PartitionTap for Partition {
    fn batch(&mut self, batch: &RecordBatch) {
        if let Some(summarizer) = &mut self.summarizer {
            summarizer.update(batch);
        }
    }
}

impl Drop for Partition {
    fn drop(&mut self) {
        let Some(own) = self.summarizer.take() else { return };
        let mut merged = self.merged.lock().unwrap_or_else(PoisonError::into_inner);
        match merged.as_mut() {
            Some(merged) => merged.merge(own),
            None => *merged = Some(own),
        }
    }
}
