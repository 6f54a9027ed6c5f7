//! Delivering what the file of a bundle holds, beside the run or after it.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use daglight_capture_policy::in_one_line;
use daglight_http_transport::Backoff;
use daglight_run_bundle::{
    LineageCursor, LineageEvents, LineageProgress, LineageReader, outbox::DeliveryLock,
};
use daglight_run_identity::RunId;

use crate::{
    sending::Sender,
    target::Target,
    wave::{Sent, Waves},
};

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How long a delivery waits before it looks again whether another process still delivers the same events.
const LOCKED_PAUSE: Duration = Duration::from_millis(200);

/// Events between two records of the progress: so many are sent again at most after a kill, and those on their way.
const SAVED_EVERY: u64 = 50;

/// Why the rest of the events waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// All that the file holds is done.
    Done,
    /// Whoever decides about it does not wait any longer, after this error.
    GivenUp(Option<String>),
    /// Nothing can be sent as things are.
    Never(String),
}

/// Sends the events of a bundle's folder from where `progress` is. `pause` waits so long after a failure, and says whether to go
/// on; `limit` is how long a request may take; `done` sees the progress after each event.
pub(crate) fn deliver(
    bundle_dir: &Path,
    sender: &Sender,
    run_id: Option<RunId>,
    progress: &mut LineageProgress,
    limit: impl Fn() -> Option<Duration> + Sync,
    mut pause: impl FnMut(Duration, &str) -> bool,
    mut done: impl FnMut(&LineageProgress) + Send,
) -> io::Result<Stopped> {
    let Some(reader) = LineageReader::open(bundle_dir, progress.offset)? else {
        return Ok(Stopped::Done);
    };
    let mut waves = Waves::new(reader, run_id);
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    let most = sender.most_at_once();
    let mut at_once = most;
    loop {
        let mut wave = waves.next(most > 1)?;
        if wave.is_empty() {
            return Ok(Stopped::Done);
        }
        // After a failure one event tries whether the others have a chance.
        let mut tries = false;
        loop {
            let before = wave.done();
            let sent = wave.send(sender, if tries { 1 } else { at_once }, &limit, progress, &mut done);
            if wave.done() > before {
                backoff.reset();
            }
            match sent {
                Sent::Done if wave.is_done() => break,
                Sent::Done => tries = false,
                Sent::OutOfTime => return Ok(Stopped::GivenUp(None)),
                Sent::Never { error } => return Ok(Stopped::Never(error)),
                Sent::Later { error, after } => {
                    if !pause(backoff.next_pause(after), &error) {
                        return Ok(Stopped::GivenUp(Some(error)));
                    }
                    // Many requests at once may be what it fails by.
                    (tries, at_once) = (true, (at_once / 2).max(1));
                }
            }
        }
        at_once = most.min(at_once + 1);
    }
}

/// A thread that delivers the events of a run while it goes on.
#[derive(Debug)]
pub(crate) struct Delivery(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Events that are in the file.
    written: u64,
    /// Events of them that are done.
    done: u64,
    /// Events of these that the file of the progress has: only they are not sent again.
    saved: u64,
    progress: LineageProgress,
    last_error: Option<String>,
    /// Nothing more is sent in this run.
    has_given_up: bool,
    stops: bool,
    /// When the wait for it ends.
    deadline: Option<Instant>,
}

