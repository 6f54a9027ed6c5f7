//! The state of a run that its nodes and queries share.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use chrono::{DateTime, Utc};
use daglight_capture_policy::{Captured, Policy};
use daglight_heartbeat::{Heartbeat, StageGuard, TaskGuard};
use daglight_materializers::Produced;
use daglight_otel_bridge::{RunSignals, StageSpan};
use daglight_run_bundle::{Artifact, Bundle, NodeRecord, NodeStatus, Warning};
use daglight_run_identity::{Dag, RunId};
use daglight_tracker_client::{Reserve, Tracker};

use opentelemetry::Context;

use crate::{
    FinishReport, Telemetry,
    end_progress::EndProgress,
    finish::finish,
    frames::Frames,
    interrupt::Interruption,
    log::warn_that,
    node_run::OpenNode,
    node_scope::NodeScope,
    open_statements::OpenStatements,
    own_time::OwnClock,
    query_owner::{QueryOwner, QueryOwners},
    signals,
};

pub(crate) struct RunState {
    pub(crate) telemetry: Telemetry,
    pub(crate) run_id: RunId,
    pub(crate) dag: Dag,
    pub(crate) policy: Policy,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) started: Instant,
    pub(crate) tags: BTreeMap<String, String>,
    /// `None` where the folder could not be made.
    pub(crate) bundle: Option<Bundle>,
    /// `None` where the tracker is off, or there is no bundle for its outbox.
    pub(crate) tracker: Option<Tracker>,
    pub(crate) signals: RunSignals,
    pub(crate) root: RootSpan,
    pub(crate) owners: QueryOwners,
    pub(crate) frames: Frames,
    pub(crate) open_queries: OpenQueries,
    /// Nodes whose code has ended, and whose queries go on.
    pub(crate) awaited: Mutex<Vec<Arc<NodeScope>>>,
    pub(crate) ended: AtomicBool,
    pub(crate) heartbeat: Mutex<Option<Heartbeat>>,
    pub(crate) plan_count: AtomicUsize,
    pub(crate) records: Mutex<Records>,
    /// Whether somebody was warned that the run cannot be recorded. The tracker's outbox shares it.
    pub(crate) bundle_has_failed: Arc<AtomicBool>,
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

/// What has happened so far.
#[derive(Default)]
pub(crate) struct Records {
    pub(crate) nodes: BTreeMap<String, NodeRecord>,
    pub(crate) artifacts: Vec<Artifact>,
    /// The same outputs, to be compared with the registry.
    pub(crate) produced: Vec<Produced>,
    pub(crate) warnings: Vec<Warning>,
    /// The same, to find out whether one is new.
    warned: HashSet<String>,
    /// Why the run failed, in the order in which it happened; one reason for each part of the run.
    failures: Vec<(FailedPart, Captured)>,
    /// Queries that belong to the run and to none of its nodes.
    pub(crate) queries_without_node: u64,
    /// Those of them that have ended.
    pub(crate) ended_without_node: usize,
    /// Queries that ran while several runs were open, in the code of none of them.
    pub(crate) queries_without_run: u64,
    /// The plan hashes of each node's queries, in the order in which they were planned.
    pub(crate) plans: BTreeMap<String, Vec<String>>,
    /// Tags that were not known when the run started, or have another value now.
    pub(crate) late_tags: BTreeMap<String, String>,
}

/// What has failed of a run. A part that is done again, and well, has not failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FailedPart {
    Node(String),
    Stage(String),
    /// The run itself.
    Run,
    /// Nothing: a signal told the run to end.
    Interrupted,
}

impl Records {
    /// Why the run failed, the first reason where there are several.
    pub(crate) fn failure(&self) -> Option<&Captured> {
        self.failures.first().map(|(_, reason)| reason)
    }

    /// Whether the run ended because of a signal, and not of a failure before.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.failures.first().is_some_and(|(part, _)| *part == FailedPart::Interrupted)
    }

    /// What of the run failed for the reason that is shown.
    pub(crate) fn failed_part(&self) -> Option<&FailedPart> {
        self.failures.first().map(|(part, _)| part)
    }

    /// Takes back that a part has failed. False where it has not.
    pub(crate) fn recover(&mut self, recovered: &FailedPart) -> bool {
        let before = self.failures.len();
        self.failures.retain(|(part, _)| part != recovered);
        self.failures.len() < before
    }
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

/// The root span. It may be referred to after its end.
pub(crate) struct RootSpan {
    pub(crate) context: Context,
    pub(crate) trace_id: String,
    pub(crate) span_id: String,
    open: Mutex<Option<StageSpan>>,
}

impl RootSpan {
    pub(crate) fn new(span: StageSpan) -> Self {
        Self {
            context: span.context(),
            trace_id: span.trace_id(),
            span_id: span.span_id(),
            open: Mutex::new(Some(span)),
        }
    }

    pub(crate) fn fail(&self, error_type: &str, message: &Captured) {
        if let Some(span) = &*self.lock() {
            span.fail(error_type, message);
        }
    }

