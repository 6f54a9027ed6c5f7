//! A session that is observed without a DAG: the run that its queries belong to, and when the next one begins.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use daglight_run_identity::{DagName, RunId};

use crate::{
    open_runs::OpenRuns, options::RunOptions, run::Run, run_error::RecordedError, run_state::RunState,
    shared::Shared,
};

/// A session that is observed without a DAG. Its run starts with its first query.
pub(crate) struct ObservedSession {
    shared: Arc<Shared>,
    open_runs: Arc<OpenRuns<RunState>>,
    dag_name: DagName,
    options: RunOptions,
    /// How long a run takes queries in.
    window: Option<Duration>,
    current: Mutex<Current>,
    closed: Condvar,
}

#[derive(Default)]
struct Current {
    run: Option<Run>,
    is_closed: bool,
}

impl ObservedSession {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        open_runs: &Arc<OpenRuns<RunState>>,
        dag_name: DagName,
        options: RunOptions,
        window: Option<Duration>,
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            open_runs: Arc::clone(open_runs),
            dag_name,
            options,
            window,
            current: Mutex::default(),
            closed: Condvar::new(),
        }
    }

    /// The run that a query belongs to which is executed now. `None` where the session is not observed any more.
    pub(crate) fn run(self: Arc<Self>) -> Option<Arc<RunState>> {
        let mut current = self.lock();
        if current.is_closed {
            return None;
        }
        // Under the lock, so that two queries that come at once start one run.
        let is_new = current.run.is_none();
        let run = current.run.get_or_insert_with(|| self.start(self.options.clone()));
        let (state, run_id) = (Arc::clone(run.state()), run.id());
        drop(current);
        if let Some(window) = self.window.filter(|_| is_new) {
            let session = Arc::clone(&self);
            // Where no thread can be had, the run goes on until the session ends.
            let _ = thread::Builder::new()
                .name("daglight-window".into())
                .spawn(move || session.end_after(run_id, window));
        }
        Some(state)
    }

    /// The run that takes queries in, if one does.
    pub(crate) fn open_run(&self) -> Option<Run> {
        self.lock().run.clone()
    }

    /// Another run beside that of the session.
    pub(crate) fn start(&self, options: RunOptions) -> Run {
        Run::start_observed(&self.shared, &self.open_runs, &self.dag_name, options)
    }

    /// The options of its runs.
    pub(crate) fn options(&self) -> &RunOptions {
        &self.options
    }

    /// Observes no more, and gives back the run that was open.
    pub(crate) fn close(&self) -> Option<Run> {
        let mut current = self.lock();
        current.is_closed = true;
        let run = current.run.take();
        drop(current);
        self.closed.notify_all();
        run
    }

    /// [`ObservedSession::close`], and ends the run, as a failure where the program panics.
    pub(crate) fn end(&self) {
        let Some(run) = self.close() else { return };
        if thread::panicking() {
            run.fail_with(&RecordedError::new("Error", "the program panicked"));
        }
        run.end_later();
    }

    /// Ends a run when its window is over, and the queries that have begun in it are, too. It blocks for that long.
    fn end_after(&self, run_id: RunId, window: Duration) {
        let current = self.lock();
        let waits = |current: &mut Current| !current.is_closed;
        let (mut current, _) =
            self.closed.wait_timeout_while(current, window, waits).unwrap_or_else(PoisonError::into_inner);
        // Where the session has ended, so has the run.
        let run = current.run.take_if(|run| run.id() == run_id);
        drop(current);
        let Some(run) = run else { return };
        // The next run takes in what comes now. A query that lasts longer than that is cut off in the records of this one.
        run.state().core.queries.open.wait_for_none(window);
        run.end_later();
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
