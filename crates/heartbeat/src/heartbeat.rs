//! The thread that beats.

#![expect(
    clippy::disallowed_methods,
    reason = "a beat has the time at which it is taken; stalls are judged by the time of the beat"
)]

use std::{
    collections::BTreeMap,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use daglight_run_bundle::{ActiveTask, ProcessEvidence, Stall, WriteError, clock};

use crate::{
    beat::{Beat, Rates},
    open_stalls::{OpenStalls, StallChanges},
    process::{self, ProcessFacts, ProcessWatch},
    progress::{Moved, NodeProgress, Progress, QueryProgress, Sample},
    stall::{StallAfter, StallDetector},
};

/// How long stopping waits for a callback that does not return.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// The shortest interval, so that a wrong setting does not take a core.
const MIN_INTERVAL: Duration = Duration::from_millis(10);

/// Between two beats the evidence is kept up to date more often while the run is young, so that of a process that is
/// killed early it is known how long it ran: after this part of its age,
const SIGN_SHARE: u32 = 4;
/// but not more often than this.
const MIN_SIGN_PAUSE: Duration = Duration::from_millis(100);

/// Between two beats so much time counts for what stands still, or twice the interval where that is more.
const MOST_SEEN: Duration = Duration::from_secs(1);

/// The longest interval: no run is that long.
const MAX_INTERVAL: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// How a heartbeat beats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartbeatConfig {
    /// The time between two beats; from 10 ms to a year.
    pub interval: Duration,
    /// The times without progress after which a query or a node counts as stalled.
    pub stall_after: StallAfter,
    /// Where to keep the evidence that this process lives; nowhere if `None`.
    pub evidence: Option<PathBuf>,
}

impl Default for HeartbeatConfig {
    fn default() -> Self {
        Self { interval: Duration::from_secs(5), stall_after: StallAfter::default(), evidence: None }
    }
}

/// The beat of a run. Stopping or dropping it ends its thread at once.
///
/// ```
/// use std::sync::Arc;
/// use daglight_heartbeat::{Heartbeat, HeartbeatConfig, NoProgress};
///
/// let heartbeat = Heartbeat::start(HeartbeatConfig::default(), Arc::new(NoProgress), Box::new(|_| {}));
/// let task = heartbeat.task_started("orders");
/// drop(task);
/// heartbeat.stop();
/// ```
#[derive(Debug)]
pub struct Heartbeat {
    shared: Arc<Shared>,
    problem: Option<io::Error>,
}

/// A task that runs until this is dropped.
#[derive(Debug)]
#[must_use = "the task ends when this is dropped"]
pub struct TaskGuard {
    _open: Open,
}

/// A stage that lasts until this is dropped.
#[derive(Debug)]
#[must_use = "the stage ends when this is dropped"]
pub struct StageGuard {
    _open: Open,
}

impl Heartbeat {
    /// Starts the thread. `on_beat` is called on it with every beat, the first one at once, so that a run of any length has
    /// one; it is not called any more once the heartbeat was stopped. Neither its panics nor those of `progress` leave the
    /// thread. The evidence is written before this returns. Where no thread can be started, nothing beats, and
    /// [`Heartbeat::problem`] says why.
    pub fn start(
        config: HeartbeatConfig,
        progress: Arc<dyn Progress>,
        on_beat: Box<dyn Fn(&Beat) + Send>,
    ) -> Self {
        let shared = Arc::new(Shared::default());
        let beating = Beating::new(config, Arc::clone(&shared), progress, on_beat);
        // What goes wrong here goes wrong at the first beat, which reports it.
        // Before the thread starts, so that the evidence of the process is there from the first moment on: a run
        // that is killed at once is known to be dead.
        let _ = beating.write_evidence();
        let started = thread::Builder::new().name("daglight-beat".into()).spawn(move || beating.run());
        let problem = started.err();
        shared.control().exited = problem.is_some();
        Self { shared, problem }
    }

    /// Why nothing beats: the system gave no thread. `None` where it beats.
    pub fn problem(&self) -> Option<&io::Error> {
        self.problem.as_ref()
    }

    /// Says that a task runs from now until the guard is dropped.
    pub fn task_started(&self, name: impl Into<String>) -> TaskGuard {
        TaskGuard { _open: Open::new(&self.shared, Kind::Task, name.into()) }
    }

    /// Says that a stage lasts from now until the guard is dropped. The stage entered last is the one shown.
    pub fn stage_started(&self, name: impl Into<String>) -> StageGuard {
        StageGuard { _open: Open::new(&self.shared, Kind::Stage, name.into()) }
    }

