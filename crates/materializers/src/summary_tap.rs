//! The tap that summarises the data of a query in passing.

use std::{
    fmt,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use daglight_data_summary::{DataSummary, Summarizer, SummaryOptions};
use daglight_plan_diagnostics::{DataTap, PartitionTap};

/// Summarises each partition on the thread that runs it, and merges the results when partitions end.
#[derive(Clone)]
pub struct SummaryTap {
    options: SummaryOptions,
    /// The initial state of each partition: clones share the memory for values.
    empty: Arc<OnceLock<Summarizer>>,
    merged: Arc<Mutex<Merged>>,
    nanoseconds: Arc<AtomicU64>,
}

/// The partitions that have ended.
#[derive(Default)]
struct Merged {
    summarizer: Option<Summarizer>,
    /// Whether a panic has lost rows.
    is_incomplete: bool,
}

impl SummaryTap {
    /// A tap that has not seen any rows.
    pub fn new(options: SummaryOptions) -> Self {
        Self { options, empty: Arc::default(), merged: Arc::default(), nanoseconds: Arc::default() }
    }

    /// The time spent on summarising so far, summed over threads.
    pub fn time_taken(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed))
    }

    /// The summary of all partitions that have ended; empty if already taken. `None` if no partition was opened, or if a panic has
    /// lost rows: a summary of the rest would be wrong.
    pub fn take(&self) -> Option<DataSummary> {
        let started = Instant::now();
        let merged = std::mem::take(&mut *self.merged.lock().unwrap_or_else(PoisonError::into_inner));
        let whole = merged.summarizer.filter(|_| !merged.is_incomplete);
        let summary = whole.map(|summarizer| summarizer.finish());
        add(&self.nanoseconds, started.elapsed());
        summary
    }
}

impl fmt::Debug for SummaryTap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SummaryTap").field("options", &self.options).finish_non_exhaustive()
    }
}

impl DataTap for SummaryTap {
    fn open(&self, schema: &SchemaRef, _partition: usize) -> Box<dyn PartitionTap> {
        // Created once and cloned for each partition: with hundreds of columns, creating it would delay a short query noticeably.
        let empty = self.empty.get_or_init(|| Summarizer::new(schema, self.options.clone()));
        Box::new(Partition {
            summarizer: Some(empty.clone()),
            merged: Arc::clone(&self.merged),
            taken: Duration::ZERO,
            nanoseconds: Arc::clone(&self.nanoseconds),
        })
    }
}

struct Partition {
    summarizer: Option<Summarizer>,
    merged: Arc<Mutex<Merged>>,
    taken: Duration,
    nanoseconds: Arc<AtomicU64>,
}

fn add(nanoseconds: &AtomicU64, time: Duration) {
    nanoseconds.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
}

impl PartitionTap for Partition {
    fn batch(&mut self, batch: &RecordBatch) {
        // It is put back only if nothing in it has panicked.
        let Some(mut summarizer) = self.summarizer.take() else { return };
        let started = Instant::now();
        summarizer.update(batch);
        self.taken += started.elapsed();
        self.summarizer = Some(summarizer);
    }
}

impl Drop for Partition {
    fn drop(&mut self) {
        let started = Instant::now();
        let mut merged = self.merged.lock().unwrap_or_else(PoisonError::into_inner);
        // Set first and reset at the end, so that it stays set if something here panics.
        let was_incomplete = std::mem::replace(&mut merged.is_incomplete, true);
        let Some(own) = self.summarizer.take() else { return };
        match &mut merged.summarizer {
            Some(merged) => merged.merge(own),
            None => merged.summarizer = Some(own),
        }
        // Not reached if merging panics.
        merged.is_incomplete = was_incomplete;
        // Added once per partition instead of once per batch: otherwise all threads would write to the same counter thousands of
        // times a second.
        add(&self.nanoseconds, self.taken + started.elapsed());
    }
}
