//! The handle of a run's heartbeat. The work of its thread is in `beating`.

use std::{
    io,
    sync::{Arc, PoisonError},
    thread,
    time::Duration,
};

use daglight_run_bundle::WarningCode;

use crate::{
    beat::Beat,
    beating::{Beating, Shared},
    board::{Kind, Open},
    config::HeartbeatConfig,
    progress::Progress,
};

/// How long stopping waits for a callback that does not return.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

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

/// A task that is running until this is dropped.
#[derive(Debug)]
#[must_use = "the task ends when this is dropped"]
pub struct TaskGuard {
    _open: Open,
}

/// A stage that is open until this is dropped.
#[derive(Debug)]
#[must_use = "the stage ends when this is dropped"]
pub struct StageGuard {
    _open: Open,
}

impl Heartbeat {
    /// Starts the thread. `on_beat` is called on it with every beat, the first one immediately, so that even the shortest run has
    /// one; it is not called any more after the heartbeat was stopped. Panics in it and in `progress` are caught on the thread. The
    /// evidence is written before this returns. If no thread can be started, there are no beats, and [`Heartbeat::problem`] returns
    /// the reason.
    pub fn start(
        config: HeartbeatConfig,
        progress: Arc<dyn Progress>,
        on_beat: Box<dyn Fn(&Beat) + Send>,
    ) -> Self {
        let shared = Arc::new(Shared::default());
        let beating = Beating::new(config, Arc::clone(&shared), progress, on_beat);
        // Before the thread starts, so that the evidence of the process exists from the beginning: a run that is killed at once is
        // known to be dead. If writing fails, so will the first beat, which reports it.
        let _ = beating.write_evidence();
        let started = thread::Builder::new().name("daglight-beat".into()).spawn(move || beating.run());
        let problem = started.err();
        if problem.is_some() {
            shared.control().exited = true;
        }
        Self { shared, problem }
    }

    /// Why there are no beats: the system could not start a thread. `None` if there are.
    pub fn problem(&self) -> Option<&io::Error> {
        self.problem.as_ref()
    }

    /// Declares that a task is running from now until the guard is dropped.
    pub fn task_started(&self, name: impl Into<String>) -> TaskGuard {
        TaskGuard { _open: Open::new(&self.shared.board, Kind::Task, name.into()) }
    }

    /// Declares that a stage is open from now until the guard is dropped. The stage that was entered last is the one shown.
    pub fn stage_started(&self, name: impl Into<String>) -> StageGuard {
        StageGuard { _open: Open::new(&self.shared.board, Kind::Stage, name.into()) }
    }

    /// Stops the heartbeat. Returns when the thread has ended, or after two seconds if a callback blocks it.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        let mut control = self.shared.control();
        control.stop = true;
        self.shared.changed.notify_all();
        // With a timeout instead of joining: the callback writes spans, and may be blocked by a hanging disk.
        let waited = self.shared.changed.wait_timeout_while(control, STOP_TIMEOUT, |control| !control.exited);
        let has_exited = waited.unwrap_or_else(PoisonError::into_inner).0.exited;
        // Without the lock: the program's subscriber may do anything.
        if !has_exited {
            let code = WarningCode::HeartbeatFailed.name();
            tracing::warn!(
                warning.code = code,
                "the heartbeat did not stop in {STOP_TIMEOUT:?}: a callback holds its thread"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Instant};

    use chrono::{DateTime, TimeDelta};
    use daglight_run_bundle::{Liveness, ProcessEvidence, clock};

    use super::*;
    use crate::{
        beat::Rates,
        beating::MIN_INTERVAL,
        process::ProcessFacts,
        progress::{NoProgress, OperatorProgress, QueryProgress, Sample},
        stall::StallAfter,
    };

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
    #[expect(clippy::disallowed_methods, reason = "a beat has the time at which it is taken")]
    fn nothing_beats_after_the_stop() {
        let (heartbeat, beats) = started(config(MIN_INTERVAL), NoProgress);
        assert_eq!((beats.recv().unwrap().sequence, beats.recv().unwrap().sequence), (1, 2));
        heartbeat.stop();
        // The sender lives on the thread: when it is gone, no more beats are possible.
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
            // A beat in progress may have been taken before the change.
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
                    waits_for_worker: None,
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
            ..HeartbeatConfig::default()
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
        assert_eq!(evidence.measured_at(), evidence.seen_at());
        assert_eq!((beats.recv().unwrap().sequence, beats.try_recv()), (1, Err(mpsc::TryRecvError::Empty)));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_the_process_used_before_the_run_is_not_of_the_run() {
        const BEFORE: Duration = Duration::from_millis(100);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("heartbeat.json");
        let used = || Duration::from_secs_f64(ProcessFacts::now().cpu_seconds.unwrap());
        while used() < BEFORE {}
        let before = used();
        let config = HeartbeatConfig { evidence: Some(path.clone()), ..config(HOUR) };
        let (heartbeat, _beats) = started(config, NoProgress);
        heartbeat.stop();
        let seen = ProcessEvidence::read(&path).unwrap().cpu_seconds.unwrap();
        // Other tests of the process compute meanwhile.
        assert!(Duration::from_secs_f64(seen) <= used() - before + Duration::from_micros(1), "{seen} s");
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