    /// Stops the beat. Returns when the thread has ended, or after two seconds when a callback holds it.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        let mut control = self.shared.control();
        control.stop = true;
        self.shared.changed.notify_all();
        // With a limit and not by joining: the callback writes spans, and may be held by a disk that hangs.
        let waited = self.shared.changed.wait_timeout_while(control, STOP_TIMEOUT, |control| !control.exited);
        let (control, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if !control.exited {
            tracing::warn!("the heartbeat did not stop in {STOP_TIMEOUT:?}: a callback holds its thread");
        }
    }
}

#[derive(Debug, Default)]
struct Shared {
    control: Mutex<Control>,
    changed: Condvar,
    board: Mutex<Board>,
}

#[derive(Debug, Default)]
struct Control {
    stop: bool,
    exited: bool,
}

/// What is open, in the order of its start.
#[derive(Debug, Default)]
struct Board {
    next: u64,
    open: BTreeMap<u64, (Kind, ActiveTask)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Task,
    Stage,
}

impl Shared {
    fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Board {
    /// The stage that is shown, and the tasks that run.
    fn state(&self) -> (Option<String>, Vec<ActiveTask>) {
        let stage = self.active(Kind::Stage).next_back().map(|stage| stage.name.clone());
        (stage, self.active(Kind::Task).cloned().collect())
    }

    fn active(&self, kind: Kind) -> impl DoubleEndedIterator<Item = &ActiveTask> {
        self.open.values().filter(move |(of, _)| *of == kind).map(|(_, task)| task)
    }
}

#[derive(Debug)]
struct Open {
    shared: Arc<Shared>,
    id: u64,
}

impl Open {
    fn new(shared: &Arc<Shared>, kind: Kind, name: String) -> Self {
        let mut board = shared.board();
        let id = board.next;
        board.next += 1;
        board.open.insert(id, (kind, ActiveTask { name, since: clock::utc_now() }));
        Self { shared: Arc::clone(shared), id }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shared.board().open.remove(&self.id);
    }
}

/// What the thread owns.
struct Beating {
    shared: Arc<Shared>,
    interval: Duration,
    progress: Arc<dyn Progress>,
    on_beat: Box<dyn Fn(&Beat) + Send>,
    started: Instant,
    sequence: u64,
    stalls: StallDetector,
    open_stalls: OpenStalls,
    process: ProcessWatch,
    /// What had moved at the last beat, and when that was.
    moved: Option<(Instant, Moved)>,
    /// When the last beat was taken, by both clocks.
    last_taken: Option<(Instant, DateTime<Utc>)>,
    evidence: ProcessEvidence,
    /// Where the evidence is kept, if anywhere.
    evidence_path: Option<PathBuf>,
    warned: Warned,
}

/// What has been said, so that it is said once.
#[derive(Default)]
struct Warned {
    progress: bool,
    callback: bool,
}

impl Beating {
    fn new(
        config: HeartbeatConfig,
        shared: Arc<Shared>,
        progress: Arc<dyn Progress>,
        on_beat: Box<dyn Fn(&Beat) + Send>,
    ) -> Self {
        let interval = config.interval.clamp(MIN_INTERVAL, MAX_INTERVAL);
        Self {
            shared,
            interval,
            progress,
            on_beat,
            started: Instant::now(),
            sequence: 0,
            stalls: StallDetector::new(config.stall_after),
            open_stalls: OpenStalls::default(),
            process: ProcessWatch::new(),
            moved: None,
            last_taken: None,
            evidence: ProcessEvidence::for_self(Utc::now(), interval.as_secs_f64()),
            evidence_path: config.evidence,
            warned: Warned::default(),
        }
    }

    fn run(mut self) {
        let _exit = Exit(Arc::clone(&self.shared));
        let mut next = self.started + self.interval;
        // Before anything asks for the stop: a run that ends at once has a beat too.
        self.beat();
        loop {
            let now = Instant::now();
            // Rarer as the run grows older: most processes that are killed are killed early, and a long run must not
            // write a file ten times a second.
            let sign = now + (now.duration_since(self.started) / SIGN_SHARE).max(MIN_SIGN_PAUSE);
            if self.stopped_before(sign.min(next)) {
                break;
            }
            if sign < next {
                self.sign_of_life();
                continue;
            }
            self.beat();
            // Beats that were missed are not made up for.
            next = (next + self.interval).max(Instant::now());
        }
        self.record_stop(clock::utc_now());
        // Nobody listens any more, and a run that ends well needs no evidence.
        let _ = self.write_evidence();
    }

