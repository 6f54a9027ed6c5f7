//! A run, from its start to its finish.

use std::{fmt, future::Future, path::Path, sync::Arc, time::Duration};

use chrono::Utc;
use daglight_bundle_report::{Bundle, NodeRecord, NodeStatus};
use daglight_capture_policy::SqlText;
use daglight_heartbeat::{Beat, Heartbeat, HeartbeatConfig};
use daglight_otel_bridge::{
    RunScope, SignalFiles,
    names::{self, Key, key},
};
use daglight_plan_diagnostics::strip_sql_literals;
use daglight_run_identity::{Dag, RunId};
use daglight_tracker_client::{Event, Outcome, Tracker};
use opentelemetry::context::FutureExt as _;

use crate::{
    FinishReport, LIFECYCLE_TARGET, Node, RunOptions, Telemetry,
    finish::finish,
    live_progress::LiveProgress,
    node_run::NodeRun,
    node_scope::QueryOwners,
    run_state::{Parts, RunState},
    run_tags::{policy_tags, run_tags},
    telemetry::in_one_line,
};

/// How long a node waits for its dropped queries to say how they ended.
const DROPPED_QUERIES_LIMIT: Duration = Duration::from_millis(250);

/// One execution of a DAG.
///
/// Finish it with [`Run::finish`]. A run that is dropped without that ends as a failure, with what could be delivered
/// in the flush timeout.
pub struct Run {
    state: Arc<RunState>,
    finished: bool,
}

impl Run {
    pub(crate) fn start(telemetry: &Telemetry, dag: &Dag, options: RunOptions) -> Self {
        let settings = telemetry.settings();
        let policy = telemetry.policy();
        let run_id = RunId::new();
        let started_at = Utc::now();
        let mut warnings = telemetry.shared.setup_warnings.clone();
        let mut tags = run_tags(settings, policy, run_id, &telemetry.git(options.source_dir), &options.tags);

        let bundle = Bundle::create(&settings.bundle.output_dir, run_id)
            .inspect_err(|error| warnings.push(format!("no bundle: {}", in_one_line(error))))
            .ok();
        let signals = telemetry.bridge().open_run(RunScope {
            durability: settings.bundle.durability,
            parent: telemetry.bridge().parent_from_environment(),
            ..RunScope::new(
                run_id,
                dag.name().clone(),
                signal_files(bundle.as_ref(), &settings.bundle.output_dir),
                &settings.bundle.output_dir,
            )
        });
        let root = signals.root();
        root.set(Key::PolicyProfile, settings.profile.name());
        root.set(Key::PolicyDataStatistics, settings.capture.data_statistics);
        root.set(Key::PolicyValues, settings.capture.values);
        root.set(Key::PolicySqlText, settings.capture.sql_text.name());
        tags.insert(key::OTEL_TRACE_ID.to_owned(), root.trace_id());
        tags.insert(key::OTEL_SPAN_ID.to_owned(), root.span_id());
        let tracker = match &bundle {
            Some(bundle) if settings.tracker.enabled => Some(Tracker::start(
                &bundle.tracker_dir(),
                settings.bundle.durability,
                telemetry.shared.connection.clone(),
            )),
            _ => None,
        };
        let owners = QueryOwners::default();
        let state = Arc::new(RunState::new(Parts {
            telemetry: telemetry.clone(),
            run_id,
            dag: dag.clone(),
            started_at,
            tags: tags.clone(),
            bundle,
            tracker,
            signals,
            root,
            owners: owners.clone(),
            warnings,
        }));
        if let Some(tracker) = &state.tracker {
            let shown = dag.clone().with_code_text(|text| match policy.sql_text() {
                SqlText::Whole => text.to_owned(),
                SqlText::WithoutLiterals => strip_sql_literals(text),
                SqlText::None => String::new(),
            });
            tracker.record(&Event::version(&shown, policy_tags(settings)));
            tracker.record(&Event::RunStarted { run_id, tags, time: started_at });
        }
        crate::finish::write_manifest(&state, None);

        let heartbeat = Heartbeat::start(
            HeartbeatConfig {
                interval: settings.heartbeat.interval(),
                stall_after: settings.heartbeat.stall_after(),
                evidence: state.bundle.as_ref().map(Bundle::heartbeat),
            },
            Arc::new(LiveProgress {
                queries: telemetry.shared.live.clone(),
                owners,
                with_detail: policy.sql_text() == SqlText::Whole,
            }),
            Box::new({
                let state = Arc::clone(&state);
                move |beat| emit(&state, beat)
            }),
        );
        *state.heartbeat() = Some(heartbeat);
        let run = Self { state, finished: false };
        run.in_context(
            || tracing::info!(target: LIFECYCLE_TARGET, run_id = %run_id, dag = %dag.name(), "run started"),
        );
        run
    }

    /// The run's id.
    pub fn id(&self) -> RunId {
        self.state.run_id
    }

    /// The DAG that runs.
    pub fn dag(&self) -> &Dag {
        &self.state.dag
    }

    /// The run's folder, where one could be made.
    pub fn bundle_dir(&self) -> Option<&Path> {
        self.state.bundle.as_ref().map(Bundle::dir)
    }

