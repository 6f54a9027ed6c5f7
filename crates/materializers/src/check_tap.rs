//! A tap that evaluates the checks of a node while its rows pass.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use arrow::{
    array::RecordBatch,
    datatypes::{Schema, SchemaRef},
};
use daglight_plan_diagnostics::{DataTap, PartitionTap};
use datafusion::execution::SessionState;

use crate::{
    check_keys::MAX_KEY_BYTES,
    check_result::Measured,
    data_check::DataCheck,
    planned_check::{PlannedCheck, Seen},
};

/// Evaluates the checks in each partition on the thread that runs it, and merges the results when partitions end.
#[derive(Clone)]
pub struct CheckTap {
    checks: Arc<[DataCheck]>,
    /// The plan for each check, or why it cannot be computed.
    planned: Arc<[Result<PlannedCheck, String>]>,
    merged: Arc<Mutex<Merged>>,
}

/// The merged results of the partitions that have ended.
#[derive(Default)]
struct Merged {
    seen: Option<SeenRows>,
    /// Whether a panic has lost rows.
    is_incomplete: bool,
}

struct SeenRows {
    rows: u64,
    of: Vec<Seen>,
}

impl CheckTap {
    /// A tap for rows with these columns. A check that does not match them is not computed, and its result says so.
    pub fn new(checks: Arc<[DataCheck]>, session: &SessionState, schema: &Schema) -> Self {
        Self::with_key_bytes(checks, session, schema, MAX_KEY_BYTES)
    }

    pub(crate) fn with_key_bytes(
        checks: Arc<[DataCheck]>,
        session: &SessionState,
        schema: &Schema,
        key_bytes: usize,
    ) -> Self {
        let plan = |check: &DataCheck| {
            check
                .plan(session, schema, key_bytes)
                .map_err(|error| daglight_capture_policy::in_one_line(&error))
        };
        let planned = checks.iter().map(plan).collect();
        Self { checks, planned, merged: Arc::default() }
    }

    /// The results of all partitions that have ended; empty if already taken. `None` if no partition was opened.
    pub fn take(&self) -> Option<Measured> {
        let merged = std::mem::take(&mut *self.merged.lock().unwrap_or_else(PoisonError::into_inner));
        if merged.is_incomplete {
            return Some(Measured::lost(&self.checks));
        }
        let SeenRows { rows, of } = merged.seen?;
        Some(Measured::new(&self.checks, rows, of))
    }
}

impl fmt::Debug for CheckTap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckTap").field("checks", &self.checks.len()).finish_non_exhaustive()
    }
}

impl DataTap for CheckTap {
    fn open(&self, _schema: &SchemaRef, _partition: usize) -> Box<dyn PartitionTap> {
        let nothing = |planned: &Result<PlannedCheck, String>| match planned {
            Ok(planned) => Seen::nothing(planned),
            Err(problem) => Seen::Failed(problem.clone()),
        };
        let seen = SeenRows { rows: 0, of: self.planned.iter().map(nothing).collect() };
        Box::new(Partition { tap: self.clone(), seen: Some(seen) })
    }
}

struct Partition {
    tap: CheckTap,
    seen: Option<SeenRows>,
}

impl PartitionTap for Partition {
    fn batch(&mut self, batch: &RecordBatch) {
        // It is put back only if nothing in it has panicked.
        let Some(mut seen) = self.seen.take() else { return };
        seen.rows += batch.num_rows() as u64;
        for (seen, planned) in seen.of.iter_mut().zip(&*self.tap.planned) {
            if let Ok(planned) = planned {
                seen.update(planned, batch);
            }
        }
        self.seen = Some(seen);
    }
}

impl Drop for Partition {
    fn drop(&mut self) {
        let mut merged = self.tap.merged.lock().unwrap_or_else(PoisonError::into_inner);
        // Set first and reset at the end, so that it stays set if something here panics.
        let was_incomplete = std::mem::replace(&mut merged.is_incomplete, true);
        let Some(own) = self.seen.take() else { return };
        match &mut merged.seen {
            Some(merged) => {
                merged.rows += own.rows;
                merged.of.iter_mut().zip(own.of).for_each(|(merged, own)| merged.merge(own));
            }
            None => merged.seen = Some(own),
        }
        // Not reached if merging panics.
        merged.is_incomplete = was_incomplete;
    }
}