    /// Says between two beats that the process lives, and what it does.
    fn sign_of_life(&mut self) {
        let (stage, active_tasks) = self.shared.board().state();
        self.evidence.last_seen_at = Some(Utc::now());
        self.evidence.stage = stage;
        self.evidence.active_tasks = active_tasks;
        // What goes wrong here goes wrong at the next beat too, which reports it.
        let _ = self.write_evidence();
    }

    fn stopped_before(&self, moment: Instant) -> bool {
        let rest = moment.saturating_duration_since(Instant::now());
        let waited =
            self.shared.changed.wait_timeout_while(self.shared.control(), rest, |control| !control.stop);
        waited.unwrap_or_else(PoisonError::into_inner).0.stop
    }

    fn beat(&mut self) {
        self.sequence += 1;
        let mut beat = self.take(clock::utc_now());
        beat.stall_changes = self.record(&beat);
        // In front of the callback, which may panic or take its time.
        beat.evidence_error = self.write_evidence();
        // Only this thread distinguishes a stalled run from a dead one, so it outlives what others do on it.
        let called = catch_unwind(AssertUnwindSafe(|| (self.on_beat)(&beat)));
        if called.is_err() && !std::mem::replace(&mut self.warned.callback, true) {
            tracing::warn!("the receiver of the heartbeat panicked; the beat goes on");
        }
    }

    fn take(&mut self, now: DateTime<Utc>) -> Beat {
        // It asks operators for their metrics, among them those of the program.
        let sampled = catch_unwind(AssertUnwindSafe(|| self.progress.sample()));
        if sampled.is_err() && !std::mem::replace(&mut self.warned.progress, true) {
            tracing::warn!("the progress of queries is unknown: asking for it panicked");
        }
        let sample = sampled.unwrap_or_default();
        let used = self.process.facts();
        let unseen = self.unseen_until(now);
        let stalls = self.stalls.observe_with(now, unseen, &sample, &process::threads(), used.cpu_seconds);
        let is_moving = is_moving(&sample, &stalls);
        let (stage, active_tasks) = self.shared.board().state();
        let taken = Instant::now();
        let before = self.moved.replace((taken, sample.moved));
        let rates = before.and_then(|(at, before)| Rates::between(&before, &sample.moved, taken - at));
        Beat {
            sequence: self.sequence,
            at: now,
            uptime_seconds: self.started.elapsed().as_secs_f64(),
            stage,
            active_tasks,
            nodes: sample.nodes,
            moved: sample.moved,
            rates,
            memory: sample.memory,
            runtime: sample.runtime,
            process: used,
            stalls,
            is_moving,
            stall_changes: StallChanges::default(),
            evidence_error: None,
        }
    }

    /// What of the time since the last beat nobody can answer for: the machine slept, its clock was set, or it had no time for
    /// beats.
    fn unseen_until(&mut self, now: DateTime<Utc>) -> TimeDelta {
        let taken = Instant::now();
        let Some((before, at)) = self.last_taken.replace((taken, now)) else { return TimeDelta::zero() };
        let most = (2 * self.interval).max(MOST_SEEN);
        (now - at) - TimeDelta::from_std((taken - before).min(most)).unwrap_or_default()
    }

    /// Takes a beat into the evidence, and returns which stalls began or ended with it.
    fn record(&mut self, beat: &Beat) -> StallChanges {
        let evidence = &mut self.evidence;
        // The longest pause is kept, because it is how a machine that slept or a process that was stopped shows
        // afterwards.
        let gap_seconds = (beat.at - evidence.last_beat_at).as_seconds_f64();
        evidence.longest_gap_seconds = evidence.longest_gap_seconds.max(gap_seconds);
        evidence.last_beat_at = beat.at;
        evidence.last_seen_at = Some(beat.at);
        evidence.beats = beat.sequence;
        evidence.stage.clone_from(&beat.stage);
        evidence.active_tasks.clone_from(&beat.active_tasks);
        self.record_resources(beat.process);
        self.open_stalls.record(&mut self.evidence.stalls, beat.at, &beat.stalls)
    }

