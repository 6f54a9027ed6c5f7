//! What is known of a job: its stages, their tasks, where they ran, and how they ended.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ballista_core::serde::protobuf::PartitionLocation;
use chrono::{DateTime, Utc};
use daglight_plan_diagnostics::RemoteWork;
use daglight_run_bundle::{BALLISTA, ClusterStage, ClusterTask, ClusterWork, LostWorker};

use super::{
    measured::TaskMeasures,
    presence::{Lost, Sign, in_words, now},
    rest::{Executor, Stage, Task, TaskStatus},
    travels::EXECUTOR_ID,
};
use crate::address::WorkerAddress;

/// How long a scheduler may take to answer until it counts as one that does not.
const SLOW: Duration = Duration::from_secs(2);
/// The maximum number of lost executors that a sentence names.
const MAX_NAMED: usize = 3;

/// One execution of a query on a cluster.
pub(super) struct JobWork {
    scheduler: WorkerAddress,
    begun_at: DateTime<Utc>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    job_id: Option<String>,
    phase: Phase,
    /// When the scheduler took the job, in milliseconds since 1970 by its clock.
    queued_at: Option<u64>,
    executors: Vec<Executor>,
    /// Those that it has listed before, since the last look at what is lost.
    gone: Vec<Executor>,
    stages: Vec<Stage>,
    /// What the tasks have measured, by stage and task.
    measures: BTreeMap<(u64, u64), TaskMeasures>,
    /// The executors that have the rows of the job, by partition of its last stage.
    places: BTreeMap<(u64, u32), String>,
    /// When the scheduler has last answered.
    answered_at: Option<DateTime<Utc>>,
    /// Executors that were lost meanwhile, with the message that says so.
    lost: BTreeMap<String, (Lost, LostWorker)>,
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
    /// Nobody wants its rows any more. Whether the scheduler knows that is not known.
    GivenUp,
    /// The scheduler has confirmed that.
    Cancelled,
}

impl Phase {
    const fn is_over(self) -> bool {
        self.is_settled() || matches!(self, Self::GivenUp)
    }