    /// Runs the code of a node: with a span, a task on the tracker, an entry in the heartbeat, and every query seen
    /// that is planned inside. The result passes through as it is; an error marks node and run as failed.
    pub async fn node<T, E, F, W>(&self, name: &str, work: W) -> Result<T, E>
    where
        E: fmt::Display,
        F: Future<Output = Result<T, E>>,
        W: FnOnce(Node) -> F,
    {
        let running = NodeRun::start(&self.state, name);
        let scope = Arc::clone(running.scope());
        let context = running.context();
        let result = work(Node { scope: Arc::clone(&scope) }).with_context(context).await;
        scope.queries_to_end(DROPPED_QUERIES_LIMIT).await;
        match &result {
            Ok(_) => running.succeed(),
            Err(error) => running.fail(std::any::type_name::<E>(), &format!("{error:#}")),
        }
        result
    }

    /// Runs code that belongs to the run but to no node, such as the setup of a session: its logs carry the run's ids.
    pub async fn stage<T, F: Future<Output = T>>(&self, stage: &str, work: F) -> T {
        let _stage = self.state.beat_in_stage(stage);
        let span =
            self.state.signals.span(names::span::STAGE).parent(&self.state.root.context).stage(stage).start();
        let context = span.context();
        let result = work.with_context(context).await;
        span.end();
        result
    }

    /// Marks the run as failed for a reason that is no node's.
    pub fn fail(&self, reason: impl fmt::Display) {
        let reason = self.state.policy.capture(format!("{reason:#}"));
        self.state.root.fail("Error", &reason);
        self.state.fail(reason.to_text());
    }

    /// Ends the run: final states, delivery and export as far as the timeouts allow, manifest and report. Needs no
    /// particular runtime, and blocks none.
    pub async fn finish(mut self) -> FinishReport {
        let (sender, receiver) = futures::channel::oneshot::channel();
        self.finished = true;
        let state = Arc::clone(&self.state);
        let blocking = {
            let state = Arc::clone(&state);
            move || sender.send(finish(&state)).is_ok()
        };
        if std::thread::Builder::new().name("daglight-finish".into()).spawn(blocking).is_ok()
            && let Ok(report) = receiver.await
        {
            return report;
        }
        finish(&state)
    }

    /// As [`Run::finish`], for code that is not async. Do not call it on a thread of an async runtime.
    pub fn finish_blocking(mut self) -> FinishReport {
        self.finished = true;
        finish(&self.state)
    }

    /// What is known of a node that has started.
    pub fn node_record(&self, name: &str) -> Option<NodeRecord> {
        self.state.records().nodes.get(name).cloned()
    }

    fn in_context(&self, log: impl FnOnce()) {
        let _guard = self.state.root.context.clone().attach();
        log();
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let reason =
            if std::thread::panicking() { "the program panicked" } else { "the run was dropped unfinished" };
        self.fail(reason);
        let state = Arc::clone(&self.state);
        // On a thread of its own: this one may belong to a runtime, which blocking clients do not bear.
        let ending = std::thread::Builder::new().name("daglight-finish".into()).spawn(move || finish(&state));
        if let Ok(ending) = ending {
            let _ = ending.join();
        }
    }
}

/// The bundle's signal files. Without a bundle they cannot be opened, and the account of the signals says so.
fn signal_files(bundle: Option<&Bundle>, output_dir: &Path) -> SignalFiles {
    match bundle {
        Some(bundle) => {
            SignalFiles { traces: bundle.traces(), metrics: bundle.metrics(), logs: bundle.logs() }
        }
        None => SignalFiles::in_folder(&output_dir.join("run_bundle")),
    }
}

/// Shows a beat in the traces, the metrics and the log.
fn emit(state: &RunState, beat: &Beat) {
    state.refresh_execution_run_id();
    let span =
        state.signals.span(names::span::HEARTBEAT).parent(&state.root.context).stage("heartbeat").start();
    span.set(Key::ActiveTasks, beat.active_tasks.len());
    if let Some(io) = beat.io {
        span.set(Key::IoBytesRead, io.bytes_read);
        span.set(Key::IoBytesWritten, io.bytes_written);
    }
    let _guard = span.context().attach();
    for stall in &beat.stalls {
        tracing::warn!(
            query_id = stall.query_id,
            node = stall.node.as_deref().unwrap_or("-"),
            operator = stall.operator.as_deref().unwrap_or("-"),
            since = %stall.since,
            "no progress"
        );
    }
    span.end();
    state.signals.snapshot_metrics();
}

/// The record of a node that has started.
pub(crate) fn record_of(state: &RunState, name: &str, status: NodeStatus) -> NodeRecord {
    let node = state.dag.node(name);
    NodeRecord {
        name: name.to_owned(),
        kind: node.map_or("transform", |node| node.kind.name()).to_owned(),
        dependencies: node.map(|node| node.dependencies.clone()).unwrap_or_default(),
        status,
        started_at: Some(Utc::now()),
        duration_ms: None,
        rows: None,
        bytes: None,
        error: None,
    }
}

pub(crate) const fn outcome(succeeded: bool) -> Outcome {
    if succeeded { Outcome::Success } else { Outcome::Failure }
}
