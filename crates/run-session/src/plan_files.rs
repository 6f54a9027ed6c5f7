//! The plans of a run's queries, on their way into its bundle: one thread of the run makes and writes the files, so that no
//! query waits for a disk.

use std::{
    collections::{HashMap, HashSet},
    io,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, channel, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use daglight_capture_policy::Captured;
use daglight_plan_diagnostics::{PlannedQuery, QueryOutcome, QueryReport};
use daglight_run_bundle::WarningCode;
use daglight_settings::KeptPlans;
use opentelemetry::Context;

use crate::{
    own_time::Own, plan_book::PlanBook, preview::Preview, previous_plans::PreviousPlans, run_state::RunState,
    storage::Storage,
};

/// Different plans of a node that are kept, and as many of the queries without a node.
const MAX_PLANS: usize = 120;
/// What waits for the thread. Beyond that it is left out, and counted.
const MAX_WAITING: usize = 512;
/// How long a changed plan may wait for others to be written with it.
const WRITE_AFTER: Duration = Duration::from_millis(100);

/// A plan of a run: two executions with the same one have one file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PlanKey {
    /// `None` for a query of the run itself.
    pub(crate) node: Option<String>,
    pub(crate) plan_hash: String,
}

/// A query that starts.
pub(crate) struct StartedQuery {
    pub(crate) key: PlanKey,
    pub(crate) query: Arc<PlannedQuery>,
    /// The SQL of its node, as it may be shown.
    pub(crate) sql: Option<Captured>,
    /// How long its text was parsed, where a front end has said so.
    pub(crate) parsing: Option<Duration>,
}

/// A query that has ended.
pub(crate) struct EndedQuery {
    pub(crate) key: PlanKey,
    pub(crate) report: QueryReport,
    /// The context of its span, for the spans of its operators.
    pub(crate) span: Option<Context>,
    /// Its first rows, where the policy shows some.
    pub(crate) preview: Option<Arc<Preview>>,
    /// What it has asked of object stores.
    pub(crate) storage: Storage,
}

/// What the thread for plans receives about queries.
pub(crate) enum PlanMessage {
    Started(Box<StartedQuery>),
    Ended(Box<EndedQuery>),
    /// The heart beats: what runs is brought up to date.
    Beat,
}

/// The way of plans into the bundle of a run.
#[derive(Default)]
pub(crate) struct PlanFiles {
    thread: Mutex<WriterThread>,
    /// The plans that have a file, or may get one.
    admitted: Mutex<HashMap<Option<String>, HashSet<String>>>,
    /// The plans of the last run of the DAG, once they are read.
    pub(crate) previous: OnceLock<PreviousPlans>,
    left_out: AtomicU64,
    /// Whether a plan could not be written.
    pub(crate) has_failed: AtomicBool,
    /// Whether the run ends without what was not written in time.
    is_given_up: AtomicBool,
}

#[derive(Default)]
enum WriterThread {
    #[default]
    NotStarted,
    Runs {
        messages: SyncSender<PlanMessage>,
        /// Disconnected when the thread has ended.
        ended: Receiver<()>,
    },
    /// It has ended, or it could not be started.
    Over,
}

impl PlanFiles {
    pub(crate) fn started(&self, run: &Arc<RunState>, query: StartedQuery) {
        if self.admits(run, &query.key) {
            self.send(run, PlanMessage::Started(Box::new(query)));
        }
    }

    pub(crate) fn ended(&self, run: &Arc<RunState>, query: EndedQuery) {
        let with_spans = run.context.telemetry.settings().otel.operator_spans;
        if with_spans || self.admits(run, &query.key) {
            self.send(run, PlanMessage::Ended(Box::new(query)));
        }
    }

    /// Brings the files of queries that run up to date.
    pub(crate) fn beat(&self) {
        if let WriterThread::Runs { messages, .. } = &*self.thread() {
            // A full queue has older news to be written first.
            let _ = messages.try_send(PlanMessage::Beat);
        }
    }

    /// The file of a plan whose query has ended, below the bundle, where it is kept.
    pub(crate) fn file_of(&self, run: &RunState, key: &PlanKey, report: &QueryReport) -> Option<String> {
        let bundle = run.context.bundle.as_ref()?;
        if !self.keeps(run, key, report) || !self.admits(run, key) {
            return None;
        }
        let path = bundle.plan_file(key.node.as_deref(), &key.plan_hash);
        Some(path.strip_prefix(bundle.dir()).ok()?.to_string_lossy().into_owned())
    }

    /// Whether the plan of a query that has ended is kept.
    pub(crate) fn keeps(&self, run: &RunState, key: &PlanKey, report: &QueryReport) -> bool {
        let settings = &run.context.telemetry.settings().plans;
        let did_not_complete = report.outcome != QueryOutcome::Completed;
        let is_slow = || report.wall_time + report.query.planning.total() > settings.slow_limit();
        let has_changed = || self.previous.get().is_some_and(|previous| previous.has_changed(key));
        match settings.keep {
            KeptPlans::All => true,
            KeptPlans::Slow => did_not_complete || is_slow() || has_changed(),
            KeptPlans::Changed => did_not_complete || has_changed(),
            KeptPlans::None => false,
        }
    }

