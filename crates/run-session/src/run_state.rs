//! The state of a run that its nodes and queries share.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use daglight_capture_policy::without_credentials;
use daglight_heartbeat::{Heartbeat, StageGuard, TaskGuard};
use daglight_plan_diagnostics::Polls;
use daglight_run_bundle::Reserve;
use opentelemetry::Context;

use crate::{
    beats::LastBeat,
    end_progress::EndProgress,
    finish::{FinishReport, finish, report_so_far},
    frames::Frames,
    interrupt::Interruption,
    moved::MovedSoFar,
    node_run::OpenNode,
    node_scope::NodeScope,
    open_statements::OpenStatements,
    own_time::OwnClock,
    plan_files::PlanFiles,
    query_owner::{QueryOwner, QueryOwners},
    run_context::RunContext,
    run_log::RunLog,
    runtime_watch::RuntimeWatch,
    signals,
    stalls::RunStalls,
};

/// A run that goes on: what it is, what has happened in it, and what is open at this moment.
pub(crate) struct RunState {
    pub(crate) context: RunContext,
    pub(crate) log: RunLog,
    pub(crate) owners: QueryOwners,
    pub(crate) frames: Frames,
    pub(crate) open_queries: OpenQueries,
    /// Nodes whose code has ended, and whose queries go on.
    pub(crate) awaited: Mutex<Vec<Arc<NodeScope>>>,
    pub(crate) ended: AtomicBool,
    pub(crate) heartbeat: Mutex<Option<Heartbeat>>,
    pub(crate) last_beat: LastBeat,
    /// What its queries have moved.
    pub(crate) moved: MovedSoFar,
    pub(crate) runtime: RuntimeWatch,
    /// Those of tasks that belong to the run and to none of its nodes.
    pub(crate) polls: Polls,
    /// What it says of its stalls.
    pub(crate) stalls: RunStalls,
    pub(crate) plans: PlanFiles,
    /// Disk space that is kept for the last manifest.
    pub(crate) reserve: Mutex<Option<Reserve>>,
    pub(crate) own_time: OwnClock,
    /// The nodes that run, in the order in which they started.
    pub(crate) open_nodes: Mutex<Vec<Weak<OpenNode>>>,
    pub(crate) open_statements: OpenStatements,
    pub(crate) interruption: OnceLock<Interruption>,
    /// Whether the manifest says how the run ended. Held while that is written.
    pub(crate) end_is_recorded: Mutex<bool>,
    pub(crate) end: EndProgress,
    pub(crate) report: OnceLock<FinishReport>,
}

/// The number of queries of a run that have started and not ended.
#[derive(Default)]
pub(crate) struct OpenQueries {
    count: Mutex<usize>,
    changed: Condvar,
}