    /// Whether nothing of the job is open at the scheduler.
    const fn is_settled(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

impl JobWork {
    pub(super) fn begin(scheduler: WorkerAddress) -> Arc<Self> {
        Arc::new(Self { scheduler, begun_at: now(), state: Mutex::default() })
    }

    /// The scheduler has taken the query as this job.
    pub(super) fn set_job(&self, job_id: &str) {
        self.lock().job_id = Some(job_id.to_owned());
    }

    /// What the scheduler says of the job; `queued_at` is 0 where it does not say.
    pub(super) fn set_phase(&self, phase: Phase, queued_at: u64) {
        let mut state = self.lock();
        state.phase = phase;
        state.queued_at = Some(queued_at).filter(|at| *at > 0).or(state.queued_at);
    }

    /// The scheduler has answered.
    pub(super) fn answered(&self, now: DateTime<Utc>) {
        self.lock().answered_at = Some(now);
    }

    /// Nobody wants its rows any more, unless it has ended already.
    pub(super) fn give_up(&self) {
        let mut state = self.lock();
        if !state.phase.is_over() {
            state.phase = Phase::GivenUp;
        }
    }

    /// The scheduler has confirmed that nothing of a job goes on that was given up.
    pub(super) fn set_cancelled(&self) {
        let mut state = self.lock();
        if !state.phase.is_settled() {
            state.phase = Phase::Cancelled;
        }
    }

    /// All executors that the scheduler has.
    pub(super) fn set_executors(&self, executors: Vec<Executor>) {
        let mut state = self.lock();
        let is_listed = |known: &Executor| executors.iter().any(|executor| executor.id == known.id);
        let gone: Vec<Executor> = state.executors.iter().filter(|known| !is_listed(known)).cloned().collect();
        state.gone.extend(gone);
        state.executors = executors;
    }

    /// The executors that are lost right now: those that are found to be so, and those that the scheduler has missed itself. Returns those
    /// that were not before, each with a message about it.
    pub(super) fn set_lost(&self, found: Vec<Lost>, now: DateTime<Utc>) -> Vec<(String, String)> {
        let mut state = self.lock();
        if state.phase.is_over() {
            return Vec::new();
        }
        // The scheduler has heard of it once more.
        let is_still = |id: &String| found.iter().any(|lost| lost.id == *id);
        let listed: Vec<String> = state.executors.iter().map(|executor| executor.id.clone()).collect();
        state.lost.retain(|id, _| !listed.contains(id) || is_still(id));
        let unlisted = std::mem::take(&mut state.gone).into_iter().map(|executor| {
            let worker = executor.address();
            Lost { id: executor.id, worker, since: now, sign: Sign::Unlisted }
        });
        let mut messages = Vec::new();
        for lost in found.into_iter().chain(unlisted) {
            if state.lost.contains_key(&lost.id) {
                continue;
            }
            let running = state.running();
            let since_ms = (lost.since - self.begun_at).as_seconds_f64().max(0.0) * 1e3;
            let written = LostWorker {
                worker: lost.worker.clone(),
                since_ms,
                known_by: lost.sign.to_string(),
                stages: running.keys().copied().collect(),
                tasks: running.values().sum(),
            };
            messages.push((lost.worker.clone(), self.message(&lost, &written)));
            state.lost.insert(lost.id.clone(), (lost, written));
        }
        messages
    }

    fn message(&self, lost: &Lost, written: &LostWorker) -> String {
        let stages: Vec<String> = written.stages.iter().map(ToString::to_string).collect();
        let had = match (&stages[..], written.tasks) {
            ([], _) => String::new(),
            ([stage], 1) => format!("; it may have had the running task of stage {stage}"),
            ([stage], tasks) => {
                format!("; it may have had some of the {tasks} running tasks of stage {stage}")
            }
            (_, tasks) => {
                format!(
                    "; it may have had some of the {tasks} running tasks of the stages {}",
                    stages.join(", ")
                )
            }
        };
        let then = match lost.sign {
            Sign::Unlisted => "",
            _ => "; the scheduler repeats its tasks once it misses it too",
        };
        format!(
            "lost the executor {} of the scheduler {}: {}, since {}{had}{then}",
            lost.worker,
            self.scheduler,
            lost.sign,
            in_words(lost.since)
        )
    }

    /// What the scheduler says of the stages; tasks that ran meanwhile have computed for `since`.
    pub(super) fn set_stages(&self, stages: Vec<Stage>, since: Duration) {
        let mut state = self.lock();
        state.stages = stages;
        // The scheduler takes the tasks of an executor that is lost as running until it misses it.
        if !state.running().is_empty() && state.missed().next().is_none() {
            state.busy += since;
        }
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

    /// What it waits for at a moment of now.
    fn waits_for_at(&self, now: DateTime<Utc>) -> Option<String> {
        let state = self.lock();
        let scheduler = &self.scheduler;
        if state.phase.is_over() {
            return None;
        }
        let with_job = state.job_id.as_ref().map(|job| format!(", with job {job}")).unwrap_or_default();
        let answered_at = state.answered_at.unwrap_or(self.begun_at);
        if (now - answered_at).to_std().unwrap_or_default() >= SLOW {
            return Some(format!(
                "scheduler {scheduler}, which has not answered since {}{with_job}",
                in_words(answered_at)
            ));
        }
        let Some(job) = &state.job_id else {
            return Some(format!("scheduler {scheduler}, which has no job of it yet"));
        };
        if state.phase != Phase::Running {
            return Some(format!("job {job}, which is in the queue of scheduler {scheduler}"));
        }
        let running = |stage: &Stage| stage.tasks().filter(|task| task.status == TaskStatus::Running).count();
        if let Some(stage) = state.stages.iter().find(|stage| running(stage) > 0) {
            let (running, all) = (running(stage), stage.tasks().count());
            return Some(format!(
                "stage {} of job {job}, of which {running} of {all} tasks run{}",
                stage.stage_id,
                state.missed_in_words()
            ));
        }
        let is_open = |stage: &&Stage| stage.tasks().all(|task| task.status != TaskStatus::Successful);
        match state.stages.iter().find(is_open) {
            Some(stage) => Some(format!(
                "stage {} of job {job}, which no executor takes{}",
                stage.stage_id,
                state.missed_in_words()
            )),
            None => Some(format!("job {job}{}", state.missed_in_words())),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// How many tasks of each stage run.
    fn running(&self) -> BTreeMap<u64, u64> {
        let of_stages = self.stages.iter().filter_map(|stage| {
            let running = stage.tasks().filter(|task| task.status == TaskStatus::Running).count() as u64;
            stage.number().filter(|_| running > 0).map(|number| (number, running))
        });
        of_stages.collect()
    }

    /// Executors that are lost, of which the scheduler does not know it.
    fn missed(&self) -> impl Iterator<Item = &Lost> {
        let lost = self.lost.values().map(|(lost, _)| lost);
        lost.filter(|lost| self.executors.iter().any(|executor| executor.id == lost.id))
    }

    /// Those in words; empty where there are none.
    fn missed_in_words(&self) -> String {
        let all = self.missed().count();
        let named = self.missed().take(MAX_NAMED).map(|lost| {
            format!("; executor {} is lost: {}, since {}", lost.worker, lost.sign, in_words(lost.since))
        });
        let more = all.checked_sub(MAX_NAMED).filter(|more| *more > 0);
        named.chain(more.map(|more| format!("; {more} more are lost"))).collect()
    }

    /// Whether all executors report their tasks.
    fn all_report(&self) -> bool {
        !self.executors.is_empty() && self.executors.iter().all(|one| one.id.starts_with(EXECUTOR_ID))
    }

    /// Whether the executor of a task makes the span of it.
    fn has_own_span(&self, task: &Task, measures: Option<&TaskMeasures>) -> bool {
        // Which executor had a task is not known. Where they differ, only what a task has measured tells.
        let all_do = || self.all_report();
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
            TaskStatus::Running if self.phase.is_settled() => Some(ClusterTask::CANCELLED),
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
        let scans = state.stages.iter().filter(|stage| stage.only_scans()).flat_map(Stage::tasks);
        // The others have read something too, and nobody knows how much.
        let ended = scans.filter(|task| task.status == TaskStatus::Successful);
        ended.map(|task| task.input_rows).reduce(u64::saturating_add)
    }

    fn waits_for(&self) -> Option<String> {
        self.waits_for_at(now())
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
        let known = state.executors.iter().map(Executor::address);
        let lost = state.lost.values().map(|(lost, _)| lost.worker.clone());
        let mut workers: Vec<String> = known.chain(state.places.values().cloned()).chain(lost).collect();
        workers.sort();
        workers.dedup();
        ClusterWork {
            engine: BALLISTA.to_owned(),
            engine_query_id: state.job_id.clone(),
            scheduler: Some(self.scheduler.to_string()),
            job_open: !state.phase.is_settled(),
            on_client: None,
            workers,
            stages,
            storage_unknown: Some(
                if state.all_report() {
                    ClusterWork::STORAGE_ON_SPANS
                } else {
                    ClusterWork::STORAGE_UNCOUNTED
                }
                .to_owned(),
            ),
            lost_workers: state.lost.values().map(|(_, written)| written.clone()).collect(),
            metrics_missing: state.metrics_missing,
            ..ClusterWork::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

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
        let begun = job.begun_at;
        let now = || begun + TimeDelta::seconds(1);
        let waits = |expected: &str| assert_eq!(job.waits_for_at(now()).as_deref(), Some(expected));
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
        let answered_at = begun + TimeDelta::seconds(1);
        job.answered(answered_at);
        let silent =
            format!("scheduler s:1, which has not answered since {}, with job j", in_words(answered_at));
        assert_eq!(job.waits_for_at(begun + TimeDelta::seconds(4)), Some(silent));
        job.set_phase(Phase::Completed, 1_000);
        assert_eq!(job.waits_for_at(now()), None);
    }

    #[test]
    fn a_scheduler_that_does_not_take_the_query_is_named_with_the_time_of_its_last_answer() {
        let job = JobWork::begin("s:1".parse().unwrap());
        let later = job.begun_at + TimeDelta::seconds(3);
        let silent = format!("scheduler s:1, which has not answered since {}", in_words(job.begun_at));
        assert_eq!(job.waits_for_at(later), Some(silent));
        job.answered(later);
        let waits = job.waits_for_at(later);
        assert_eq!(waits.as_deref(), Some("scheduler s:1, which has no job of it yet"));
    }

    fn executor(id: &str, port: u16) -> Executor {
        Executor { id: id.to_owned(), host: "e".to_owned(), port, last_seen: Some(1) }
    }

    #[test]
    fn an_executor_that_is_lost_is_named_once_with_what_it_may_have_had() {
        let job = JobWork::begin("s:1".parse().unwrap());
        job.set_job("j");
        job.set_phase(Phase::Running, 1_000);
        job.set_executors(vec![executor("a", 7), executor("b", 8)]);
        let now = job.begun_at;
        assert_eq!(job.set_lost(Vec::new(), now), []);
        let running = |tasks: u64| {
            let tasks = (0..tasks).map(|id| task(id, TaskStatus::Running)).collect();
            vec![Stage { stage_id: "2".to_owned(), stage_plan: None, tasks }]
        };
        job.set_stages(running(2), Duration::from_secs(2));
        let since = now + TimeDelta::milliseconds(1_500);
        let lost = Lost { id: "a".to_owned(), worker: "e:7".to_owned(), since, sign: Sign::Refuses };
        let said = job.set_lost(vec![lost.clone()], since);
        let [(worker, message)] = &said[..] else { panic!("{said:?}") };
        let expected = format!(
            "lost the executor e:7 of the scheduler s:1: it refuses connections, since {}; it may have had some of the 2 running tasks \
             of stage 2; the scheduler repeats its tasks once it misses it too",
            in_words(since)
        );
        assert_eq!((&**worker, message), ("e:7", &expected));
        assert_eq!(job.set_lost(vec![lost.clone()], since), []);
        let of_file = LostWorker {
            worker: "e:7".to_owned(),
            since_ms: 1_500.0,
            known_by: "it refuses connections".to_owned(),
            stages: vec![2],
            tasks: 2,
        };
        assert_eq!(job.so_far().lost_workers, std::slice::from_ref(&of_file));
        // Nobody knows whether the tasks that are said to run do.
        job.set_stages(running(1), Duration::from_secs(2));
        assert_eq!(job.busy(), Duration::from_secs(2));
        let waits = job.waits_for_at(since).unwrap();
        let expected = format!(
            "1 of 1 tasks run; executor e:7 is lost: it refuses connections, since {}",
            in_words(since)
        );
        assert!(waits.ends_with(&expected), "{waits}");

        // The scheduler has missed it, and gives its tasks to the other one.
        job.set_executors(vec![executor("b", 8)]);
        assert_eq!(job.set_lost(Vec::new(), since), []);
        job.set_stages(running(1), Duration::from_secs(2));
        assert_eq!(job.busy(), Duration::from_secs(4));
        assert!(!job.waits_for_at(since).unwrap().contains("e:7"));
        let work = job.so_far();
        assert_eq!(
            (work.lost_workers, work.workers),
            (vec![of_file], vec!["e:7".to_owned(), "e:8".to_owned()])
        );
    }

    #[test]
    fn an_executor_that_the_scheduler_no_longer_lists_is_lost_and_one_that_is_heard_of_again_is_not() {
        let job = JobWork::begin("s:1".parse().unwrap());
        job.set_executors(vec![executor("a", 7), executor("b", 8)]);
        let now = job.begun_at;
        let lost = Lost { id: "b".to_owned(), worker: "e:8".to_owned(), since: now, sign: Sign::Unheard };
        assert_eq!(job.set_lost(vec![lost], now).len(), 1);
        job.set_executors(vec![executor("b", 8)]);
        let said = job.set_lost(Vec::new(), now);
        assert!(
            said.len() == 1
                && said[0].1.contains("e:7 of the scheduler s:1: the scheduler no longer lists it"),
            "{said:?}"
        );
        let lost: Vec<String> = job.so_far().lost_workers.into_iter().map(|lost| lost.worker).collect();
        assert_eq!(lost, ["e:7"]);
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
        assert_eq!((shown(job.so_far())[2].1.as_deref(), job.so_far().job_open), (None, true));
        job.set_cancelled();
        let outcome = shown(job.so_far())[2].1.clone();
        assert_eq!((outcome.as_deref(), job.so_far().job_open), (Some(ClusterTask::CANCELLED), false));
    }

    #[test]
    fn rows_that_were_read_are_known_of_tasks_that_have_ended() {
        let job = JobWork::begin("s:1".parse().unwrap());
        let scan = |tasks| Stage {
            stage_id: "1".to_owned(),
            stage_plan: Some("ShuffleWriterExec\n  DataSourceExec".to_owned()),
            tasks,
        };
        assert_eq!(job.rows_read(), None);
        job.set_stages(vec![scan(vec![task(0, TaskStatus::Running)])], Duration::ZERO);
        assert_eq!(job.rows_read(), None);
        let tasks = vec![task(0, TaskStatus::Running), task(1, TaskStatus::Successful)];
        job.set_stages(vec![scan(tasks)], Duration::ZERO);
        assert_eq!(job.rows_read(), Some(9));
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
            let executor =
                |id: &&str| Executor { id: (*id).to_owned(), host: "e".to_owned(), port: 7, last_seen: None };
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