    /// Waits until everything is written, and takes in nothing from then on. Returns how many messages were left out, or
    /// nothing where the thread takes too long.
    pub(crate) fn stop(&self, limit: Duration) -> Option<u64> {
        // A query that ends later finds this and sends nothing: its plan would come behind the manifest that lists
        // the files.
        let before = std::mem::replace(&mut *self.thread(), WriterThread::Over);
        if let WriterThread::Runs { messages, ended } = before {
            // The thread ends when the last sender is gone, with all that waits written by then.
            drop(messages);
            if ended.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                // The last manifest is about to list the files: none may change behind it.
                self.is_given_up.store(true, Ordering::Release);
                return None;
            }
        }
        Some(self.left_out.load(Ordering::Relaxed))
    }

    /// Whether files of plans may still be written and removed.
    pub(crate) fn may_write(&self) -> bool {
        !self.is_given_up.load(Ordering::Acquire)
    }

    /// Makes the room of a plan free that is not kept: a node of many quick queries must not take it from one that lasts.
    pub(crate) fn release(&self, key: &PlanKey) {
        let mut admitted = self.admitted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_node) = admitted.get_mut(&key.node) {
            of_node.remove(&key.plan_hash);
        }
    }

    /// Whether there is room for the plan.
    fn admits(&self, run: &RunState, key: &PlanKey) -> bool {
        let is_kept = run.context.telemetry.settings().plans.keep != KeptPlans::None;
        if !is_kept || run.context.bundle.is_none() {
            return false;
        }
        // Decided here and not on the thread: the name of the file stands on the query's span, which cannot wait for
        // that thread.
        let mut admitted = self.admitted.lock().unwrap_or_else(PoisonError::into_inner);
        if admitted.get(&key.node).is_some_and(|of_node| of_node.contains(&key.plan_hash)) {
            return true;
        }
        let of_node = admitted.entry(key.node.clone()).or_default();
        of_node.len() < MAX_PLANS && of_node.insert(key.plan_hash.clone())
    }

    fn send(&self, run: &Arc<RunState>, message: PlanMessage) {
        let mut not_started = None;
        let mut thread = self.thread();
        if matches!(*thread, WriterThread::NotStarted) {
            *thread = start(run).unwrap_or_else(|error| {
                not_started = Some(error);
                WriterThread::Over
            });
        }
        // Sent with the lock held, so that a start and an end of one query keep their order.
        let sent = match &*thread {
            // Never a send that waits: this is the thread of the query, and a disk that hangs would hang the
            // pipeline.
            WriterThread::Runs { messages, .. } => messages.try_send(message),
            WriterThread::NotStarted | WriterThread::Over => Ok(()),
        };
        drop(thread);
        // Without the lock: the program's subscriber may execute a query, which comes here.
        if let Some(error) = not_started {
            run.log.warn(
                WarningCode::PlansNotWritten,
                format!("no plans of queries are recorded: their thread cannot be started: {error}"),
            );
        }
        if let Err(TrySendError::Full(_)) = sent {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn thread(&self) -> MutexGuard<'_, WriterThread> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn start(run: &Arc<RunState>) -> io::Result<WriterThread> {
    /// A plan may be thousands of operators or expressions deep, and the engine has planned it on the stack of the program's
    /// main thread. Only what is used of it takes memory.
    const STACK_BYTES: usize = 64 << 20;
    let (messages, received) = sync_channel(MAX_WAITING);
    // A thread cannot be joined with a limit; a channel that is dropped when it ends can be waited for.
    let (has_ended, ended) = channel();
    let of_run = Arc::downgrade(run);
    let write = move || {
        write_all(&of_run, &received);
        drop(has_ended);
    };
    thread::Builder::new().name("daglight-plans".into()).stack_size(STACK_BYTES).spawn(write)?;
    Ok(WriterThread::Runs { messages, ended })
}

/// Until the run ends, or is gone.
fn write_all(run: &Weak<RunState>, received: &Receiver<PlanMessage>) {
    let mut book = PlanBook::default();
    let mut written_at = Instant::now();
    loop {
        let first_file_in = book.first_file_in();
        let message = match first_file_in {
            Some(wait) => received.recv_timeout(wait),
            None if book.is_changed() => received.recv_timeout(WRITE_AFTER),
            None => received.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        // Taken for each message and not for the life of the thread: the run ends the thread by dropping what it
        // holds, which it never would if the thread held the run.
        let Some(run) = run.upgrade() else { return };
        let _own = run.own_time.measure(Own::Plans);
        let is_over = matches!(message, Err(RecvTimeoutError::Disconnected));
        let is_idle = first_file_in.is_none() && matches!(message, Err(RecvTimeoutError::Timeout));
        if let Ok(message) = message {
            book.take(&run, message);
        }
        book.write_first_files(&run);
        if is_over {
            book.refresh(&run);
        }
        // Once for many changes: a plan that is executed a thousand times is written a few times and not a thousand.
        // In a steady stream of messages the queue never idles, hence the limit.
        if is_over || is_idle || written_at.elapsed() > 10 * WRITE_AFTER {
            book.write(&run);
            written_at = Instant::now();
        }
        if is_over {
            return;
        }
    }
}
