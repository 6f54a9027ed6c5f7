//! A session whose queries are recorded.

use std::sync::{Arc, Mutex};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use daglight_plan_diagnostics::{
    DataTap, LiveQueries, MeasuredQuery, Observation, PartitionTap, PlannedQuery, QueryKind, QueryListener,
    QueryObserver, instrument,
};
use daglight_run_bundle::ClusterWork;
use datafusion::{
    execution::session_state::SessionStateBuilder,
    prelude::{SessionConfig, SessionContext},
};

#[derive(Debug, Default)]
pub(crate) struct Recorder {
    reports: Mutex<Vec<MeasuredQuery>>,
    tapped_rows: Mutex<usize>,
    settled: Mutex<Vec<(usize, bool)>>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Shared {
    recorder: Arc<Recorder>,
    with_differences: bool,
}

impl QueryObserver for Shared {
    fn planned(&self, query: &Arc<PlannedQuery>) -> Option<Observation> {
        if query.kind == QueryKind::Explain {
            return None;
        }
        Some(Observation { listener: Arc::new(self.clone()), tap: Some(Arc::new(self.clone())) })
    }

    fn wants_differences(&self) -> bool {
        self.with_differences
    }
}

impl QueryListener for Shared {
    fn ended(&self, report: MeasuredQuery) {
        self.recorder.reports.lock().unwrap().push(report);
    }

    fn remote_work_settled(&self, work: ClusterWork) {
        let reports = self.recorder.reports.lock().unwrap().len();
        self.recorder.settled.lock().unwrap().push((reports, work.job_open));
    }
}

impl DataTap for Shared {
    fn open(&self, _schema: &SchemaRef, _partition: usize) -> Box<dyn PartitionTap> {
        Box::new(self.clone())
    }
}

impl PartitionTap for Shared {
    fn batch(&mut self, batch: &RecordBatch) {
        *self.recorder.tapped_rows.lock().unwrap() += batch.num_rows();
    }
}

impl Shared {
    pub(crate) fn with_differences() -> Self {
        Self { with_differences: true, ..Self::default() }
    }

    pub(crate) fn reports(&self) -> Vec<MeasuredQuery> {
        std::mem::take(&mut *self.recorder.reports.lock().unwrap())
    }

    /// What was said of work on other machines: how many reports there were by then that nobody had taken, and whether the job was open.
    pub(crate) fn settled(&self) -> Vec<(usize, bool)> {
        std::mem::take(&mut *self.recorder.settled.lock().unwrap())
    }

    pub(crate) fn tapped_rows(&self) -> usize {
        std::mem::take(&mut *self.recorder.tapped_rows.lock().unwrap())
    }
}

pub(crate) fn session() -> (SessionContext, Shared, LiveQueries) {
    session_of(Shared::default())
}

pub(crate) fn session_of(seen: Shared) -> (SessionContext, Shared, LiveQueries) {
    let live = LiveQueries::new();
    let builder = SessionStateBuilder::new_with_default_features()
        .with_config(SessionConfig::new().with_target_partitions(2));
    let state = instrument(builder, Arc::new(seen.clone()), live.clone()).build();
    (SessionContext::new_with_state(state), seen, live)
}

pub(crate) async fn run(ctx: &SessionContext, sql: &str) -> usize {
    let batches = ctx.sql(sql).await.unwrap().collect().await.unwrap();
    batches.iter().map(RecordBatch::num_rows).sum()
}

/// Runs one statement and returns the only report of it.
#[track_caller]
pub(crate) fn only(seen: &Shared) -> MeasuredQuery {
    let mut reports = seen.reports();
    assert_eq!(reports.len(), 1, "{reports:?}");
    reports.remove(0)
}
