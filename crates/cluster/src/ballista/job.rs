//! What is known of a job: its stages, their tasks, where they ran, and how they ended.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ballista_core::serde::protobuf::PartitionLocation;
use daglight_plan_diagnostics::RemoteWork;
use daglight_run_bundle::{BALLISTA, ClusterStage, ClusterTask, ClusterWork};

use super::{
    measured::TaskMeasures,
    rest::{Executor, Stage, Task, TaskStatus},
    travels::EXECUTOR_ID,
};
use crate::address::WorkerAddress;

/// One execution of a query on a cluster.
pub(super) struct JobWork {
    scheduler: WorkerAddress,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    job_id: Option<String>,
    phase: Phase,
    /// When the scheduler took the job, in milliseconds since 1970 by its clock.
    queued_at: Option<u64>,
    executors: Vec<Executor>,
    stages: Vec<Stage>,
    /// What the tasks have measured, by stage and task.
    measures: BTreeMap<(u64, u64), TaskMeasures>,
    /// The executors that have the rows of the job, by partition of its last stage.
    places: BTreeMap<(u64, u32), String>,
    is_silent: bool,
    metrics_missing: bool,
    busy: Duration,
}

/// How far the job is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Phase {
    #[default]
    Submitted,
    Queued,
    Running,
    Completed,
    Failed,
    GivenUp,
}

impl Phase {
    const fn is_over(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::GivenUp)
    }
}

impl JobWork {
    pub(super) fn begin(scheduler: WorkerAddress) -> Arc<Self> {
        Arc::new(Self { scheduler, state: Mutex::default() })
    }

    /// The scheduler has taken the query as this job.
    pub(super) fn set_job(&self, job_id: &str) {
        self.lock().job_id = Some(job_id.to_owned());
    }

    /// What the scheduler says of the job; `queued_at` is 0 where it does not say.
    pub(super) fn set_phase(&self, phase: Phase, queued_at: u64) {
        let mut state = self.lock();
        state.phase = phase;
        state.is_silent = false;
        state.queued_at = Some(queued_at).filter(|at| *at > 0).or(state.queued_at);
    }

    /// The scheduler does not answer, until it says the next phase.
    pub(super) fn set_silent(&self) {
        self.lock().is_silent = true;
    }

    /// Nobody wants its rows any more, unless it has ended already.
    pub(super) fn give_up(&self) {
        let mut state = self.lock();
        if !state.phase.is_over() {
            state.phase = Phase::GivenUp;
        }
    }

    /// All executors that the scheduler has.
    pub(super) fn set_executors(&self, executors: Vec<Executor>) {
        self.lock().executors = executors;
    }

    /// What the scheduler says of the stages; tasks that ran meanwhile have computed for `since`.
    pub(super) fn set_stages(&self, stages: Vec<Stage>, since: Duration) {
        let mut state = self.lock();
        let is_running = |task: &Task| task.status == TaskStatus::Running;
        if stages.iter().any(|stage| stage.tasks().any(is_running)) {
            state.busy += since;
        }
        state.stages = stages;
    }

    /// Somebody may have computed for this long: nothing is known of the tasks.
    pub(super) fn add_busy(&self, since: Duration) {
        self.lock().busy += since;
    }

    /// How long tasks that have ended took, in sum, while the job goes on.
    pub(super) fn taken_so_far(&self) -> Option<Duration> {
        let state = self.lock();
        let tasks = state.stages.iter().flat_map(Stage::tasks);
        let taken = tasks.map(|task| task.end_exec_time.saturating_sub(task.start_exec_time)).sum();
        (!state.phase.is_over()).then(|| Duration::from_millis(taken))
    }

    /// Where the partitions of the result are.
    pub(super) fn set_places(&self, partitions: &[PartitionLocation]) {
        let mut state = self.lock();
        for location in partitions {
            let Some((executor, id)) = location.executor_meta.as_ref().zip(location.partition_id.as_ref())
            else {
                continue;
            };
            let place = format!("{}:{}", executor.host, executor.port);
            state.places.insert((id.stage_id.into(), location.map_partition_id), place);
        }
    }