    pub(crate) fn end_at(&self, time: SystemTime) {
        if let Some(span) = self.lock().take() {
            span.end_at(time);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<StageSpan>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RunState {
    pub(crate) fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has gone wrong with telemetry so far.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.records().warnings.iter().map(|warning| warning.message.clone()).collect()
    }

    /// The run's tags, as far as they are known by now.
    pub(crate) fn tags(&self) -> BTreeMap<String, String> {
        let mut tags = self.tags.clone();
        tags.extend(self.records().late_tags.clone());
        tags
    }

    /// Says once, on the console and in the finish report, that some of the telemetry is missing.
    pub(crate) fn warn(&self, warning: impl Into<Warning>) {
        if let Some(warning) = self.note(warning) {
            warn_that(&warning);
        }
    }

    /// As [`RunState::warn`] for what the console has shown already. Gives what it says the first time.
    pub(crate) fn note(&self, warning: impl Into<Warning>) -> Option<Captured> {
        let Warning { code, message } = warning.into();
        let warning = self.policy.capture(message);
        let text = warning.to_text();
        let mut records = self.records();
        let first = records.warned.insert(text.clone());
        if first {
            records.warnings.push(Warning::new(code, text));
        }
        first.then_some(warning)
    }

    /// As [`RunState::warn`], but silent on the console where that has been told already.
    pub(crate) fn warn_unless(&self, told: bool, warning: impl Into<Warning>) {
        if told {
            self.note(warning);
        } else {
            self.warn(warning);
        }
    }

    /// Says that something is missing in the bundle. A full disk has many such consequences: the console shows the first,
    /// which the tracker's outbox may have told already, the finish report has all.
    pub(crate) fn bundle_failed(&self, warning: String) {
        self.warn_unless(self.bundle_has_failed.swap(true, Ordering::Relaxed), warning);
    }

    /// Whether the manifest says how the run ended.
    pub(crate) fn end_is_recorded(&self) -> MutexGuard<'_, bool> {
        self.end_is_recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn reserve(&self) -> MutexGuard<'_, Option<Reserve>> {
        self.reserve.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks a part of the run as failed, and so the run. Of a node the last attempt counts, of every other part the first
    /// reason stays.
    pub(crate) fn fail(&self, part: FailedPart, reason: Captured) {
        let mut records = self.records();
        if matches!(part, FailedPart::Node(_)) {
            records.recover(&part);
        }
        if !records.failures.iter().any(|(failed, _)| *failed == part) {
            records.failures.push((part, reason));
        }
    }

    /// The context of the run, for code that is in none of its nodes.
    pub(crate) fn context(self: &Arc<Self>) -> Context {
        QueryOwner::Run(Arc::clone(self)).in_context(&self.root.context)
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
        awaited.retain(|node| node.goes_on());
        awaited.push(Arc::clone(node));
        true
    }

    /// Completes nodes whose queries go on, after a wait for those that were dropped: their partitions stop on threads of
    /// the runtime a moment later. Nothing is recorded of the run from now on.
    pub(crate) fn settle(&self, limit: Duration) {
        self.open_queries.wait_for_none(limit);
        self.ended.store(true, Ordering::Release);
        let awaited = std::mem::take(&mut *self.awaited.lock().unwrap_or_else(PoisonError::into_inner));
        awaited.iter().for_each(|node| node.give_up());
        self.frames.close();
        self.telemetry.shared.open_runs.remove(self.run_id);
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
        self.end.begin();
        let _under_way = self.telemetry.shared.ends.under_way();
        let ended = self.report.get_or_init(|| {
            let report = finish(self);
            signals::ended(self);
            self.telemetry.run_ended();
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

    /// Puts the id that the tracking server gave the run on the signals, as soon as it is known.
    pub(crate) fn refresh_execution_run_id(&self) {
        if let Some(link) = self.tracker.as_ref().and_then(Tracker::link) {
            self.signals.set_execution_run_id(link.dag_run_id);
        }
    }

    /// The number of the next plan bundle, from 1.
    pub(crate) fn next_plan_number(&self) -> usize {
        self.plan_count.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Every node of the DAG in running order; those that never started are `not_run`.
    pub(crate) fn node_records(&self) -> Vec<NodeRecord> {
        let records = self.records();
        self.dag
            .nodes()
            .iter()
            .map(|node| {
                records.nodes.get(&node.name).cloned().unwrap_or_else(|| NodeRecord {
                    name: node.name.clone(),
                    kind: node.kind.name().to_owned(),
                    dependencies: node.dependencies.clone(),
                    status: NodeStatus::NotRun,
                    started_at: None,
                    duration_ms: None,
                    rows: None,
                    bytes: None,
                    queries_summed: 0,
                    error: None,
                    attempts: 0,
                    earlier_attempts: Vec::new(),
                    recovered: false,
                })
            })
            .collect()
    }
}