impl Delivery {
    /// Starts the thread.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(bundle_dir: &Path, events: Arc<LineageEvents>, target: Target) -> io::Result<Self> {
        let progress = LineageProgress { destination: target.name(), ..LineageProgress::default() };
        let shared = Arc::new(Shared {
            state: Mutex::new(State { progress, ..State::default() }),
            changed: Condvar::new(),
        });
        let (of_thread, bundle_dir) = (Arc::clone(&shared), bundle_dir.to_owned());
        let run = move || of_thread.run(bundle_dir, &events, &target);
        thread::Builder::new().name("daglight-lineage".into()).spawn(run)?;
        Ok(Self(shared))
    }

    /// One more event is in the file.
    pub(crate) fn written(&self) {
        self.0.change(|state| state.written += 1);
    }

    /// Waits until all is done and recorded as such, nothing more will be, or the time is over.
    pub(crate) fn flush(&self, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        self.0.change(|state| state.deadline = Some(deadline));
        let mut state = self.0.lock();
        while state.saved < state.written && !state.has_given_up {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.0.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Ends the thread, after the request that is under way. What is not delivered stays in the file.
    pub(crate) fn stop(&self) {
        self.0.change(|state| state.stops = true);
    }

    /// How far it is, and the last error while something waits.
    pub(crate) fn progress(&self) -> (LineageProgress, Option<String>) {
        let state = self.0.lock();
        let waits = state.done < state.written;
        (state.progress.clone(), state.last_error.clone().filter(|_| waits))
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn run(&self, bundle_dir: PathBuf, events: &LineageEvents, target: &Target) {
        // Another process may synchronise the bundle at this moment.
        let lock = loop {
            match DeliveryLock::of_lineage(&bundle_dir) {
                Some(lock) => break lock,
                None if self.pauses(LOCKED_PAUSE) => {}
                None => return,
            }
        };
        let outcome = self.deliver_all(&bundle_dir, events, target);
        // Before anybody is told: who waits for the end may deliver the rest at once.
        drop(lock);
        if let Err(error) = outcome {
            self.give_up(error);
        }
    }

    fn deliver_all(&self, bundle_dir: &Path, events: &LineageEvents, target: &Target) -> Result<(), String> {
        let mut cursor = LineageCursor::load(bundle_dir).map_err(|error| in_one_line(&error))?;
        let mut progress = cursor.towards(&target.name());
        let sender = Sender::new(target).map_err(|error| in_one_line(&error))?;
        let mut unsaved = 0;
        let mut save = |progress: &LineageProgress| {
            cursor.set(progress.clone());
            cursor.unwritten = events.lost();
            // Best effort: what is not recorded as delivered is sent again, which does no harm.
            let _ = cursor.save(bundle_dir);
            self.change(|state| state.saved = state.done);
        };
        while self.waits_for_events() {
            let stopped = deliver(
                bundle_dir,
                &sender,
                // What it has just written is its own.
                None,
                &mut progress,
                || self.request_limit(),
                |pause, error| {
                    self.change(|state| state.last_error = Some(error.to_owned()));
                    self.pauses(pause)
                },
                |progress| {
                    self.change(|state| {
                        state.done += 1;
                        state.progress = progress.clone();
                    });
                    unsaved += 1;
                    if unsaved >= SAVED_EVERY {
                        unsaved = 0;
                        save(progress);
                    }
                },
            );
            save(&progress);
            match stopped.map_err(|error| error.to_string())? {
                Stopped::Done => {}
                Stopped::Never(error) => return Err(error),
                Stopped::GivenUp(_) => return Ok(()),
            }
        }
        save(&progress);
        Ok(())
    }

    /// Whether there is something to do, or will be. Waits for it.
    fn waits_for_events(&self) -> bool {
        let mut state = self.lock();
        while state.done >= state.written && !state.stops {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        !state.stops
    }

    /// How long a request may take that begins now. `None`: nobody waits for it any more.
    fn request_limit(&self) -> Option<Duration> {
        let state = self.lock();
        let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
        match state.deadline.map(left) {
            _ if state.stops => None,
            None => Some(Duration::MAX),
            Some(left) => (!left.is_zero()).then_some(left),
        }
    }

    /// Waits so long, or until the delivery is to stop. Whether it goes on.
    fn pauses(&self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        let mut state = self.lock();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if state.stops || left.is_zero() {
                return !state.stops;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn give_up(&self, error: String) {
        self.change(|state| {
            state.last_error = Some(error);
            state.has_given_up = true;
        });
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