    /// What the tasks that have ended have measured.
    pub(super) fn set_measures(&self, measures: BTreeMap<(u64, u64), TaskMeasures>) {
        self.lock().measures = measures;
    }

    pub(super) fn set_metrics_missing(&self) {
        self.lock().metrics_missing = true;
    }

    /// The tasks of each stage with their partitions, for the metrics of these.
    pub(super) fn partitions_of_tasks(&self) -> BTreeMap<u64, Vec<(u64, Vec<u32>)>> {
        let state = self.lock();
        let stages = state.stages.iter().filter_map(|stage| Some((stage.number()?, stage)));
        let tasks = |stage: &Stage| {
            let done = stage.tasks().filter(|task| task.status == TaskStatus::Successful);
            done.map(|task| (task.id, task.partitions.clone())).collect()
        };
        stages.map(|(number, stage)| (number, tasks(stage))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether the executor of a task makes the span of it.
    fn has_own_span(&self, task: &Task, measures: Option<&TaskMeasures>) -> bool {
        // Which executor had a task is not known. Where they differ, only what a task has measured tells.
        let all_do =
            || !self.executors.is_empty() && self.executors.iter().all(|one| one.id.starts_with(EXECUTOR_ID));
        match &task.status {
            TaskStatus::Failed { reason } if reason == "ExecutorLost" => false,
            _ => measures.map_or_else(all_do, |measures| measures.has_own_span),
        }
    }

    fn task(&self, stage: u64, task: &Task) -> ClusterTask {
        let since = |at: u64| {
            let begun = self.queued_at?;
            (at > 0).then_some(at as f64 - begun as f64)
        };
        let measures = self.measures.get(&(stage, task.id)).filter(|_| task.status == TaskStatus::Successful);
        let mut places = task.partitions.iter().filter_map(|partition| self.places.get(&(stage, *partition)));
        let outcome = match &task.status {
            TaskStatus::Running if self.phase.is_over() => Some(ClusterTask::CANCELLED),
            TaskStatus::Running => None,
            TaskStatus::Successful => Some(ClusterTask::COMPLETED),
            TaskStatus::Failed { reason } => Some(match reason.as_str() {
                "ExecutorLost" | "ResultLost" => ClusterTask::LOST,
                "TaskKilled" => ClusterTask::CANCELLED,
                _ => ClusterTask::FAILED,
            }),
        };
        ClusterTask {
            task: task.id,
            worker: places.next().cloned().unwrap_or_default(),
            sent_ms: since(task.launch_time),
            started_ms: since(task.start_exec_time),
            ended_ms: since(task.end_exec_time),
            outcome: outcome.map(str::to_owned),
            rows: (task.status == TaskStatus::Successful).then_some(task.output_rows),
            bytes_received: measures.and_then(|measures| measures.bytes_received),
            compute_ms: measures.map(|measures| measures.compute.as_secs_f64() * 1e3),
            has_own_span: self.has_own_span(task, measures),
        }
    }

    /// A scheduler without its web interface says nothing of tasks: each partition is shown as one.
    fn stages_of_measures(&self) -> Vec<ClusterStage> {
        let mut stages: BTreeMap<u64, Vec<ClusterTask>> = BTreeMap::new();
        for ((stage, task), measures) in &self.measures {
            let place = u32::try_from(*task).ok().and_then(|task| self.places.get(&(*stage, task)));
            stages.entry(*stage).or_default().push(ClusterTask {
                task: *task,
                worker: place.cloned().unwrap_or_default(),
                outcome: Some(ClusterTask::COMPLETED.to_owned()),
                rows: measures.rows,
                bytes_received: measures.bytes_received,
                compute_ms: Some(measures.compute.as_secs_f64() * 1e3),
                has_own_span: measures.has_own_span,
                ..ClusterTask::default()
            });
        }
        let stage = |(stage, tasks)| ClusterStage { stage, tasks, left_out: None };
        stages.into_iter().map(stage).collect()
    }
}

impl RemoteWork for JobWork {
    fn busy(&self) -> Duration {
        self.lock().busy
    }

    fn rows_read(&self) -> Option<u64> {
        let state = self.lock();
        let scans = state.stages.iter().filter(|stage| stage.only_scans());
        Some(scans.flat_map(Stage::tasks).map(|task| task.input_rows).sum())
    }

    fn waits_for(&self) -> Option<String> {
        let state = self.lock();
        let scheduler = &self.scheduler;
        let Some(job) = &state.job_id else {
            return Some(format!("scheduler {scheduler}, which has no job of it yet"));
        };
        if state.phase.is_over() {
            return None;
        }
        if state.is_silent {
            return Some(format!("scheduler {scheduler}, which does not answer, with job {job}"));
        }
        if state.phase != Phase::Running {
            return Some(format!("job {job}, which is in the queue of scheduler {scheduler}"));
        }
        let running = |stage: &Stage| stage.tasks().filter(|task| task.status == TaskStatus::Running).count();
        if let Some(stage) = state.stages.iter().find(|stage| running(stage) > 0) {
            let (running, all) = (running(stage), stage.tasks().count());
            return Some(format!(
                "stage {} of job {job}, of which {running} of {all} tasks run",
                stage.stage_id
            ));
        }
        let is_open = |stage: &&Stage| stage.tasks().all(|task| task.status != TaskStatus::Successful);
        match state.stages.iter().find(is_open) {
            Some(stage) => Some(format!("stage {} of job {job}, which no executor takes", stage.stage_id)),
            None => Some(format!("job {job}")),
        }
    }

    fn so_far(&self) -> ClusterWork {
        let state = self.lock();
        let stages = state.stages.iter().filter_map(|stage| {
            let number = stage.number()?;
            let tasks = stage.tasks().map(|task| state.task(number, task)).collect();
            Some(ClusterStage { stage: number, tasks, left_out: None })
        });
        let mut stages: Vec<ClusterStage> = stages.collect();
        if stages.is_empty() {
            stages = state.stages_of_measures();
        }
        stages.sort_by_key(|stage| stage.stage);
        let known = state.executors.iter().map(|executor| format!("{}:{}", executor.host, executor.port));
        let mut workers: Vec<String> = known.chain(state.places.values().cloned()).collect();
        workers.sort();
        workers.dedup();
        ClusterWork {
            engine: BALLISTA.to_owned(),
            engine_query_id: state.job_id.clone(),
            scheduler: Some(self.scheduler.to_string()),
            on_client: None,
            workers,
            stages,
            metrics_missing: state.metrics_missing,
            ..ClusterWork::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(id: u64, status: TaskStatus) -> Option<Task> {
        let partitions = vec![id as u32 * 2, id as u32 * 2 + 1];
        let times = (1_010, 1_020, 1_050);
        Some(Task {
            id,
            status,
            partitions,
            launch_time: times.0,
            start_exec_time: times.1,
            end_exec_time: times.2,
            input_rows: 9,
            output_rows: 5,
        })
    }

    #[test]
    fn a_job_says_what_it_waits_for() {
        let job = JobWork::begin("s:1".parse().unwrap());
        let waits = |expected: &str| assert_eq!(job.waits_for().as_deref(), Some(expected));
        waits("scheduler s:1, which has no job of it yet");
        job.set_job("j");
        job.set_phase(Phase::Queued, 1_000);
        waits("job j, which is in the queue of scheduler s:1");
        job.set_phase(Phase::Running, 1_000);
        let stage = |id: &str, tasks| Stage { stage_id: id.to_owned(), stage_plan: None, tasks };
        job.set_stages(
            vec![stage("1", vec![task(0, TaskStatus::Successful)]), stage("2", vec![])],
            Duration::ZERO,
        );
        waits("stage 2 of job j, which no executor takes");
        let tasks = vec![task(0, TaskStatus::Running), task(1, TaskStatus::Successful)];
        job.set_stages(vec![stage("2", tasks)], Duration::from_secs(2));
        waits("stage 2 of job j, of which 1 of 2 tasks run");
        assert_eq!(job.busy(), Duration::from_secs(2));
        job.set_silent();
        waits("scheduler s:1, which does not answer, with job j");
        job.set_phase(Phase::Completed, 1_000);
        assert_eq!(job.waits_for(), None);
    }

    #[test]
    fn tasks_have_their_times_since_the_scheduler_took_the_job_and_the_executor_that_has_their_rows() {
        let job = JobWork::begin("s:1".parse().unwrap());
        job.set_job("j");
        job.set_phase(Phase::Running, 1_000);
        let lost = TaskStatus::Failed { reason: "ExecutorLost".to_owned() };
        let tasks = vec![task(0, lost), task(1, TaskStatus::Successful), task(2, TaskStatus::Running)];
        job.set_stages(vec![Stage { stage_id: "3".to_owned(), stage_plan: None, tasks }], Duration::ZERO);
        job.lock().places.insert((3, 3), "e:7".to_owned());
        let compute = Duration::from_millis(4);
        let measures = TaskMeasures { compute, bytes_received: Some(8), ..TaskMeasures::default() };
        job.set_measures([((3, 1), measures)].into());
        let shown = |work: ClusterWork| {
            let tasks = work.stages[0].tasks.iter().map(|task| {
                (
                    task.worker.clone(),
                    task.outcome.clone(),
                    task.sent_ms,
                    task.ended_ms,
                    task.compute_ms,
                    task.rows,
                )
            });
            tasks.collect::<Vec<_>>()
        };
        let times = (Some(10.0), Some(50.0));
        let (lost, done) = (Some(ClusterTask::LOST.to_owned()), Some(ClusterTask::COMPLETED.to_owned()));
        assert_eq!(
            shown(job.so_far()),
            [
                (String::new(), lost, times.0, times.1, None, None),
                ("e:7".to_owned(), done, times.0, times.1, Some(4.0), Some(5)),
                (String::new(), None, times.0, times.1, None, None),
            ]
        );
        assert_eq!(job.so_far().workers, ["e:7"]);
        job.give_up();
        assert_eq!(shown(job.so_far())[2].1.as_deref(), Some(ClusterTask::CANCELLED));
    }

    #[test]
    fn the_spans_of_tasks_are_left_to_executors_that_make_them() {
        let failed = |reason: &str| TaskStatus::Failed { reason: reason.to_owned() };
        let tasks = [
            TaskStatus::Successful,
            TaskStatus::Successful,
            failed("ExecutionError"),
            failed("ExecutorLost"),
            TaskStatus::Running,
        ];
        let left_to_executors = |ids: &[&str], measured: bool| {
            let job = JobWork::begin("s:1".parse().unwrap());
            let executor = |id: &&str| Executor { id: (*id).to_owned(), host: "e".to_owned(), port: 7 };
            job.set_executors(ids.iter().map(executor).collect());
            let tasks = tasks.clone().into_iter().enumerate();
            let tasks = tasks.map(|(id, status)| task(id as u64, status)).collect();
            job.set_stages(vec![Stage { stage_id: "3".to_owned(), stage_plan: None, tasks }], Duration::ZERO);
            if measured {
                let measures = |has_own_span| TaskMeasures { has_own_span, ..TaskMeasures::default() };
                job.set_measures([((3, 0), measures(true)), ((3, 1), measures(false))].into());
            }
            job.so_far().stages[0].tasks.iter().map(|task| task.has_own_span).collect::<Vec<_>>()
        };
        // Without what was measured, it is known where all executors are alike.
        assert_eq!(left_to_executors(&["daglight-a", "daglight-b"], false), [true, true, true, false, true]);
        assert_eq!(left_to_executors(&["daglight-a", "b"], false), [false; 5]);
        assert_eq!(left_to_executors(&[], false), [false; 5]);
        assert_eq!(left_to_executors(&["daglight-a", "b"], true), [true, false, false, false, false]);
    }

    #[test]
    fn without_the_web_interface_a_partition_is_a_task() {
        let job = JobWork::begin("s:1".parse().unwrap());
        let measures = TaskMeasures { rows: Some(7), ..TaskMeasures::default() };
        job.set_measures([((1, 0), measures.clone()), ((1, 1), measures)].into());
        let stages = job.so_far().stages;
        assert_eq!((stages.len(), stages[0].tasks.len(), stages[0].tasks[1].rows), (1, 2, Some(7)));
    }
}
