//! The plans of a run's queries, on their way into its bundle: one thread of the run makes and writes the files, so that no
//! query waits for a disk.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, channel, sync_channel},
    },
    thread::{self, Thread},
    time::{Duration, Instant},
};

use daglight_run_bundle::{ClusterWork, WarningCode};

use crate::{
    admitted_plans::AdmittedPlans,
    own_time::Own,
    plan_book::PlanBook,
    plan_messages::{EndedQuery, PlanKey, PlanMessage, StartedQuery},
};

/// What waits for the thread. Beyond that it is left out, and counted.
const MAX_WAITING: usize = 512;
/// How long messages gather before they are taken. A query sends one when it starts and one when it ends, and waking the thread
/// for each takes the processor from those that compute.
const GATHER: Duration = Duration::from_millis(10);
/// How long a changed plan may wait for others to be written with it. A beat writes all that has changed, too.
const WRITE_AFTER: Duration = Duration::from_secs(1);

/// The way of plans into the bundle of a run.
pub(crate) struct PlanFiles {
    thread: Mutex<WriterThread>,
    plans: Arc<AdmittedPlans>,
    left_out: AtomicU64,
}

#[derive(Default)]
enum WriterThread {
    #[default]
    NotStarted,
    Runs {
        messages: SyncSender<PlanMessage>,
        /// It may sleep while messages gather.
        thread: Thread,
        /// Disconnected when the thread has ended.
        ended: Receiver<()>,
    },
    /// It has ended, or it could not be started.
    Over,
}

impl PlanFiles {
    pub(crate) fn new(plans: AdmittedPlans) -> Self {
        Self { thread: Mutex::default(), plans: Arc::new(plans), left_out: AtomicU64::default() }
    }

    /// Which of them have a file.
    pub(crate) fn admitted(&self) -> &AdmittedPlans {
        &self.plans
    }

    pub(crate) fn started(&self, query: StartedQuery) {
        if self.plans.admits(&query.key) {
            self.send(PlanMessage::Started(Box::new(query)));
        }
    }

    pub(crate) fn ended(&self, query: EndedQuery) {
        let with_spans = self.plans.context.settings().otel.operator_spans;
        if with_spans || self.plans.admits(&query.key) {
            self.send(PlanMessage::Ended(Box::new(query)));
        }
    }

    /// The file is the only place where somebody finds the id after the death of this process.
    pub(crate) fn has_remote_id(&self, key: PlanKey) {
        if self.plans.admits(&key) {
            self.send(PlanMessage::HasRemoteId(key));
        }
    }

    /// More is known of the work on other machines of a query that has ended.
    pub(crate) fn remote_work_settled(&self, key: PlanKey, query_id: u64, work: ClusterWork) {
        if self.plans.admits(&key) {
            self.send(PlanMessage::RemoteWorkSettled { key, query_id, work: Box::new(work) });
        }
    }

    /// Brings the files of queries that run up to date, and of those that are `planned` for long.
    pub(crate) fn beat(&self, mut planned: Vec<StartedQuery>) {
        planned.retain(|query| self.plans.admits(&query.key));
        // The first query of a run may be planned for hours.
        if !planned.is_empty() {
            return self.send(PlanMessage::Beat(planned));
        }
        if let WriterThread::Runs { messages, .. } = &*self.thread() {
            // A full queue has older news to be written first.
            let _ = messages.try_send(PlanMessage::Beat(planned));
        }
    }

    /// Waits until everything is written, and takes in nothing from then on. Returns how many messages were left out, or
    /// nothing where the thread takes too long.
    pub(crate) fn stop(&self, limit: Duration) -> Option<u64> {
        // A query that ends later finds this and sends nothing: its plan would come behind the manifest that lists
        // the files.
        let before = std::mem::replace(&mut *self.thread(), WriterThread::Over);
        if let WriterThread::Runs { messages, thread, ended } = before {
            // The thread ends when the last sender is gone, with all that waits written by then.
            drop(messages);
            thread.unpark();
            if ended.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                // The last manifest is about to list the files: none may change behind it.
                self.plans.give_up();
                return None;
            }
        }
        Some(self.left_out.load(Ordering::Relaxed))
    }

    fn send(&self, message: PlanMessage) {
        let mut not_started = None;
        let mut thread = self.thread();
        if matches!(*thread, WriterThread::NotStarted) {
            *thread = start(&self.plans).unwrap_or_else(|error| {
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
            self.plans.log.warn(
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

fn start(plans: &Arc<AdmittedPlans>) -> io::Result<WriterThread> {
    /// A plan may be thousands of operators or expressions deep, and the engine has planned it on the stack of the program's
    /// main thread. Only what is used of it takes memory.
    const STACK_BYTES: usize = 64 << 20;
    let (messages, received) = sync_channel(MAX_WAITING);
    // A thread cannot be joined with a limit; a channel that is dropped when it ends can be waited for.
    let (has_ended, ended) = channel();
    // It holds nothing that sends: the run ends the thread by dropping that.
    let plans = Arc::clone(plans);
    let write = move || {
        write_all(&plans, &received);
        drop(has_ended);
    };
    let started =
        thread::Builder::new().name("daglight-plans".into()).stack_size(STACK_BYTES).spawn(write)?;
    Ok(WriterThread::Runs { messages, thread: started.thread().clone(), ended })
}

/// Until the run ends, or is gone.
fn write_all(plans: &AdmittedPlans, received: &Receiver<PlanMessage>) {
    let mut book = PlanBook::default();
    let mut write_at: Option<Instant> = None;
    loop {
        let write_in = write_at.map(|at| at.saturating_duration_since(Instant::now()));
        let wait = book.first_file_in().into_iter().chain(write_in).min();
        let message = match wait {
            Some(wait) => received.recv_timeout(wait),
            None => received.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        if message.is_ok() {
            // Woken when the run ends.
            thread::park_timeout(wait.map_or(GATHER, |wait| wait.min(GATHER)));
        }
        let _own = plans.own_time.measure(Own::Plans);
        let is_over = matches!(message, Err(RecvTimeoutError::Disconnected));
        // No more than may wait at a time: others keep coming, and what is due must not wait for them.
        for message in message.into_iter().chain(received.try_iter()).take(MAX_WAITING) {
            book.take(plans, message);
        }
        book.write_first_files(plans);
        if is_over {
            book.refresh(plans);
        }
        // Once for many changes: a plan that is executed a thousand times is written a few times and not a thousand.
        if is_over || write_at.is_some_and(|at| at <= Instant::now()) {
            book.write(plans);
            write_at = None;
        } else if write_at.is_none() && book.is_changed() {
            write_at = Some(Instant::now() + WRITE_AFTER);
        }
        if is_over {
            return;
        }
    }
}