    /// The end in good order. Nothing runs any more, and the resources are those of the whole run.
    fn record_stop(&mut self, now: DateTime<Utc>) {
        self.evidence.stopped_at = Some(now);
        self.evidence.stage = None;
        self.evidence.active_tasks.clear();
        let process = self.process.facts();
        self.record_resources(process);
        self.open_stalls.record(&mut self.evidence.stalls, now, &[]);
    }

    fn record_resources(&mut self, process: ProcessFacts) {
        self.evidence.io = process.io;
        self.evidence.cpu_seconds = process.cpu_seconds;
        self.evidence.peak_resident_bytes = self.evidence.peak_resident_bytes.max(process.resident_bytes);
    }

    /// Why that did not work.
    fn write_evidence(&self) -> Option<String> {
        let path = self.evidence_path.as_ref()?;
        let cause = match self.evidence.write(path).err()? {
            WriteError::Io { source, .. } => source.to_string(),
            error => error.to_string(),
        };
        Some(format!("cannot write the heartbeat to {}: {cause}", path.display()))
    }
}

/// Whether something runs that is not among the stalls, or nothing runs at all.
fn is_moving(sample: &Sample, stalls: &[Stall]) -> bool {
    let stands = |query: &QueryProgress| stalls.iter().any(|stall| stall.query_id == query.query_id);
    let waits = |node: &NodeProgress| stalls.iter().any(|stall| stall.node.as_ref() == Some(&node.name));
    stalls.is_empty()
        || sample.queries.iter().any(|query| !stands(query))
        || sample.running.iter().any(|node| !waits(node))
}

/// Notifies whoever stops the heartbeat that its thread has ended, in whatever way.
struct Exit(Arc<Shared>);

impl Drop for Exit {
    fn drop(&mut self) {
        self.0.control().exited = true;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use daglight_run_bundle::Liveness;

    use crate::progress::{NoProgress, OperatorProgress};

    const HOUR: Duration = Duration::from_secs(3600);

    fn config(interval: Duration) -> HeartbeatConfig {
        HeartbeatConfig { interval, ..HeartbeatConfig::default() }
    }

    fn started(
        config: HeartbeatConfig,
        progress: impl Progress + 'static,
    ) -> (Heartbeat, mpsc::Receiver<Beat>) {
        let (sender, receiver) = mpsc::channel();
        let on_beat = Box::new(move |beat: &Beat| drop(sender.send(beat.clone())));
        (Heartbeat::start(config, Arc::new(progress), on_beat), receiver)
    }

    #[test]
    fn the_first_beat_comes_at_once_and_stopping_does_not_wait_for_the_next() {
        for interval in [HOUR, Duration::MAX] {
            let (heartbeat, beats) = started(config(interval), NoProgress);
            heartbeat.stop();
            assert_eq!(beats.recv().unwrap().sequence, 1);
            assert_eq!(beats.recv(), Err(mpsc::RecvError));
        }
    }

    #[test]
    fn nothing_beats_after_the_stop() {
        let (heartbeat, beats) = started(config(MIN_INTERVAL), NoProgress);
        assert_eq!((beats.recv().unwrap().sequence, beats.recv().unwrap().sequence), (1, 2));
        heartbeat.stop();
        // The sender lives on the thread: when it is gone, nothing is left that could beat.
        let stopped = clock::utc_now();
        assert!(beats.iter().all(|beat| beat.at <= stopped));
    }

    #[test]
    fn a_beat_shows_what_is_open() {
        let (heartbeat, beats) = started(config(MIN_INTERVAL), NoProgress);
        let orders = heartbeat.task_started("orders");
        let lines = heartbeat.task_started("lines");
        let _outer = heartbeat.stage_started("write");
        let inner = heartbeat.stage_started("register");
        let next = |tasks: &[&str], stage: &str| {
            // The beat in flight may have been taken before the change.
            let matches = |beat: &Beat| {
                let names: Vec<_> = beat.active_tasks.iter().map(|task| task.name.as_str()).collect();
                names == tasks && beat.stage.as_deref() == Some(stage)
            };
            (0..100).any(|_| matches(&beats.recv().unwrap()))
        };
        assert!(next(&["orders", "lines"], "register"));
        drop((orders, inner));
        assert!(next(&["lines"], "write"));
        drop(lines);
        assert!(next(&[], "write"));
    }

    #[test]
    fn beats_are_counted_and_know_the_process() {
        let (_heartbeat, beats) = started(config(Duration::ZERO), NoProgress);
        let (first, second) = (beats.recv().unwrap(), beats.recv().unwrap());
        assert_eq!((first.sequence, second.sequence), (1, 2));
        assert!(first.at <= second.at && first.uptime_seconds < second.uptime_seconds);
        assert_eq!(
            first.process.resident_bytes.is_some(),
            cfg!(any(target_os = "linux", target_os = "macos"))
        );
        assert_eq!((first.rates, second.rates), (None, Some(Rates::default())));
    }

    #[test]
    fn panics_stay_inside() {
        struct Panics;
        impl Progress for Panics {
            fn sample(&self) -> Sample {
                panic!("no progress");
            }
        }
        let (sender, beats) = mpsc::channel();
        let on_beat = Box::new(move |beat: &Beat| {
            sender.send(beat.sequence).unwrap();
            panic!("no receiver");
        });
        let heartbeat = Heartbeat::start(config(MIN_INTERVAL), Arc::new(Panics), on_beat);
        assert_eq!((beats.recv(), beats.recv()), (Ok(1), Ok(2)));
        heartbeat.stop();
    }

    #[test]
    fn a_query_without_progress_is_a_stall() {
        struct Stuck;
        impl Progress for Stuck {
            fn sample(&self) -> Sample {
                let scan = OperatorProgress {
                    name: "DataSourceExec".into(),
                    detail: "orders.parquet".into(),
                    parent: None,
                    rows: Some(0),
                    bytes: 0,
                    elapsed_compute: Duration::ZERO,
                    finished: Some(false),
                    is_waiting: None,
                };
                let query = QueryProgress {
                    query_id: "q1".into(),
                    node: Some("orders".into()),
                    started: DateTime::UNIX_EPOCH,
                    rows_output: 0,
                    operators: vec![scan],
                    is_asked: true,
                    polls: Vec::new(),
                    busy: Duration::ZERO,
                };
                Sample { queries: vec![query], ..Sample::default() }
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("heartbeat.json");
        let config = HeartbeatConfig {
            interval: MIN_INTERVAL,
            stall_after: StallAfter { idle: MIN_INTERVAL, ..StallAfter::default() },
            evidence: Some(path.clone()),
        };
        let (heartbeat, beats) = started(config, Stuck);
        let stall = beats.iter().find_map(|beat| beat.stalls.into_iter().next()).unwrap();
        assert_eq!(
            (stall.node.as_deref(), stall.operator.as_deref()),
            (Some("orders"), Some("DataSourceExec"))
        );
        heartbeat.stop();
        let log = ProcessEvidence::read(&path).unwrap().stalls;
        assert_eq!((log.count, log.episodes[0].ended.is_some()), (1, true));
    }

    #[test]
    fn a_process_that_is_killed_between_two_beats_leaves_what_it_did() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("heartbeat.json");
        let config = HeartbeatConfig { evidence: Some(path.clone()), ..config(HOUR) };
        let (heartbeat, beats) = started(config, NoProgress);
        let _task = heartbeat.task_started("orders");
        let begun = Instant::now();
        let evidence = loop {
            let evidence = ProcessEvidence::read(&path).unwrap();
            if evidence.seen_at() > evidence.started_at + TimeDelta::milliseconds(300) {
                break evidence;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{evidence:?}");
            thread::sleep(Duration::from_millis(10));
        };
        assert_eq!(evidence.beats, 1);
        assert_eq!(evidence.active_tasks[0].name, "orders");
        assert_eq!((beats.recv().unwrap().sequence, beats.try_recv()), (1, Err(mpsc::TryRecvError::Empty)));
    }

    #[test]
    fn evidence_is_there_from_the_start_to_the_stop() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("heartbeat.json");
        let config = HeartbeatConfig { evidence: Some(path.clone()), ..config(HOUR) };
        let (heartbeat, _beats) = started(config, NoProgress);
        let evidence = ProcessEvidence::read(&path).unwrap();
        assert_eq!(evidence.stopped_at, None);
        assert_ne!(evidence.is_alive(), Liveness::Gone);
        heartbeat.stop();
        assert!(ProcessEvidence::read(&path).unwrap().stopped_at.is_some());
    }

    #[test]
    fn a_beat_is_read_back_from_json() {
        let (heartbeat, beats) = started(config(MIN_INTERVAL), NoProgress);
        let _task = heartbeat.task_started("orders");
        let beat = beats.iter().find(|beat| !beat.active_tasks.is_empty()).unwrap();
        let text = serde_json::to_string(&beat).unwrap();
        assert_eq!(serde_json::from_str::<Beat>(&text).unwrap(), beat);
    }
}
