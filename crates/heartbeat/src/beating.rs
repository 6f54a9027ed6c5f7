//! The thread of the heartbeat.

#![expect(
    clippy::disallowed_methods,
    reason = "a beat has the time at which it is taken; stalls are judged by the time of the beat"
)]

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use daglight_run_bundle::{ProcessEvidence, Stall, Warning, WarningCode, WriteError, clock};

use crate::{
    beat::{Beat, Rates},
    board::Board,
    config::HeartbeatConfig,
    open_stalls::{OpenStalls, StallChanges},
    process::{self, ProcessFacts, ProcessWatch},
    progress::{Moved, NodeProgress, Progress, QueryProgress, Sample, StatementProgress},
    stacks::StackSampler,
    stall::StallDetector,
};

/// The minimum interval, so that a wrong setting does not occupy a core.
pub(crate) const MIN_INTERVAL: Duration = Duration::from_millis(10);

/// Between two beats the evidence is updated more often while the run is young, so that it is known how long a process ran that was
/// killed early: after this share of its age,
const SIGN_SHARE: u32 = 4;
/// but at most this often.
const MIN_SIGN_PAUSE: Duration = Duration::from_millis(100);

/// The maximum time between two beats that counts towards stalls, or twice the interval if that is more.
const MOST_SEEN: Duration = Duration::from_secs(1);

/// The maximum interval: no run is that long.
const MAX_INTERVAL: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What the thread owns.
pub(crate) struct Beating {
    shared: Arc<Shared>,
    interval: Duration,
    progress: Arc<dyn Progress>,
    on_beat: Box<dyn Fn(&Beat) + Send>,
    started: Instant,
    sequence: u64,
    stalls: StallDetector,
    open_stalls: OpenStalls,
    stacks: StackSampler,
    process: ProcessWatch,
    /// What the process had used when the run began.
    process_before: ProcessFacts,
    /// What had been moved at the last beat, and the time of that.
    moved: Option<(Instant, Moved)>,
    /// The time of the last beat, by both clocks.
    last_taken: Option<(Instant, DateTime<Utc>)>,
    evidence: ProcessEvidence,
    /// The path of the evidence, if it is written.
    evidence_path: Option<PathBuf>,
    warned: Warned,
}

/// The warnings that were already given, so that each is given once.
#[derive(Default)]
struct Warned {
    progress: bool,
    callback: bool,
}

impl Beating {
    pub(crate) fn new(
        config: HeartbeatConfig,
        shared: Arc<Shared>,
        progress: Arc<dyn Progress>,
        on_beat: Box<dyn Fn(&Beat) + Send>,
    ) -> Self {
        let interval = config.interval.clamp(MIN_INTERVAL, MAX_INTERVAL);
        let mut evidence = ProcessEvidence::for_self(clock::utc_now(), interval.as_secs_f64());
        evidence.signed_at = Some(Utc::now());
        let mut process = ProcessWatch::new();
        let process_before = process.facts();
        Self {
            shared,
            interval,
            progress,
            on_beat,
            started: Instant::now(),
            sequence: 0,
            stalls: StallDetector::new(config.stall_after),
            open_stalls: OpenStalls::default(),
            stacks: StackSampler::new(config.stacks),
            process,
            process_before,
            moved: None,
            last_taken: None,
            evidence,
            evidence_path: config.evidence,
            warned: Warned::default(),
        }
    }

    pub(crate) fn run(mut self) {
        let _exit = Exit(Arc::clone(&self.shared));
        let mut next = self.started + self.interval;
        // Before checking for the stop: a run that ends at once has a beat, too.
        self.beat();
        loop {
            let now = Instant::now();
            // Less often as the run grows older: most processes that are killed are killed early, and a long run must not write a
            // file ten times a second.
            let sign = now + (now.duration_since(self.started) / SIGN_SHARE).max(MIN_SIGN_PAUSE);
            if self.stopped_before(sign.min(next)) {
                break;
            }
            let late_seconds = Instant::now().saturating_duration_since(sign.min(next)).as_secs_f64();
            self.evidence.late_seconds =
                Some(self.evidence.late_seconds.unwrap_or_default().max(late_seconds));
            if sign < next {
                self.sign_of_life();
                continue;
            }
            self.beat();
            // Missed beats are not made up for.
            next = (next + self.interval).max(Instant::now());
        }
        self.record_stop(clock::utc_now());
        // Nobody is listening any more, and a run that ends normally needs no evidence.
        let _ = self.write_evidence();
    }

    /// Between two beats, records that the process is alive, and what it is doing.
    fn sign_of_life(&mut self) {
        let (stage, active_tasks) = self.shared.board.state();
        let (now, process) = (clock::utc_now(), self.process.facts());
        // A process that runs out of memory may not live until the next beat.
        self.record_resources(now, process);
        self.evidence.last_seen_at = Some(now);
        self.evidence.signed_at = Some(Utc::now());
        self.evidence.stage = stage;
        self.evidence.active_tasks = active_tasks;
        // If this fails, so will the next beat, which reports it.
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
        beat.stall_changes = self.record(&mut beat);
        // Before the callback, which may panic or be slow.
        beat.evidence_error = self.write_evidence();
        // Only this thread can tell a stalled run from a dead one, so it must survive a panic in the callback.
        let called = catch_unwind(AssertUnwindSafe(|| (self.on_beat)(&beat)));
        if called.is_err() && !std::mem::replace(&mut self.warned.callback, true) {
            let code = WarningCode::Panicked.name();
            tracing::warn!(warning.code = code, "the receiver of the heartbeat panicked; the beat goes on");
        }
    }

