//! The thread that delivers an outbox while its run is going.

use std::{
    collections::BTreeMap,
    error::Error,
    fmt,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use daglight_capture_policy::in_one_line;
use daglight_run_bundle::{
    DeliveryCounts, ItemsByKind, WarningCode, count_items,
    outbox::{DeliveryLock, Outbox, RunLink, Unwritten},
};

use crate::{
    call::new_backoff,
    client::Client,
    connection::Connection,
    deliverer::Deliverer,
    step_outcome::{DeliveryError, Progress},
};

/// How long events wait for others with which they can share a request.
const LINGER: Duration = Duration::from_millis(200);

/// How long dropping a delivery waits for its thread.
const LONGEST_DROP_WAIT: Duration = Duration::from_millis(500);

/// The number of attempts after which a flush gives up on a server that has never responded.
const HOPELESS_ATTEMPTS: u64 = 2;

/// Delivers an [`Outbox`] on its own thread, from the file, while events are appended.
///
/// Starting never waits for the server. While the server is unreachable, it is retried, with a single warning; everything that is
/// not delivered when the process ends waits in the outbox for [`sync_bundle`](crate::sync_bundle).
pub struct Delivery {
    outbox: Outbox,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    delivered: ItemsByKind,
    dropped: BTreeMap<String, u64>,
    unverified_until: Option<DateTime<Utc>>,
    redelivered: u64,
    link: Option<RunLink>,
    on_link: Vec<OnLink>,
    last_error: Option<String>,
    /// Failed attempts since the last success.
    failures: u64,
    answered: bool,
    /// Whether the last attempt timed out.
    hangs: bool,
    stop: bool,
    ended: bool,
    /// The number of requested flushes, and of those for which everything before them was read.
    flushes: u64,
    flushes_served: u64,
}

type OnLink = Box<dyn FnOnce(&RunLink) + Send>;

impl Delivery {
    /// Starts the delivery of `outbox`. It never waits and never fails: problems cause a single warning, and are part of the
    /// [`DeliveryCounts`].
    pub fn start(outbox: &Outbox, connection: Connection) -> Self {
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        let worker = Worker {
            shared: Arc::clone(&shared),
            tracker_dir: outbox.tracker_dir(),
            unwritten: outbox.unwritten(),
            warned: false,
            advice: connection.advice(),
        };
        // Warnings go to the same subscriber as those of the starting thread. A new thread has only the global subscriber, and a
        // program or test may have its own on this thread.
        let dispatch = tracing::dispatcher::get_default(Clone::clone);
        let started = thread::Builder::new()
            .name("daglight-tracker".to_owned())
            .spawn(move || tracing::dispatcher::with_default(&dispatch, || worker.run(&connection)));
        if let Err(error) = started {
            tracing::warn!(warning.code = WarningCode::Undelivered.name(), %error, "the delivery to the tracking server cannot be started");
            let mut state = lock(&shared.state);
            (state.last_error, state.ended) = (Some(error.to_string()), true);
        }
        Self { outbox: outbox.clone(), shared }
    }

    /// The current counts.
    pub fn ledger(&self) -> DeliveryCounts {
        // Read before the outbox, which may block on a hanging disk: every thread that starts a node needs this lock.
        let (delivered, of_server, last_error, unverified_until, redelivered) = {
            let state = lock(&self.shared.state);
            let dropped = state.dropped.clone();
            (state.delivered, dropped, state.last_error.clone(), state.unverified_until, state.redelivered)
        };
        let mut dropped = self.outbox.dropped();
        for (reason, items) in of_server {
            count_items(&mut dropped, &reason, items);
        }
        DeliveryCounts {
            last_error,
            unverified_until,
            redelivered,
            ..DeliveryCounts::by_kind(self.outbox.produced(), delivered, dropped)
        }
    }

    /// Waits until everything that was appended before is delivered, at most for `timeout`. It returns early if waiting is
    /// pointless: the server rejects the delivery, or has never responded.
    pub fn flush(&self, timeout: Duration) -> DeliveryCounts {
        flush(&self.shared, timeout);
        self.outbox.write_or_drop();
        self.ledger()
    }

    /// Like [`Delivery::flush`], in any tokio runtime and without blocking it.
    pub async fn flush_async(&self, timeout: Duration) -> DeliveryCounts {
        let shared = Arc::clone(&self.shared);
        // On a thread for blocking work, because a condition variable on a single-threaded runtime would block its thread, and with
        // it the pipeline. A runtime that shuts down cancels the wait; the counts are correct regardless.
        let _ = tokio::task::spawn_blocking(move || flush(&shared, timeout)).await;
        self.outbox.write_or_drop();
        self.ledger()
    }

    /// The run on the server, once it is known.
    pub fn link(&self) -> Option<RunLink> {
        lock(&self.shared.state).link.clone()
    }

    /// Calls `then` with the run on the server, once it is known: now, or later on the delivery's thread.
    pub fn on_link(&self, then: impl FnOnce(&RunLink) + Send + 'static) {
        let mut state = lock(&self.shared.state);
        match state.link.clone() {
            Some(link) => {
                drop(state);
                then(&link);
            }
            None => state.on_link.push(Box::new(then)),
        }
    }
}

impl Delivery {
    /// Ends the delivery, and waits for its thread, for half a second at most. Everything that is not delivered stays in the
    /// outbox. Dropping the delivery does the same, unless this was already called.
    pub fn stop(&self) {
        let deadline = Instant::now() + LONGEST_DROP_WAIT;
        let mut state = lock(&self.shared.state);
        if std::mem::replace(&mut state.stop, true) {
            return;
        }
        self.shared.changed.notify_all();
        // Half a second instead of the rest of the queue: a program that drops its run wants to continue, and the outbox has
        // everything.
        while !state.ended
            && let Some(left) = deadline.checked_duration_since(Instant::now())
        {
            state = wait(&self.shared, state, left);
        }
        // A thread that is still running does this when it ends.
        if state.ended {
            drop(state);
            self.outbox.write_or_drop();
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery").field("outbox", &self.outbox).field("ledger", &self.ledger()).finish()
    }
}

fn flush(shared: &Shared, timeout: Duration) {
    let deadline = Instant::now().checked_add(timeout);
    let mut state = lock(&shared.state);
    state.flushes += 1;
    // Earlier failures do not count: the server may be available again since.
    let (own, failures_before) = (state.flushes, state.failures);
    shared.changed.notify_all();
    loop {
        // A server that has responded once is waited for until the deadline. One that never did most likely has a wrong address,
        // for which each run would otherwise wait its whole flush time.
        let is_hopeless =
            !state.answered && (state.hangs || state.failures >= failures_before + HOPELESS_ATTEMPTS);
        if state.flushes_served >= own || state.ended || is_hopeless {
            return;
        }
        let left = match deadline {
            Some(deadline) => deadline.saturating_duration_since(Instant::now()),
            None => timeout,
        };
        if left.is_zero() {
            return;
        }
        state = wait(shared, state, left);
    }
}

/// Acquires the lock even if it is poisoned: the state is consistent after each statement.
fn lock(mutex: &Mutex<State>) -> MutexGuard<'_, State> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wait<'a>(shared: &Shared, state: MutexGuard<'a, State>, timeout: Duration) -> MutexGuard<'a, State> {
    shared.changed.wait_timeout(state, timeout).unwrap_or_else(PoisonError::into_inner).0
}

struct Worker {
    shared: Arc<Shared>,
    tracker_dir: PathBuf,
    unwritten: Unwritten,
    warned: bool,
    /// The end of warnings.
    advice: String,
}

impl Worker {
    fn run(mut self, connection: &Connection) {
        let Some(_lock) = self.wait_for_lock() else { return };
        let mut deliverer = match self.open(connection) {
            Ok(deliverer) => deliverer,
            Err(error) => return self.give_up(&*error),
        };
        self.publish(&deliverer);
        let mut backoff = new_backoff();
        loop {
            // Read before the step: a flush that is requested meanwhile may be for an event that the step did not see.
            let flushes = {
                let state = lock(&self.shared.state);
                if state.stop {
                    return;
                }
                state.flushes
            };
            let step = deliverer.step();
            self.publish(&deliverer);
            match step {
                Ok(progress) => {
                    backoff.reset();
                    let all_flushed = self.succeeded(progress, flushes);
                    // Lingering makes batches larger: in a request with 100 nodes, each costs the server about three times as much
                    // as in one with 1,000.
                    if all_flushed && progress != (Progress::Delivered { more: true }) {
                        self.pause(LINGER, flushes);
                    }
                }
                Err(error) if error.is_temporary() => {
                    self.failed(&error, deliverer.cursor().project_id.is_some());
                    self.pause(backoff.next_pause(error.retry_after()), flushes);
                }
                Err(error) => return self.give_up(&deliverer.explained(error)),
            }
        }
    }

    fn wait_for_lock(&mut self) -> Option<DeliveryLock> {
        loop {
            if let Some(lock) = DeliveryLock::acquire(&self.tracker_dir) {
                return Some(lock);
            }
            let mut state = lock(&self.shared.state);
            if state.stop {
                return None;
            }
            // A manual `sync` has the lock, usually for a moment. The run's own delivery continues where that has stopped.
            state.last_error = Some("another process delivers this run".to_owned());
            let flushes = state.flushes;
            drop(state);
            self.pause(LINGER, flushes);
        }
    }

    fn open(&self, connection: &Connection) -> Result<Deliverer, Box<dyn Error>> {
        let deliverer = Deliverer::open(&self.tracker_dir, Client::new(connection)?)?;
        Ok(deliverer.with_unwritten(self.unwritten.clone()))
    }

    /// Publishes the counts and the link.
    fn publish(&self, deliverer: &Deliverer) {
        let cursor = deliverer.cursor();
        let mut state = lock(&self.shared.state);
        state.delivered = cursor.delivered;
        state.dropped.clone_from(&cursor.dropped);
        (state.unverified_until, state.redelivered) = (cursor.unverified_until, cursor.redelivered);
        if state.link != cursor.link
            && let Some(link) = &cursor.link
        {
            state.link = Some(link.clone());
            // Called without the lock: callbacks write tags and attributes of spans, and may ask for the link themselves.
            let callbacks = std::mem::take(&mut state.on_link);
            drop(state);
            callbacks.into_iter().for_each(|callback| callback(link));
        }
    }

    /// Records a successful step, and returns whether the first `flushes` flushes are served.
    fn succeeded(&self, progress: Progress, flushes: u64) -> bool {
        let mut state = lock(&self.shared.state);
        let failed_before = state.failures > 0;
        match progress {
            // Only a step that found nothing more to read has served a flush. A step that delivered something may have left a line
            // behind.
            Progress::UpToDate => state.flushes_served = flushes,
            Progress::Delivered { .. } => {
                (state.answered, state.failures, state.last_error) = (true, 0, None);
            }
        }
        let all_flushed = state.flushes_served == flushes;
        drop(state);
        self.shared.changed.notify_all();
        if failed_before && matches!(progress, Progress::Delivered { .. }) {
            // Without the lock: the program's subscriber may start a span of the run, which asks for the link.
            tracing::info!("the tracking server is back");
        }
        all_flushed
    }

    /// Records a failed attempt. `answered` is whether the server has responded to an earlier request, even if not to all of a
    /// step.
    fn failed(&mut self, error: &DeliveryError, answered: bool) {
        let text = in_one_line(error);
        if self.warned {
            tracing::debug!(error = text, "the tracking server cannot be reached");
        } else {
            tracing::warn!(
                warning.code = WarningCode::Undelivered.name(),
                error = text,
                "the tracking server cannot be reached: this run is kept in its bundle until it can be delivered{}",
                self.advice
            );
            self.warned = true;
        }
        let mut state = lock(&self.shared.state);
        state.failures += 1;
        // A 503 comes from a server, or from a proxy that knows one: it is worth waiting for, unlike a closed port.
        state.answered |= answered || error.is_answer();
        state.hangs = error.timed_out();
        state.last_error = Some(text);
        self.shared.changed.notify_all();
    }

    /// Ends the delivery. Everything that is not delivered stays in the outbox.
    fn give_up(&self, error: &dyn Error) {
        let text = in_one_line(error);
        tracing::warn!(
            warning.code = WarningCode::Undelivered.name(),
            error = text,
            "this run cannot be delivered to the tracking server, and is kept in its bundle{}",
            self.advice
        );
        lock(&self.shared.state).last_error = Some(text);
    }

    /// Waits, unless the delivery should end or a flush newer than `flushes` is requested.
    fn pause(&self, pause: Duration, flushes: u64) {
        let deadline = Instant::now() + pause;
        let mut state = lock(&self.shared.state);
        // A condition variable may wake up spuriously, so the deadline is fixed.
        while !state.stop && state.flushes == flushes {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = wait(&self.shared, state, left);
        }
    }
}

impl Drop for Worker {
    /// Also after a panic, so that nobody waits for a thread that has ended.
    fn drop(&mut self) {
        // First of all: lines that are handed out are neither written nor dropped until they are given back.
        self.unwritten.give_back();
        let mut state = lock(&self.shared.state);
        if state.stop {
            drop(state);
            self.unwritten.write_or_drop();
            state = lock(&self.shared.state);
        }
        state.ended = true;
        if thread::panicking() {
            state.last_error = Some("the delivery stopped unexpectedly".to_owned());
        }
        self.shared.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_reported_once() {
        let inner = std::io::Error::other("disk full");
        let error =
            daglight_run_bundle::outbox::CursorError::Io { path: "delivery.json".into(), source: inner };
        assert_eq!(in_one_line(&error), "cannot use delivery.json: disk full");
    }
}