impl OpenQueries {
    fn change(&self, change: impl FnOnce(&mut usize)) {
        change(&mut self.count.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    fn wait_for_none(&self, limit: Duration) {
        let count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that take longer are left to themselves.
        let _ = self.changed.wait_timeout_while(count, limit, |count| *count > 0);
    }
}

impl RunState {
    pub(crate) fn new(context: RunContext, bundle_has_failed: Arc<AtomicBool>) -> Self {
        Self {
            log: RunLog::new(context.policy.clone(), bundle_has_failed),
            context,
            owners: QueryOwners::default(),
            frames: Frames::default(),
            open_queries: OpenQueries::default(),
            awaited: Mutex::default(),
            ended: AtomicBool::default(),
            heartbeat: Mutex::default(),
            last_beat: LastBeat::default(),
            moved: MovedSoFar::default(),
            runtime: RuntimeWatch::default(),
            polls: Polls::default(),
            stalls: RunStalls::default(),
            plans: PlanFiles::default(),
            reserve: Mutex::default(),
            own_time: OwnClock::default(),
            open_nodes: Mutex::default(),
            open_statements: OpenStatements::default(),
            interruption: OnceLock::new(),
            end_is_recorded: Mutex::default(),
            end: EndProgress::default(),
            report: OnceLock::new(),
        }
    }

    /// The run's tags, as far as they are known by now.
    pub(crate) fn tags(&self) -> BTreeMap<String, String> {
        let mut tags = self.context.tags.clone();
        tags.extend(self.log.records().late_tags.clone());
        tags
    }

    /// Whether the manifest says how the run ended.
    pub(crate) fn end_is_recorded(&self) -> MutexGuard<'_, bool> {
        self.end_is_recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn reserve(&self) -> MutexGuard<'_, Option<Reserve>> {
        self.reserve.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The OpenTelemetry context of the run, for code that is in none of its nodes.
    pub(crate) fn otel_context(self: &Arc<Self>) -> Context {
        QueryOwner::Run(Arc::clone(self)).in_context(&self.context.root.context)
    }

    pub(crate) fn query_started(&self) {
        self.open_queries.change(|count| *count += 1);
    }

    pub(crate) fn query_ended(&self) {
        self.open_queries.change(|count| *count = count.saturating_sub(1));
    }

    /// Notes a node whose code has ended before its queries. False where the run is over: nobody would end the node later.
    #[must_use]
    pub(crate) fn await_node(&self, node: &Arc<NodeScope>) -> bool {
        let mut awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        // The end of the run is marked before it takes the nodes from here.
        if self.has_ended() {
            return false;
        }
        // Cleared with each new one, so that a run of many thousand nodes does not keep them all.
        awaited.retain(|node| node.goes_on());
        awaited.push(Arc::clone(node));
        true
    }

    /// Completes nodes whose queries go on, after a wait for those that were dropped: their partitions stop on threads of
    /// the runtime a moment later. Nothing is recorded of the run from now on.
    pub(crate) fn complete_open_nodes(&self, limit: Duration) {
        self.open_queries.wait_for_none(limit);
        if self.interruption.get().is_some() {
            // What computes without giving way is known by what it has measured so far.
            self.context.telemetry.shared.live.end(|query| self.owners.node_of(query).is_some());
        }
        // In this order: whoever comes later sees the mark, and whoever came before is in the list.
        self.ended.store(true, Ordering::Release);
        let awaited = std::mem::take(&mut *self.awaited.lock().unwrap_or_else(PoisonError::into_inner));
        awaited.iter().for_each(|node| node.give_up());
        self.frames.close();
        self.context.telemetry.shared.open_runs.remove(self.context.run_id);
    }

    /// Whether the run is over: what happens in it now is not recorded.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// What is still held for the run: queries, frames and nodes that are waited for.
    pub(crate) fn held(&self) -> usize {
        let awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner).len();
        awaited + self.frames.len() + self.owners.len()
    }

    pub(crate) fn node_opened(&self, node: &Arc<OpenNode>) {
        self.open_node_list().push(Arc::downgrade(node));
    }

    pub(crate) fn node_closed(&self, node: &OpenNode) {
        self.open_node_list().retain(|open| open.strong_count() > 0 && !std::ptr::eq(open.as_ptr(), node));
    }

    /// The nodes that run, in the order in which they started.
    pub(crate) fn open_nodes(&self) -> Vec<Arc<OpenNode>> {
        self.open_node_list().iter().filter_map(Weak::upgrade).collect()
    }

    fn open_node_list(&self) -> MutexGuard<'_, Vec<Weak<OpenNode>>> {
        self.open_nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the run, once: whoever comes later waits for that, and gets the same report. It blocks, in bounded time.
    pub(crate) fn end(self: &Arc<Self>) -> FinishReport {
        if self.end.is_ended_here() && self.report.get().is_none() {
            // The program's subscriber or span processor, which the end calls, asks for the end: it would wait for itself.
            return report_so_far(self);
        }
        self.end.begin();
        let _under_way = self.context.telemetry.shared.ends.under_way();
        // The end may be asked for by the program, by a signal and by the drop of the last handle, at once.
        let ended = self.report.get_or_init(|| {
            self.end.ends_here();
            let report = finish(self);
            // Behind the end and not before it: a signal that comes meanwhile shortens the wait for servers.
            signals::ended(self);
            self.context.telemetry.run_ended();
            report
        });
        ended.clone()
    }

    /// As [`RunState::end`] while the run's work still computes, and will not be heard of again.
    pub(crate) fn end_beside_its_work(self: &Arc<Self>) -> FinishReport {
        self.end.begin_beside_the_work();
        self.end()
    }

    /// A guard that keeps the heartbeat showing the node as active.
    pub(crate) fn beat_while_active(&self, node: &str) -> Option<TaskGuard> {
        self.heartbeat().as_ref().map(|heartbeat| heartbeat.task_started(node))
    }

    /// A guard that keeps the heartbeat showing the stage.
    pub(crate) fn beat_in_stage(&self, stage: &str) -> Option<StageGuard> {
        self.heartbeat().as_ref().map(|heartbeat| heartbeat.stage_started(stage))
    }

    pub(crate) fn heartbeat(&self) -> MutexGuard<'_, Option<Heartbeat>> {
        self.heartbeat.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name under which a node, or what is called so, is shown: without the credentials in it.
    pub(crate) fn shown_name<'n>(&'n self, name: &'n str) -> Cow<'n, str> {
        match self.context.dag.node(name) {
            Some(node) => Cow::Borrowed(&node.name),
            None => Cow::Owned(without_credentials(name)),
        }
    }
}