    fn take(&mut self, now: DateTime<Utc>) -> Beat {
        // It asks operators for their metrics, including custom ones of the program.
        let sampled = catch_unwind(AssertUnwindSafe(|| self.progress.sample()));
        if sampled.is_err() && !std::mem::replace(&mut self.warned.progress, true) {
            let code = WarningCode::Panicked.name();
            tracing::warn!(warning.code = code, "the progress of queries is unknown: asking for it panicked");
        }
        let sample = sampled.unwrap_or_default();
        let used = self.process.facts();
        let unseen = self.unseen_until(now);
        let polled = sample.all_polls().filter_map(|poll| poll.thread).collect();
        let threads = process::threads(&polled);
        let stalls = self.stalls.observe_with(now, unseen, &sample, &threads, used.cpu_seconds);
        let is_moving = is_moving(&sample, &stalls);
        let (stage, active_tasks) = self.shared.board.state();
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

    /// The part of the time since the last beat that was not observed: the machine was suspended, its clock was changed, or the
    /// thread got no processor time.
    fn unseen_until(&mut self, now: DateTime<Utc>) -> TimeDelta {
        let taken = Instant::now();
        let Some((before, at)) = self.last_taken.replace((taken, now)) else { return TimeDelta::zero() };
        let most = (2 * self.interval).max(MOST_SEEN);
        (now - at) - TimeDelta::from_std((taken - before).min(most)).unwrap_or_default()
    }

    /// Records a beat in the evidence, and returns which stalls began or ended with it. A stall keeps its class until another one
    /// is certain.
    fn record(&mut self, beat: &mut Beat) -> StallChanges {
        let evidence = &mut self.evidence;
        // The longest pause is kept, because it later shows that the machine was suspended or the process stopped.
        let gap_seconds = (beat.at - evidence.last_beat_at).as_seconds_f64();
        evidence.longest_gap_seconds = evidence.longest_gap_seconds.max(gap_seconds);
        evidence.last_beat_at = beat.at;
        evidence.last_seen_at = Some(beat.at);
        evidence.signed_at = Some(Utc::now());
        evidence.beats = beat.sequence;
        evidence.stage.clone_from(&beat.stage);
        evidence.active_tasks.clone_from(&beat.active_tasks);
        self.record_resources(beat.at, beat.process);
        self.stacks.begin_beat();
        let sample = |stall: &mut Stall| self.stacks.sample(&mut stall.threads);
        self.open_stalls.record(&mut self.evidence.stalls, beat.at, &mut beat.stalls, sample)
    }

    /// The normal end. Nothing is running any more, and the resources are those of the whole run.
    fn record_stop(&mut self, now: DateTime<Utc>) {
        self.evidence.stopped_at = Some(now);
        self.evidence.stage = None;
        self.evidence.active_tasks.clear();
        let process = self.process.facts();
        self.record_resources(now, process);
        self.open_stalls.record(&mut self.evidence.stalls, now, &mut [], |_| {});
    }

    fn record_resources(&mut self, at: DateTime<Utc>, process: ProcessFacts) {
        // A service has had runs before this one.
        let process = process.since(&self.process_before);
        self.evidence.measured_at = Some(at);
        self.evidence.io = process.io;
        self.evidence.cpu_seconds = process.cpu_seconds;
        self.evidence.idle_share = self.process.idle_share();
        self.evidence.peak_resident_bytes = self.evidence.peak_resident_bytes.max(process.resident_bytes);
    }

    /// Writes the evidence, and returns the reason if that failed.
    pub(crate) fn write_evidence(&self) -> Option<Warning> {
        let path = self.evidence_path.as_ref()?;
        let error = self.evidence.write(path).err()?;
        let code = WarningCode::of_error(&error, WarningCode::BundleIncomplete);
        let cause = match error {
            WriteError::Io { source, .. } => source.to_string(),
            error => error.to_string(),
        };
        Some(Warning::new(code, format!("cannot write the heartbeat to {}: {cause}", path.display())))
    }
}

/// The state shared by the handle and the thread.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    control: Mutex<Control>,
    pub(crate) changed: Condvar,
    pub(crate) board: Arc<Board>,
}

#[derive(Debug, Default)]
pub(crate) struct Control {
    /// Whether the thread should end.
    pub(crate) stop: bool,
    /// Whether it has ended.
    pub(crate) exited: bool,
}

impl Shared {
    pub(crate) fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether something is running that is not stalled, or nothing is running at all.
fn is_moving(sample: &Sample, stalls: &[Stall]) -> bool {
    let stands = |query: &QueryProgress| stalls.iter().any(|stall| stall.query_id == query.query_id);
    let waits = |node: &NodeProgress| stalls.iter().any(|stall| stall.node.as_ref() == Some(&node.name));
    let rests = |statement: &StatementProgress| {
        stalls.iter().any(|stall| stall.statement.as_ref() == Some(&statement.name))
    };
    stalls.is_empty()
        || sample.queries.iter().any(|query| !stands(query))
        || sample.running.iter().any(|node| !waits(node))
        || (!sample.has_query_without_node() && sample.statements.iter().any(|statement| !rests(statement)))
}

/// Notifies the code that stops the heartbeat when its thread ends, for any reason.
struct Exit(Arc<Shared>);

impl Drop for Exit {
    fn drop(&mut self) {
        self.0.control().exited = true;
        self.0.changed.notify_all();
    }
}
