//! How far the tasks of a query are on its workers, while they run.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use datafusion::physical_plan::metrics::{Count, Label, Metric, MetricValue, MetricsSet, Time, Timestamp};
use datafusion_distributed::DISTRIBUTED_DATAFUSION_TASK_ID_LABEL;

use super::so_far::{Answer, OperatorSoFar};
use crate::address::WorkerAddress;

/// How often the workers are asked.
pub(super) const INTERVAL: Duration = Duration::from_secs(2);
/// The part of that time in which a worker has computed something.
const BUSY: f64 = 0.05;

/// An operator of a stage, by its position in pre-order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) stage: u64,
    pub(super) position: usize,
    /// Operators of the stage.
    pub(super) of: usize,
}

/// What the workers have last said of the tasks of a query.
#[derive(Default)]
pub(super) struct LiveTasks(Mutex<State>);

#[derive(Default)]
struct State {
    tasks: BTreeMap<(u64, u64), Vec<OperatorSoFar>>,
    cpu: BTreeMap<WorkerAddress, u64>,
    silent: BTreeSet<String>,
    busy: Duration,
}

impl LiveTasks {
    /// How long workers have computed while the query ran.
    pub(super) fn busy(&self) -> Duration {
        self.lock().busy
    }

    /// Whether a worker has not answered when it was last asked.
    pub(super) fn is_silent(&self, worker: &str) -> bool {
        self.lock().silent.contains(worker)
    }

    /// Whether a task has given all of its rows.
    pub(super) fn has_ended(&self, stage: u64, task: u64) -> bool {
        let state = self.lock();
        state
            .tasks
            .get(&(stage, task))
            .and_then(|operators| operators.first())
            .is_some_and(|root| root.ended.is_some())
    }

    /// What an operator has measured in all tasks of its stage; `None` where none of them has said so.
    pub(super) fn metrics(&self, place: &Place, name: &str) -> Option<MetricsSet> {
        let state = self.lock();
        let tasks = state.tasks.range((place.stage, 0)..=(place.stage, u64::MAX));
        let mut metrics = MetricsSet::new();
        let mut is_known = false;
        for ((_, task), operators) in tasks {
            // The engine puts what distributes the rows of a task on top of it, or leaves it out there.
            let position = (place.position + operators.len()).checked_sub(place.of);
            let operator = position.and_then(|position| operators.get(position));
            if let Some(operator) = operator.filter(|operator| operator.name == name) {
                is_known = true;
                metrics_of(*task, operator).into_iter().for_each(|metric| metrics.push(metric));
            }
        }
        is_known.then_some(metrics)
    }

    pub(super) fn take(&self, answers: Vec<(&WorkerAddress, Option<Answer>)>) {
        let mut state = self.lock();
        let mut is_busy = false;
        for (worker, answer) in answers {
            let Some(answer) = answer else {
                state.silent.insert(worker.to_string());
                continue;
            };
            state.silent.remove(&worker.to_string());
            let before = state.cpu.insert(worker.clone(), answer.cpu_nanoseconds);
            let computed = answer.cpu_nanoseconds.saturating_sub(before.unwrap_or(answer.cpu_nanoseconds));
            is_busy |= !answer.tasks.is_empty()
                && Duration::from_nanos(computed).as_secs_f64() >= BUSY * INTERVAL.as_secs_f64();
            for task in answer.tasks {
                state.tasks.insert((task.stage, task.task), task.operators);
            }
        }
        if is_busy {
            state.busy += INTERVAL;
        }
    }

    /// A task has given all of its rows.
    #[cfg(test)]
    pub(super) fn end_of_test(&self, stage: u64, task: u64) {
        let root = OperatorSoFar { ended: Some(1), ..OperatorSoFar::default() };
        self.lock().tasks.insert((stage, task), vec![root]);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn metrics_of(task: u64, operator: &OperatorSoFar) -> Vec<Arc<Metric>> {
    let rows = Count::new();
    rows.add(usize::try_from(operator.rows).unwrap_or(usize::MAX));
    let compute = Time::new();
    compute.add_duration(Duration::from_nanos(operator.compute_nanoseconds));
    let timestamp = |at: Option<u64>| {
        let stamp = Timestamp::new();
        let at = at.and_then(|at| i64::try_from(at).ok()).map(DateTime::<Utc>::from_timestamp_nanos);
        at.into_iter().for_each(|at| stamp.set(at));
        stamp
    };
    let values = [
        MetricValue::OutputRows(rows),
        MetricValue::ElapsedCompute(compute),
        MetricValue::StartTimestamp(timestamp(operator.started)),
        MetricValue::EndTimestamp(timestamp(operator.ended)),
    ];
    let label = || vec![Label::new(DISTRIBUTED_DATAFUSION_TASK_ID_LABEL, task.to_string())];
    values.map(|value| Arc::new(Metric::new_with_labels(value, None, label()))).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distributed::so_far::TaskSoFar;

    fn operator(name: &str, rows: u64, ended: Option<u64>) -> OperatorSoFar {
        OperatorSoFar { name: name.to_owned(), rows, compute_nanoseconds: 5, started: Some(1_000), ended }
    }

    fn answer(task: u64, cpu_nanoseconds: u64, operators: Vec<OperatorSoFar>) -> Answer {
        Answer { tasks: vec![TaskSoFar { stage: 1, task, operators }], cpu_nanoseconds, worker: 1 }
    }

    #[test]
    fn what_tasks_have_measured_is_found_by_the_place_of_the_operator() {
        let live = LiveTasks::default();
        let (one, two): (WorkerAddress, WorkerAddress) = ("a:1".parse().unwrap(), "b:1".parse().unwrap());
        let scanned =
            |rows| vec![operator("FilterExec", rows / 2, None), operator("DataSourceExec", rows, Some(9))];
        let mut with_head = scanned(40);
        with_head.insert(0, operator("RepartitionExec", 20, None));
        live.take(vec![(&one, Some(answer(0, 0, scanned(30)))), (&two, Some(answer(1, 0, with_head)))]);
        let rows = |position, name| {
            let place = Place { stage: 1, position, of: 2 };
            live.metrics(&place, name).and_then(|metrics| metrics.output_rows())
        };
        assert_eq!((rows(0, "FilterExec"), rows(1, "DataSourceExec")), (Some(35), Some(70)));
        assert_eq!((rows(1, "FilterExec"), rows(2, "DataSourceExec")), (None, None));
        assert!(!live.has_ended(1, 0));
        live.take(vec![(&one, Some(answer(0, 0, vec![operator("FilterExec", 15, Some(9))])))]);
        assert!(live.has_ended(1, 0));
    }

    #[test]
    fn a_worker_is_busy_where_it_computes_and_silent_where_it_says_nothing() {
        let live = LiveTasks::default();
        let worker: WorkerAddress = "a:1".parse().unwrap();
        let second = 1_000_000_000;
        live.take(vec![(&worker, Some(answer(0, 7 * second, Vec::new())))]);
        assert_eq!(live.busy(), Duration::ZERO);
        live.take(vec![(&worker, Some(answer(0, 8 * second, Vec::new())))]);
        live.take(vec![(&worker, Some(answer(0, 8 * second + 1, Vec::new())))]);
        // It computes for others.
        live.take(vec![(
            &worker,
            Some(Answer { tasks: Vec::new(), cpu_nanoseconds: 9 * second, worker: 1 }),
        )]);
        assert_eq!((live.busy(), live.is_silent("a:1")), (INTERVAL, false));
        live.take(vec![(&worker, None)]);
        assert!(live.is_silent("a:1"));
    }
}
